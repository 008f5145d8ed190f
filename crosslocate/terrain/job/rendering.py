"""Rendering a data set: by any number of processes, safe to kill, the same bytes in the end.

Every image is a pure function of (world, camera, name). The work is cut into fixed chunks of views; a chunk is claimed
by one process of a machine, its files appear whole or not at all, and then its record says what was written. Whoever
finishes the last chunk copies the catalogs into place and writes the manifest, whose presence says that the data set is
complete. A later start keeps every chunk whose files are as its record says.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crosslocate.console import say
from crosslocate.data.locking import locked
from crosslocate.errors import UnwritableError
from crosslocate.terrain.elevation.prepared import require_undamaged
from crosslocate.terrain.job.assembly import assemble, clear_up, complete_files, require_whole
from crosslocate.terrain.job.chunks import Chunk, Share
from crosslocate.terrain.job.files import refuse_write
from crosslocate.terrain.job.manifest import MANIFEST, RENDERER, read_manifest, require_same
from crosslocate.terrain.job.opening import Job, begin, begun, choose_cameras, make_folders
from crosslocate.terrain.job.plan import RenderPlan, describe
from crosslocate.terrain.job.processes import work_in_processes, work_through
from crosslocate.terrain.job.progress import shown
from crosslocate.terrain.job.storage import views_per_chunk
from crosslocate.terrain.viewpoints.survey import Surveyed

SECONDS_BETWEEN_LOOKS = 1.0
"""How often the records of all processes are counted."""
_PATIENCE = 0.2  # seconds between looks at what others have claimed


def available_cores() -> int:
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def render_dataset(
    root: Path,
    plan: RenderPlan,
    *,
    workers: int | None = None,
    share: str | None = None,
    verify: bool = False,
    tell: Callable[[Surveyed], None] | None = None,
) -> dict[str, Any] | None:
    """Render a data set into ``root``, or what is missing of it; a complete one is left as it is.

    Any number of processes may do so at once; all of them return when the data set is complete.

    Args:
        root: Folder of the data set.
        plan: The data set.
        workers: Processes that render; None for one a core, 1 for this one alone.
        share: ``3/16``: only the third of sixteen parts of the work, without waiting for the others; None: all of it.
        verify: Compare the checksums of all that is there, not the sizes alone; of a complete data set too.
        tell: Called with the cameras when they are chosen, which happens once for a data set, before any work.

    Returns:
        The manifest; None where a share is done and other shares are not.

    Raises:
        TerrainError: A camera that cannot be rendered (names role and row), another data set in ``root``, a full disk.
        ConfigError: Impossible values.
    """
    root, workers = Path(root), workers or available_cores()
    if plan.is_bound_to_process and workers > 1:
        workers = 1
    part = None if share is None else Share.read(share)
    terrain = plan.world.caster.terrain
    if verify and terrain.folder is not None:
        require_undamaged(terrain.folder)
    try:
        job = _open(root, plan, workers, verify, tell)
        return read_manifest(root) if job is None else _render(job, workers, part, verify)
    except (OSError, UnwritableError) as error:
        if (root / MANIFEST).exists() and not verify:  # others have completed it, or it cannot be written to
            _require_same(root, plan)
            clear_up(root)
            return read_manifest(root)
        if isinstance(error, UnwritableError):
            raise
        raise refuse_write(Path(error.filename or root), error) from error


def lock_path(root: Path) -> Path:
    """The lock beside a data set that is held while it is begun and while it is completed."""
    return root.parent / f".{root.name}.lock"


def _open(
    root: Path, plan: RenderPlan, workers: int, verify: bool, tell: Callable[[Surveyed], None] | None
) -> Job | None:
    """The job in ``root``, begun now if it is not; None where the data set is complete."""
    description = describe(plan)

    def waiting() -> None:
        say(f"{root} is being begun by another process; waiting for it")

    with locked(lock_path(root), waiting):
        if (root / MANIFEST).exists():
            _require_same(root, plan)
            if not verify or require_whole(root, workers):
                complete_files(root, plan.storage, plan.world, plan.images, description)
                clear_up(root)
                return None
        job = begun(root, plan.world, plan.images, plan.storage, description)
        if job is None:
            surveyed = choose_cameras(plan, workers)
            if tell is not None:
                tell(surveyed)
            job = begin(root, plan.world, plan.images, plan.storage, description, surveyed)
        make_folders(root)
        return job


def _require_same(root: Path, plan: RenderPlan) -> None:
    """Raise TerrainError where a complete data set is not the one that is asked for."""
    found = read_manifest(root)["rendering"]
    if views_per_chunk(plan.storage) is None:
        # without images there is nothing of another revision but what can be mended
        found |= {"renderer": RENDERER}
    require_same(root / MANIFEST, found, describe(plan))


def _render(job: Job, workers: int, part: Share | None, verify: bool) -> dict[str, Any] | None:
    mine = job.chunks if part is None else list(part.take(job.chunks))
    _forget_damaged(job, mine, workers, verify)
    done, total = _views(job.records.done(job.chunks)), _views(job.chunks)
    if done:
        say(f"{job.root}: {done:,} of {total:,} views are there")
    _work(job, mine, workers, done, total)
    with locked(lock_path(job.root)):
        if (job.root / MANIFEST).exists():
            clear_up(job.root)
            return read_manifest(job.root)
        left = len(_left(job, job.chunks))
        if left:
            say(f"{job.root}: this share is done; {left} of {len(job.chunks)} chunks are left to other shares")
            return None
        return assemble(job)


def _forget_damaged(job: Job, chunks: Sequence[Chunk], workers: int, verify: bool) -> None:
    """Take back the records of chunks whose files are not as they say: these are rendered again."""
    there = job.records.done(chunks)
    for chunk, fault in job.records.damaged(
        [chunk for chunk in chunks if chunk in there], contents=verify, workers=workers
    ):
        say(f"{fault}: chunk {chunk.label} of the {chunk.role} is rendered again")
        job.records.remove(chunk)


def _work(job: Job, mine: Sequence[Chunk], workers: int, done: int, total: int) -> None:
    """Render until all of ``mine`` is there, by whomever."""
    with shown("Rendering", done, total) as told:
        look = _Look(job, told)
        left = _left(job, mine)
        if min(workers, len(left)) > 1:
            work_in_processes(job, left, min(workers, len(left)), look)
        else:
            work_through(job, left, look)
        while (left := _left(job, mine)) and not (job.root / MANIFEST).exists():
            time.sleep(_PATIENCE)  # other processes are at these; what they leave when they are killed is taken over
            work_through(job, left, look)


def _left(job: Job, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Those that are not done, in their order."""
    done = job.records.done(chunks)
    return [chunk for chunk in chunks if chunk not in done]


class _Look:
    """Tells how many views are there, looking at most once in a while."""

    def __init__(self, job: Job, told: Callable[[int], None]) -> None:
        self._job, self._told, self._last = job, told, 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LOOKS:
            self._last = now
            self._told(_views(self._job.records.done(self._job.chunks)))


def _views(chunks: Sequence[Chunk] | set[Chunk]) -> int:
    return sum(map(len, chunks))
