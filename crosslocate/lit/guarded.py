"""Loggers that may fail without failing the run."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from pytorch_lightning.loggers.logger import DummyExperiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

LIMIT = 3
"""Failures in succession after which a logger is left alone."""

P = ParamSpec("P")


class Guarded:
    """Base of loggers whose server, disk or service may fail.

    Attributes:
        failures: Calls that failed since the last that did not.
        lost: Whether the logger could not begin its run; it is not asked again.
    """

    failures: int = 0
    lost: bool = False

    @property
    def silent(self) -> bool:
        """Whether the logger was given up."""
        return self.lost or self.failures >= LIMIT

    def begun(self, begin: Callable[[], Any]) -> Any:
        """What a logger calls its experiment: what ``begin`` returns, or one that idles where it fails."""
        if self.lost:
            return DummyExperiment()
        try:
            return begin()
        except Exception as error:
            self.lost = True
            rank_zero_warn(f"{type(self).__name__} cannot begin: {_said(error)}; nothing is sent to it")
            return DummyExperiment()


def guarded(method: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """Make a method of a `Guarded` logger warn where it would raise, and end it once it failed again and again.

    It runs on the first process alone. The training goes on in any case: what was not logged is in the files of the
    run's folder.
    """

    @rank_zero_only
    @wraps(method)
    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
        if not self.silent:
            _ = self.experiment  # begins
        if self.silent:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.failures += 1
            last = "; nothing more is sent to it" if self.silent else ""
            rank_zero_warn(f"{type(self).__name__}.{method.__name__} failed: {_said(error)}{last}")
        else:
            self.failures = 0

    return call


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
