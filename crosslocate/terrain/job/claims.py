"""Claims on chunks among the processes of a machine: a claimed chunk is rendered by one of them at a time.

A claim is a lock on a file, which the system gives back when its process ends, however it ends. Where locks do not
reach (tasks on several machines), two processes may render the same chunk: that costs time, not the data set, since
both write the same bytes to drafts of their own first.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crosslocate.terrain.job.chunks import Chunk


@contextmanager
def claimed(folder: Path, chunk: Chunk) -> Iterator[bool]:
    """Whether the chunk is this process's (or thread's) for the block; False when it is another one's.

    Raises:
        FileNotFoundError: The folder is gone: the job is complete.
    """
    path = folder / f"{chunk.role}-{chunk.label}"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
