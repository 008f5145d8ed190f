"""How a run ended, for the loggers that keep it: wandb's exit code, MLflow's status."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from crosslocate.config.requeue import REQUEUING
from crosslocate.errors import RunStopped
from crosslocate.runs.session import ending

INTERRUPTED = 255
"""Exit code that wandb itself gives to a run that Ctrl-C ended."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        status: ``finished``, ``failed`` or ``stopped``, as in the record of the run.
        reason: Why it was stopped or failed.
        exit_code: 0 for a finished run.
        preempted: Whether the signal that stopped it is one after which it goes back into its queue.
    """

    status: str
    reason: str | None
    exit_code: int
    preempted: bool


FINISHED = Outcome("finished", None, 0, False)


def outcome_of(error: BaseException) -> Outcome:
    """What an exception makes of a run."""
    status, reason = ending(error)
    if reason == "interrupted":
        return Outcome(status, reason, INTERRUPTED, False)
    if isinstance(error, RunStopped):
        return Outcome(status, reason, 128 + error.signal, error.signal in REQUEUING)
    return Outcome(status, reason, 1, False)


class Closing(Protocol):
    """A logger whose run stays open until somebody closes it."""

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, and finish it."""


_open: list[Closing] = []


def keep_open(logger: Closing) -> None:
    """Have a logger closed when the job ends."""
    _open.append(logger)


@contextmanager
def finished_runs() -> Iterator[None]:
    """Close the loggers that were opened inside, with what became of the job; the next job opens its own.

    A logger that cannot be closed is a warning, and hides no error of the job.
    """
    outcome = FINISHED
    try:
        yield
    except BaseException as error:
        outcome = outcome_of(error)
        raise
    finally:
        while _open:
            _close(_open.pop(), outcome)


def _close(logger: Closing, outcome: Outcome) -> None:
    try:
        logger.close(outcome)
    except Exception as error:
        rank_zero_warn(f"{type(logger).__name__} could not be closed: {type(error).__name__}: {error}")
