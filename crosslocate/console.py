"""What a person sees in the terminal: progress of long work, tables and messages (rich, imported at first use)."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


@cache
def console() -> "Console":
    """The console of this process. It writes to standard error, so that results on standard output can be piped."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one message for a person; square brackets are taken literally."""
    console().print(message, markup=False)


def track(iterable: Iterable[T], description: str, total: int | None = None, *, visible: bool = True) -> Iterator[T]:
    """Iterate with a progress bar: count, rate-based time left, and elapsed time.

    Args:
        iterable: What to go through.
        description: A few words on what is being done.
        total: Number of elements, when ``iterable`` does not know it.
        visible: Pass False on all ranks but the first.
    """
    if not visible or not console().is_terminal:
        yield from iterable
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
