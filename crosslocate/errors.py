"""The errors this package raises on purpose. Each says what was wrong, the value, and what is allowed."""

from collections.abc import Iterable
from typing import Any


class CrossLocateError(Exception):
    """Base of every error that a user can act on; entry points print it without a traceback."""


class ConfigError(CrossLocateError):
    """A configuration value that cannot work.

    Args:
        key: Full configuration key, for example ``mining.negatives``.
        value: The value found there.
        allowed: What would be accepted: a sentence, or the list of values.
        hint: One more sentence for the user, optional.
    """

    def __init__(self, key: str, value: Any, allowed: str | Iterable[Any], hint: str = "") -> None:
        self.key, self.value = key, value
        self.hint = hint
        choices = allowed if isinstance(allowed, str) else "one of " + ", ".join(str(a) for a in allowed)
        self.allowed = choices
        super().__init__(f"{key}={value!r} is not allowed; allowed: {choices}" + (f". {hint}" if hint else ""))

    def renamed(self, key: str) -> "ConfigError":
        """The same error, of a value that the user gives by another key."""
        return ConfigError(key, self.value, self.allowed, self.hint)


class DataError(CrossLocateError):
    """A catalog, an image or a relation that cannot be used; names the file and the row."""


class TerrainError(CrossLocateError):
    """An elevation model or a camera that cannot be rendered."""


class CheckpointError(CrossLocateError):
    """A checkpoint or a weights file that is missing, unreadable, or of another architecture."""


class UnwritableError(CrossLocateError):
    """A file or folder that cannot be written; names it and the reason."""


class StoreError(CrossLocateError):
    """A descriptor store that is incomplete, damaged, or made by other weights."""


class SweepError(CrossLocateError):
    """Jobs that cannot run, the folder of another sweep, or a record of a sweep that cannot be read."""


class ReproductionError(CrossLocateError):
    """A run that was run again did not find the same."""


class RunStopped(BaseException):
    """A run was asked to stop by a signal; whatever it needs to continue has been saved.

    No error: it passes ``except Exception``, through Lightning and through a sweep, up to who closes the run.

    Args:
        signum: The signal.
        reason: ``preempted``, ``timed out``, ``interrupted`` or ``terminated``.
    """

    def __init__(self, signum: int, reason: str) -> None:
        self.signal, self.reason = int(signum), reason
        super().__init__(f"the run was {reason}" if reason != "timed out" else "the run timed out")
