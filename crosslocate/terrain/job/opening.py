"""Beginning a rendering, or going on with one: the cameras are chosen once and kept beside the work.

While a data set is rendered, ``<root>/.render`` holds the catalogs, ``job.json`` (which is written last: then the
cameras are chosen), claims and drafts. Every other process that joins, and every later start, reads them.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crosslocate.console import track
from crosslocate.data.catalog import Catalog, read_catalog
from crosslocate.data.catalog_writer import CatalogWriter
from crosslocate.drafts import draft_of, remove_abandoned
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.job.chunks import Chunk, cut
from crosslocate.terrain.job.manifest import require_same
from crosslocate.terrain.job.plan import RenderPlan
from crosslocate.terrain.job.records import Records
from crosslocate.terrain.job.scene import Scene, World, product
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.job.storage import Storage, views_per_chunk
from crosslocate.terrain.viewpoints.cameras import CameraTable
from crosslocate.terrain.viewpoints.survey import Surveyed

WORK = ".render"
"""Folder of the work; gone when the data set is complete."""
JOB = "job.json"
_NUMBERS = ("place", "longitude", "latitude", "elevation", "yaw", "pitch", "roll", "horizontal_fov")
_BATCH = 1 << 18  # rows of a catalog that are made at a time


@dataclass(frozen=True)
class Job:
    """A rendering whose cameras are chosen.

    Attributes:
        root: Folder of the data set.
        world: The terrain and how it is rendered.
        images: Which images of every view.
        storage: How they are kept.
        description: Everything that the data set depends on, as JSON values.
        findings: What choosing the cameras found.
        counts: Number of views by role.
    """

    root: Path
    world: World
    images: Images
    storage: Storage
    description: Mapping[str, Any]
    findings: Mapping[str, Any]
    counts: Mapping[str, int]

    @property
    def work(self) -> Path:
        """Folder of the work."""
        return self.root / WORK

    @property
    def claims(self) -> Path:
        """Folder of the claims on chunks."""
        return self.work / "claims"

    @property
    def drafts(self) -> Path:
        """Folder of half-written files."""
        return self.work / "drafts"

    @cached_property
    def chunks(self) -> list[Chunk]:
        """All pieces of the work; none where no image is rendered ahead."""
        views = views_per_chunk(self.storage)
        return [] if views is None else cut(self.counts, views)

    @property
    def records(self) -> Records:
        """What is done."""
        return Records(self.root, self.drafts)

    @cached_property
    def catalogs(self) -> dict[str, Catalog]:
        """The views by role; large catalogs are mapped."""
        return {role: read_catalog(self.work / f"{role}.parquet") for role in self.counts}

    def cameras(self, chunk: Chunk) -> CameraTable:
        """The cameras of a chunk."""
        rows = self.catalogs[chunk.role].table.slice(chunk.start, len(chunk))
        return CameraTable(
            name=np.array(rows["name"].to_pylist(), np.str_),
            split=np.array(rows["split"].to_pylist(), np.str_),
            **{name: rows[name].to_numpy() for name in _NUMBERS},
        )


def make_folders(root: Path) -> None:
    """Make the folders of the work; remove what killed processes left half written."""
    for name in ("claims", "drafts"):
        (root / WORK / name).mkdir(parents=True, exist_ok=True)
    remove_abandoned(root / WORK / "drafts" / "chunk")


def begun(root: Path, world: World, images: Images, storage: Storage, description: Mapping[str, Any]) -> Job | None:
    """The job whose cameras are chosen already in ``root``; None where they are not.

    Raises:
        TerrainError: There is another job.
    """
    path = root / WORK / JOB
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    require_same(path, found["rendering"], description)
    return Job(root, world, images, storage, description, found["findings"], found["counts"])


def begin(
    root: Path, world: World, images: Images, storage: Storage, description: Mapping[str, Any], surveyed: Surveyed
) -> Job:
    """Write the catalogs of chosen cameras and then the description of the job."""
    make_folders(root)
    tables = tables_of(surveyed)
    for role, table in tables.items():
        write_cameras(root / WORK / f"{role}.parquet", role, table, images, storage)
    counts = {role: len(table) for role, table in tables.items()}
    findings = json.loads(json.dumps(surveyed.findings))
    told = {"rendering": dict(description), "findings": findings, "counts": counts}
    write_text(root / WORK / JOB, json.dumps(told) + "\n", root / WORK / "drafts")
    return Job(root, world, images, storage, description, findings, counts)


def tables_of(surveyed: Surveyed) -> dict[str, CameraTable]:
    """The cameras by role."""
    queries = {} if surveyed.queries is None else {"queries": surveyed.queries}
    return {"database": surveyed.database, **queries}


def choose_cameras(plan: RenderPlan, workers: int) -> Surveyed:
    """The cameras of a plan, all of which can be rendered.

    Raises:
        TerrainError: One cannot (names role and row), or a file with cameras cannot be read.
        ConfigError: A value of the survey cannot work.
    """
    caster, images = plan.world.caster, plan.images
    try:
        surveyed = plan.survey.cameras(caster, aspect=images.aspect, seed=plan.world.seed, workers=workers)
    except OSError as error:
        raise TerrainError(f"cameras cannot be chosen: {error}") from error
    check_cameras(tables_of(surveyed), plan.world, images)
    return surveyed


def check_cameras(tables: Mapping[str, CameraTable], world: World, images: Images) -> None:
    """Raise TerrainError or ConfigError where a camera cannot be rendered, with its role and row."""
    for role, table in tables.items():
        if len(table) and not images.of_role(role):
            raise ConfigError(f"images.{role.replace('queries', 'query')}_modalities", [], "at least one modality")
        try:
            table.check(world.caster.terrain)
            if "photo" in images.of_role(role):
                check_light(table, world, images)
        except TerrainError as error:
            raise TerrainError(f"{role} cameras, {error}") from None


def check_light(table: CameraTable, world: World, images: Images) -> None:
    """Raise TerrainError naming the first row where the sun is not up when its photograph is taken.

    On a given day that depends on the place alone, so one row of each is looked at; else on what the name draws.
    """
    days = world.photo.days()
    if days is None and world.photo.minutes() is None:
        return
    rows = np.arange(len(table))
    if days is not None and days[0] == days[1]:
        rows = np.sort(np.unique(np.stack([table.longitude, table.latitude]), axis=1, return_index=True)[1])
    for row in track(rows.tolist(), "Looking when the sun is up"):
        name = str(table.name[row])
        try:
            Scene(world, table.camera(row, images.width, images.height), name).look  # noqa: B018 - drawn here
        except TerrainError as error:
            raise TerrainError(f"row {row} ({name}), place {table.place[row]}: {error}") from None


def write_cameras(path: Path, role: str, table: CameraTable, images: Images, storage: Storage) -> None:
    """Write the catalog of a role, some rows at a time."""
    templates = {name: storage.template(role, name, product(name).suffix) for name in images.of_role(role)}
    with CatalogWriter(path, role, templates) as writer:
        for start in range(0, max(1, len(table)), _BATCH):
            stop = min(start + _BATCH, len(table))
            batch = {name: column[start:stop] for name, column in table.columns().items()}
            writer.append(batch | storage.columns(start, stop))


def write_text(path: Path, text: str, drafts: Path) -> None:
    """Write a file that appears whole or not at all, safe on the disk."""
    draft = draft_of(drafts / path.name)
    try:
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def copy_whole(source: Path, path: Path, drafts: Path) -> None:
    """Copy a file that appears whole or not at all, safe on the disk."""
    draft = draft_of(drafts / path.name)
    try:
        shutil.copyfile(source, draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
