"""Loggers that may fail without failing the run."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

LIMIT = 3
"""Failures in succession after which a logger is left alone."""

P = ParamSpec("P")


class Guarded:
    """Base of loggers whose server, disk or service may fail.

    Attributes:
        failures: Calls that failed since the last that did not.
    """

    failures: int = 0

    @property
    def silent(self) -> bool:
        """Whether the logger was given up."""
        return self.failures >= LIMIT


def guarded(method: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """Make a method of a `Guarded` logger warn where it would raise, and end it once it failed again and again.

    It runs on the first process alone. The training goes on in any case: what was not logged is in the files of the
    run's folder.
    """

    @rank_zero_only
    @wraps(method)
    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.silent:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.failures += 1
            last = "; nothing more is sent to it" if self.silent else ""
            text = " ".join(str(error).split())
            rank_zero_warn(f"{type(self).__name__}.{method.__name__} failed: {type(error).__name__}: {text}{last}")
        else:
            self.failures = 0

    return call
