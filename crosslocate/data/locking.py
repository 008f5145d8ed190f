"""A lock between the processes of a machine, and between threads."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Wait until no other process or thread is inside of the same lock; a process that dies leaves it.

    Args:
        path: A file for the lock, which is made and stays; its folder is made, too.
        waiting: Called once where another one is inside, before it is waited for.

    Raises:
        OSError: When the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # processes forked meanwhile have the file open as well
