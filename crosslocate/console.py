"""What a person sees in the terminal: progress of long work, tables and messages (rich, imported at first use)."""

import time
from collections.abc import Generator, Iterable, Iterator, Sized
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 60.0
"""How often progress is told where there is no terminal to draw a bar in."""


@cache
def console() -> "Console":
    """The console of this process. It writes to standard error, so that results on standard output can be piped."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one message for a person: square brackets are taken literally, lines stay whole, so paths can be copied."""
    console().print(message, markup=False, soft_wrap=True)


def track(
    iterable: Iterable[T], description: str, total: int | None = None, *, visible: bool = True
) -> Generator[T, None, None]:
    """Iterate with a progress bar: count, rate-based time left, and elapsed time.

    Args:
        iterable: What to go through.
        description: A few words on what is being done.
        total: Number of elements, when ``iterable`` does not know it.
        visible: Pass False on all ranks but the first.
    """
    if not visible:
        yield from iterable
        return
    if not console().is_terminal:
        yield from _told(iterable, description, total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as progress:
        yield from progress.track(iterable, total=total, description=description)


def _told(iterable: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    """Iterate, saying how far it is once a minute: for logs of batch jobs."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    begin = last = time.monotonic()
    for count, element in enumerate(iterable):
        if (now := time.monotonic()) - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = f", {(now - begin) / count * (total - count):.0f} s left" if total and count else ""
            say(f"{description}: {count}{f' of {total}' if total else ''}, {now - begin:.0f} s{left}")
        yield element
