"""A data set that renders in a blink, for the tests of this folder."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.viewpoints.strips import StripSurvey

TINY = StripSurvey(
    places={"train": 3, "val": 1, "test": 2},
    queries_per_place={"train": 2, "val": 1, "test": 1},
    headings=3,
    spacing=500.0,
)
SMALL = Images(width=32, height=24)
VIEWS = {"database": 6 * 3, "queries": 3 * 2 + 1 + 2}
IMAGES = VIEWS["database"] * 3 + VIEWS["queries"] * 2
"""Number of image files of TINY."""


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` and its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def changed(**values) -> StripSurvey:
    return replace(TINY, **values)


def tiny_plan(storage):
    """TINY on the embedded tile, kept in some way."""
    from crosslocate.terrain.job.sample import sample_plan

    return replace(sample_plan(TINY, SMALL), storage=storage)


def storage_of(text: str):
    """``files:5`` or ``shards:5``: views of a chunk; or ``live``."""
    from crosslocate.terrain.job.live import Live
    from crosslocate.terrain.job.storage import Files, Shards

    kind, *views = text.split(":")
    return {"files": Files, "shards": Shards, "live": Live}[kind](*map(int, views))


def die_after(seconds: float) -> None:
    """Have this process killed without warning after some time, wherever it is."""
    import threading

    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":  # python tiny_survey.py <root> <storage> <processes> [seconds after which to die]
    from crosslocate.terrain.job.rendering import render_dataset

    plan = tiny_plan(storage_of(sys.argv[2]))
    if len(sys.argv) > 4:
        die_after(float(sys.argv[4]))
    render_dataset(Path(sys.argv[1]), plan, workers=int(sys.argv[3]))
