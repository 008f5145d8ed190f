"""Rendering a data set: resumable, safe to kill, on all cores.

Every image is a pure function of (terrain, camera, seed, name). Files appear whole or not at all; finished ones are
noted in a journal with their checksums, and a second start verifies and keeps them. So an interrupted rendering and a
second start leave the same bytes as an uninterrupted one.
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crosslocate import __version__
from crosslocate.console import say, track
from crosslocate.data.catalog import write_catalog
from crosslocate.errors import TerrainError
from crosslocate.terrain.job.files import checksum, refuse_write, write_whole
from crosslocate.terrain.job.journal import Checksums, Journal
from crosslocate.terrain.job.manifest import FORMAT, MANIFEST, RENDERER, read_manifest, require_same
from crosslocate.terrain.job.scene import PRODUCTS, Scene, World, path_templates
from crosslocate.terrain.viewpoints.cameras import CameraTable

_WORK = ".render"  # journal and scratch files; gone when the data set is complete
_LIBRARIES = ("numpy", "numba", "opencv-python-headless", "OpenEXR")


@dataclass(frozen=True)
class ImageSet:
    """The images of one role.

    Attributes:
        role: ``database`` or ``queries``.
        cameras: One row per view.
        modalities: What is rendered of every view.
    """

    role: str
    cameras: CameraTable
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class RenderPlan:
    """What to render.

    Attributes:
        sets: The roles.
        width: Of the images, pixels.
        height: Of the images, pixels.
        parameters: How the cameras were chosen: recorded in the manifest, and compared at a second start.
    """

    sets: tuple[ImageSet, ...]
    width: int
    height: int
    parameters: Mapping[str, Any]


def available_cores() -> int:
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def render_dataset(root: Path, world: World, plan: RenderPlan, *, workers: int | None = None) -> dict[str, Any]:
    """Render a data set into ``root``, or what is missing of it; a complete one is left as it is.

    Args:
        root: Folder of the data set.
        world: The terrain and how it is rendered.
        plan: The views.
        workers: Threads; None for all cores (the compiled kernels run without the interpreter lock).

    Returns:
        The manifest.

    Raises:
        TerrainError: A camera that cannot be rendered (names set and row), another data set in ``root``, a full disk.
    """
    for images in plan.sets:
        _check(images, world)
    root = Path(root)
    description = describe(world, plan)
    with _locked(root):
        if (root / MANIFEST).exists():
            manifest = read_manifest(root)
            require_same(root / MANIFEST, manifest["rendering"], description)
            return manifest
        try:
            return _render(root, world, plan, description, workers or available_cores())
        except OSError as error:
            raise refuse_write(root, error) from error


def describe(world: World, plan: RenderPlan) -> dict[str, Any]:
    """Everything that the images depend on, as JSON values."""
    caster = world.caster
    description = {
        "dem": caster.terrain.fingerprint(),
        "refraction": caster.refraction,
        "max_distance": caster.max_distance,
        "image_size": [plan.width, plan.height],
        "seed": world.seed,
        "depth_type": world.depth_type,
        "parameters": dict(plan.parameters),
        "views": {images.role: _digest(images.cameras) for images in plan.sets},
        "modalities": {images.role: list(images.modalities) for images in plan.sets},
        "renderer": RENDERER,
    }
    plain: dict[str, Any] = json.loads(json.dumps(description))
    return plain


def _digest(cameras: CameraTable) -> str:
    digest = hashlib.sha256()
    for name, column in cameras.columns().items():
        digest.update(f"{name}:{column.dtype.kind}".encode())
        digest.update("\n".join(column).encode() if column.dtype.kind == "U" else column.tobytes())
    return digest.hexdigest()


def _check(images: ImageSet, world: World) -> None:
    path_templates(images.role, images.modalities)
    try:
        images.cameras.check(world.caster.terrain)
    except TerrainError as error:
        raise TerrainError(f"{images.role} cameras, {error}") from None


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keep other processes from rendering into the same folder; the lock ends with this process, however it ends."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f".{root.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{root} is being rendered by another process; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _render(root: Path, world: World, plan: RenderPlan, description: dict[str, Any], workers: int) -> dict[str, Any]:
    work = root / _WORK
    _tidy(root, work)
    with Journal(work / "journal.jsonl", description) as journal:
        digests = {}
        for images in plan.sets:
            digests[images.role] = _render_set(root, world, plan, images, journal, workers)
    for images in plan.sets:
        templates = path_templates(images.role, images.modalities)
        write_catalog(root / f"{images.role}.parquet", images.cameras.columns(), images.role, templates)
    manifest = {
        "format": FORMAT,
        "rendering": description,
        "counts": {images.role: len(images.cameras) for images in plan.sets},
        "images": digests,
        "versions": {"crosslocate": __version__} | {name: version(name) for name in _LIBRARIES},
    }
    write_whole(
        root / MANIFEST, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode(), work / "manifest.part"
    )
    shutil.rmtree(work)
    return manifest


def _tidy(root: Path, work: Path) -> None:
    """Make the folders; remove what a killed process left half written."""
    work.mkdir(parents=True, exist_ok=True)
    for left in (*work.glob("*.part"), *root.glob(".*.tmp")):
        left.unlink()


def _render_set(root: Path, world: World, plan: RenderPlan, images: ImageSet, journal: Journal, workers: int) -> str:
    """Render or verify all views of one role; returns a digest of its files."""
    templates = path_templates(images.role, images.modalities)
    for modality in images.modalities:
        (root / images.role / modality).mkdir(parents=True, exist_ok=True)

    def finish(row: int) -> tuple[str, Checksums, bool]:
        name = str(images.cameras.name[row])
        paths = {modality: root / template.format(name=name) for modality, template in templates.items()}
        known = journal.finished.get(f"{images.role}/{name}")
        if known is not None and known == {modality: checksum(path) for modality, path in paths.items()}:
            return name, known, True
        scene = Scene(world, images.cameras.camera(row, plan.width, plan.height), name)
        scratch = root / _WORK / f"{threading.get_ident()}.part"
        try:
            done = {m: write_whole(path, PRODUCTS[m].encode(scene), scratch) for m, path in paths.items()}
        except TerrainError as error:
            raise TerrainError(f"{images.role} row {row} ({name}): {error}") from error
        return name, done, False

    digest = hashlib.sha256()
    tasks = _in_order(map(partial(partial, finish), range(len(images.cameras))), workers)
    for name, files, known in track(tasks, f"Rendering {images.role}", len(images.cameras)):
        if not known:
            journal.record(f"{images.role}/{name}", files)
        digest.update(json.dumps([name, files]).encode())
    return digest.hexdigest()


def _in_order(tasks: Iterable[Callable[[], Any]], workers: int) -> Iterator[Any]:
    """Results of tasks in their order, a few of them running ahead in threads; the first error ends the rest."""
    ahead: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for task in tasks:
            ahead.append(pool.submit(task))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
