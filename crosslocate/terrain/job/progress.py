"""How far a rendering is, whoever renders: views, views a second, time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crosslocate.console import SECONDS_BETWEEN_LINES, console, say


@contextmanager
def shown(description: str, done: int, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress for the block: a bar in a terminal, a line a minute elsewhere.

    Args:
        description: A few words on what is being done.
        done: Views that were there already; they do not count for the rate.
        total: All views.

    Yields:
        To be called with the number of views that are there, now and then.
    """
    if not console().is_terminal:
        yield _Lines(description, done, total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    begin = time.monotonic()

    class Rate(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(pace(int(task.completed), done, total, time.monotonic() - begin))

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda count: progress.update(task, completed=count)


def pace(count: int, before: int, total: int, seconds: float) -> str:
    """Views a second and the time left at that rate, of what was rendered in ``seconds``; empty before anything was."""
    if count <= before or seconds <= 0.0:
        return ""
    rate = (count - before) / seconds
    return f"{rate:.1f} views/s, {spoken((total - count) / rate)} left"


def spoken(seconds: float) -> str:
    """A duration for a person: ``45 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for limit, unit, name in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172_800.0, 3600.0, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if name == "h" else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400.0:.1f} days"


class _Lines:
    def __init__(self, description: str, done: int, total: int) -> None:
        self._description, self._before, self._total = description, done, total
        self._begin = self._last = time.monotonic()

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            told = pace(count, self._before, self._total, now - self._begin)
            say(f"{self._description}: {count:,} of {self._total:,} views{', ' if told else ''}{told}")
