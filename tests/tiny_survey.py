"""A data set that renders in a blink, for the tests of this folder."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crosslocate.terrain.job.specification import Specification

TINY = Specification(
    places={"train": 3, "val": 1, "test": 2},
    queries_per_place={"train": 2, "val": 1, "test": 1},
    headings=3,
    width=32,
    height=24,
    spacing=500.0,
)
IMAGES = 6 * 3 * 3 + (3 * 2 + 1 + 2) * 2
"""Number of image files of TINY."""


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` and its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def changed(**values) -> Specification:
    return replace(TINY, **values)


def die_at_write(count: int) -> Callable:
    """A ``write_whole`` that kills the process without warning at its ``count``-th call, with half a file written."""
    import os
    import signal
    import threading

    from crosslocate.terrain.job.files import write_whole

    lock, calls = threading.Lock(), iter(range(1, 1 << 30))

    def write(path: Path, data: bytes, scratch: Path) -> int:
        with lock:
            call = next(calls)
        if call == count:
            scratch.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write_whole(path, data, scratch)

    return write


if __name__ == "__main__":  # python tiny_survey.py <root> <write at which to die> <threads>
    from crosslocate.terrain.job import rendering as job
    from crosslocate.terrain.job.sample import ensure_sample

    job.write_whole = die_at_write(int(sys.argv[2]))
    ensure_sample(Path(sys.argv[1]), TINY, workers=int(sys.argv[3]))
