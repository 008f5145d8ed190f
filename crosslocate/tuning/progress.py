"""What a person sees of a study that runs, and how it is interrupted."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from optuna.trial import FrozenTrial, TrialState

from crosslocate.console import console, say
from crosslocate.tuning.process import Outcome
from crosslocate.tuning.space import as_overrides
from crosslocate.tuning.study import Trials

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Progress:
    """A bar over the trials of a study, and one line for each that ends.

    Args:
        total: Trials that the study shall have.
        trials: The study.
    """

    def __init__(self, total: int, trials: Trials) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("Trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console(), transient=True, disable=not console().is_terminal)
        self._trials = trials
        done = sum(trial.state in ENDED for trial in trials.trials())
        self._shown = self._bar.add_task("trials", total=total, completed=done)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bar.stop()

    def tell(self, number: int, outcome: Outcome, pruned: bool) -> None:
        """Say how a trial ended."""
        trial = self._trials.trials()[number]
        said = outcome.reason if outcome.value is None else f"{outcome.value:.4f}"
        said = f"pruned after {last(trial)}" if pruned else said
        say(f"trial {number}: {said} ({' '.join(as_overrides(trial.params))})")
        self._bar.advance(self._shown)


def last(trial: FrozenTrial) -> str:
    """The latest value of a trial and the epochs after which it was measured."""
    epoch = max(trial.intermediate_values)
    return f"{epoch} {'epoch' if epoch == 1 else 'epochs'} with {trial.intermediate_values[epoch]:.4f}"


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """End the process, at Ctrl-C and at SIGTERM alike, once the trials at work have saved themselves."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say(f"{folder}: interrupted; the same command goes on with it")
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
