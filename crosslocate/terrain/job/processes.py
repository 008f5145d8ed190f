"""The processes that render chunks: every one renders views one after the other, and claims a chunk at a time.

Processes, not threads: rays and encoders work without Python's lock, but a small view has many short steps between them
that hold it, and a process that is killed takes no other with it. They are forked, so that they share the terrain; none
outlives the process that made them.
"""

import multiprocessing
import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

import cv2
import numpy as np

from crosslocate.drafts import draft_of
from crosslocate.errors import CrossLocateError, TerrainError
from crosslocate.terrain.job.chunks import Chunk
from crosslocate.terrain.job.claims import claimed
from crosslocate.terrain.job.files import refuse_write
from crosslocate.terrain.job.manifest import MANIFEST
from crosslocate.terrain.job.opening import Job
from crosslocate.terrain.job.scene import product, scenes
from crosslocate.terrain.job.storage import ImageStorage, Rendered

SECONDS_BETWEEN_LOOKS = 0.5


def work_through(job: Job, chunks: Sequence[Chunk], after: Callable[[], None] = lambda: None) -> None:
    """Render those of some chunks that are not done, and that no other process has claimed.

    Args:
        job: The job.
        chunks: In the order to be tried.
        after: Called after every chunk.

    Raises:
        TerrainError: A view cannot be rendered (names role and row), or a file not be written.
    """
    for chunk in chunks:
        try:
            with claimed(job.claims, chunk) as mine:
                if mine and not job.records.path(chunk).exists():
                    render_chunk(job, chunk)
        except OSError as error:
            if (job.root / MANIFEST).exists():  # another process rendered this chunk too, and has cleared up
                return
            raise refuse_write(Path(error.filename or job.root / chunk.role), error) from error
        after()


def render_chunk(job: Job, chunk: Chunk) -> None:
    """Render all views of a chunk, put their files in place and say so in a record."""
    drafts = draft_of(job.drafts / "chunk")
    drafts.mkdir()
    try:
        suffixes = {modality: product(modality).suffix for modality in job.images.of_role(chunk.role)}
        assert isinstance(job.storage, ImageStorage)  # others have no chunks
        written = job.storage.write(job.root, drafts, chunk, suffixes, rendered(job, chunk))
        job.records.write(chunk, written)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def rendered(job: Job, chunk: Chunk) -> Iterator[Rendered]:
    """The views of a chunk, sorted by name.

    Raises:
        TerrainError: One cannot be rendered; names role and row.
    """
    cameras, modalities = job.cameras(chunk), job.images.of_role(chunk.role)
    rows = np.argsort(cameras.name, kind="stable").tolist()
    names = cameras.name[rows].tolist()
    views = scenes(job.world, [cameras.camera(row, job.images.width, job.images.height) for row in rows], names)
    for row, name in zip(rows, names, strict=True):
        try:
            scene = next(views)
            files = {modality: product(modality).encode(scene) for modality in modalities}
        except (TerrainError, OSError) as error:  # what is read here is no file of the data set
            raise TerrainError(f"{chunk.role} row {chunk.start + row} ({name}): {error}") from error
        yield name, files


def work_in_processes(job: Job, chunks: Sequence[Chunk], count: int, look: Callable[[], None]) -> None:
    """Render chunks by several processes; the first error ends all of them.

    Args:
        job: The job.
        chunks: In the order to be tried.
        count: Number of processes.
        look: Called every now and then.

    Raises:
        TerrainError: As `work_through`, or a process was killed.
    """
    cv2.setNumThreads(1)  # a pool of threads does not survive a fork
    _warm_up(job, chunks)
    context = multiprocessing.get_context("fork")
    guard, alive = os.pipe()
    children: dict[Connection, multiprocessing.context.ForkProcess] = {}
    try:
        for _ in range(count):
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_child, args=(job, chunks, sender, guard, alive), daemon=True)
            child.start()
            sender.close()
            children[receiver] = child
        while children:
            ready = wait(list(children), SECONDS_BETWEEN_LOOKS)
            for receiver in [receiver for receiver in children if receiver in ready]:
                _hear(receiver, children[receiver])
                children.pop(receiver).join()
                receiver.close()
            look()
    finally:
        for child in children.values():
            child.kill()
        for receiver, child in children.items():
            child.join()
            receiver.close()
        os.close(guard)
        os.close(alive)


def _warm_up(job: Job, chunks: Sequence[Chunk]) -> None:
    """Render a view of each role before forking: code is compiled, files are mapped and shared tables made once."""
    for chunk in {chunk.role: chunk for chunk in chunks}.values():
        next(rendered(job, chunk))


def _child(job: Job, chunks: Sequence[Chunk], sender: Connection, guard: int, alive: int) -> None:
    os.close(alive)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # stop at once: nothing is lost
    threading.Thread(target=_end_with_parent, args=(guard,), daemon=True).start()
    try:
        work_through(job, chunks)
    except CrossLocateError as error:
        sender.send((True, str(error)))
    except BaseException:
        sender.send((False, traceback.format_exc()))


def _end_with_parent(guard: int) -> None:
    """Wait for the end of the pipe that the parent keeps open as long as it lives."""
    os.read(guard, 1)
    os._exit(1)


def _hear(receiver: Connection, child: multiprocessing.context.ForkProcess) -> None:
    """Raise what a process failed with."""
    try:
        expected, text = receiver.recv()
    except EOFError:
        child.join()
        if child.exitcode:
            raise TerrainError(
                f"a rendering process ended with status {child.exitcode} (a negative one is a signal; -9 may mean that "
                "memory ran out: try fewer workers). Every chunk finished so far is kept; start the same command again"
            ) from None
        return
    raise TerrainError(text) if expected else RuntimeError(f"a rendering process failed:\n{text}")
