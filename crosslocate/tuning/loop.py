"""Runs the trials of a study, some at once."""

import time
from collections.abc import Callable
from typing import Protocol

from crosslocate.errors import CrossLocateError
from crosslocate.tuning.process import PRUNED, Outcome
from crosslocate.tuning.study import Task, Trials


class Running(Protocol):
    """A trial at work."""

    def values(self) -> list[tuple[int, float]]:
        """What it measured so far: step and value, ascending."""

    def outcome(self) -> Outcome | None:
        """How it ended; None while it is at work."""

    def ask(self) -> None:
        """Ask it to save itself and end."""

    def end(self, reason: str | None = None) -> None:
        """Wait until it has ended, after it was asked to."""


Start = Callable[[Task, int], Running]
"""Starts a trial, or goes on with it; given its task and which of the jobs at once it is, from 0."""
Tell = Callable[[int, Outcome, bool], None]
"""Hears of every trial that ended: its number, how, and whether it was pruned."""


def run_trials(
    trials: Trials, start: Start, total: int, jobs: int, failures: int, tell: Tell, pause: float = 1.0
) -> None:
    """Run what a study lacks of ``total`` trials.

    What a trial measured is judged in the order in which it was measured, whenever it is looked at: a trial that is
    pruned is the same trial however fast it ran on. When this is interrupted, trials at work are asked to save
    themselves, and stay open: another call goes on with them.

    Args:
        trials: The study.
        start: Starts a trial.
        total: Trials that the study shall have.
        jobs: Trials at once.
        failures: Trials that fail in succession, after which no more are run.
        tell: Hears of every trial that ended.
        pause: Seconds between two looks at the trials.

    Raises:
        CrossLocateError: ``failures`` trials failed in succession; says why the last one did.
    """
    failed: list[str] = []

    def hear(number: int, outcome: Outcome, pruned: bool) -> None:
        failed[:] = [] if pruned or outcome.value is not None else [*failed, outcome.reason]
        tell(number, outcome, pruned)

    slots: dict[int, tuple[Task, Running]] = {}
    try:
        while True:
            for slot in sorted(set(range(jobs)) - set(slots)):
                if (task := trials.claim(total)) is None:
                    break
                slots[slot] = task, start(task, slot)
            if not slots:
                return
            ended = [slot for slot, (task, running) in slots.items() if _looked_at(trials, task, running, hear)]
            for slot in ended:
                del slots[slot]
            if len(failed) >= failures:
                raise CrossLocateError(f"{len(failed)} trials failed one after the other; the last one: {failed[-1]}")
            if not ended:
                time.sleep(pause)
    finally:
        for _, running in slots.values():  # all save themselves at the same time
            running.ask()
        for _, running in slots.values():
            running.end()
        trials.close()


def _looked_at(trials: Trials, task: Task, running: Running, tell: Tell) -> bool:
    """Note what is new of a trial; whether it has ended."""
    outcome = running.outcome()  # before the values: none is measured after the end
    if trials.report(task.number, running.values()):
        running.ask()
        running.end(PRUNED)
        trials.prune(task.number)
        tell(task.number, Outcome(None, PRUNED), True)
        return True
    if outcome is None:
        return False
    if outcome.value is None:
        trials.fail(task.number, outcome.reason)
    else:
        trials.complete(task.number, outcome.value)
    tell(task.number, outcome, False)
    return True
