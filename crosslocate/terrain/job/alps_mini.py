"""A data set of the Mont Blanc massif, made on first use from an elevation raster and real camera poses.

The poses are those of 1,974 photographs of CrossLocate; the photographs themselves are not there, so queries are
simulated photographs taken with the real cameras. The database is a uniform grid, or stands where the cameras stood.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.console import say
from crosslocate.errors import ConfigError, DataError
from crosslocate.terrain.job.manifest import MANIFEST, RENDERER, read_manifest, require_same
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.job.storage import Storage

if TYPE_CHECKING:
    from crosslocate.terrain.elevation.terrain import Terrain
    from crosslocate.terrain.job.plan import RenderPlan
    from crosslocate.terrain.viewpoints.region import RegionSurvey

ELEVATION, POSES = "dem/alps_montblanc_srtm3.tif", "poses/montblanc_query_poses.csv"
"""Files in the source folder."""
VARIABLE = "CROSSLOCATE_ALPS_MINI"
"""Of the environment: where the source folder is."""
APART = 1.0
"""Metres; cameras nearer to one another than that share the views of the at-camera database."""


@dataclass(frozen=True)
class AlpsMini:
    """Called with a folder, it makes the data set there, or goes on with it; a complete one is left as it is.

    Args:
        source: Folder with `ELEVATION` and `POSES`; None where the data set is complete.
        images: What is rendered.
        storage: How images are kept.
        spacing: Of the database's grid in metres; None: the database stands where the cameras stood.
        size: Side of the blocks of land that belong to a split, metres.
        gap: Metres between positions of different splits.
        shares: Of the places, by split, in proportion.
        max_distance: Metres of sight.
        seed: Of every draw.
        workers: Processes that render; None for all cores.
    """

    source: str | Path | None
    images: Images
    storage: Storage
    spacing: float | None
    size: float
    gap: float
    shares: Mapping[str, float]
    max_distance: float
    seed: int
    workers: int | None = None

    def __call__(self, root: Path) -> None:
        """Make the data set.

        Raises:
            ConfigError: A value cannot work.
            DataError: The source folder is not known, or lacks a file.
            TerrainError: ``root`` holds another data set, or the disk is full.
        """
        root = Path(root)
        if (root / MANIFEST).exists():
            self._require_same(root)
            return
        from crosslocate.terrain.job.rendering import render_dataset  # compiled code: imported only when there is work

        elevation, poses = self._file(ELEVATION), self._file(POSES)
        say(f"Making {root} from {elevation} and {poses}")
        try:
            render_dataset(root, self.plan(_terrain(elevation), poses), workers=self.workers)
        except ConfigError as error:
            raise _renamed(error) from None

    def plan(self, terrain: "Terrain", poses: Path) -> "RenderPlan":
        """The data set on a terrain, with the cameras of a CSV file."""
        from crosslocate.terrain.casting.raycast import RayCaster
        from crosslocate.terrain.job.plan import RenderPlan
        from crosslocate.terrain.job.scene import World

        caster = RayCaster(terrain, max_distance=self.max_distance)
        world = World(caster, None, self.seed, self.images.depth_type, self.images.photo)
        return RenderPlan(world, self.survey(poses), self.images, self.storage)

    def survey(self, poses: Path) -> "RegionSurvey":
        """How cameras are chosen: of the database, and, from a CSV file, of the queries.

        Where the database stands at the cameras, every one of them is kept, whatever it sees.

        Raises:
            ConfigError: A value cannot work.
        """
        try:
            return self._survey(str(poses))
        except ConfigError as error:
            raise _renamed(error) from None

    def _survey(self, poses: str) -> "RegionSurvey":
        from crosslocate.terrain.viewpoints.listed import Listed
        from crosslocate.terrain.viewpoints.region import RegionSurvey
        from crosslocate.terrain.viewpoints.schemes import Grid
        from crosslocate.terrain.viewpoints.splits import Blocks

        splits = Blocks(self.size, self.gap, dict(self.shares))
        if self.spacing is not None:
            return RegionSurvey(Grid(self.spacing), Listed(poses), splits=splits, near=self.spacing)
        stood = Listed(poses, poses=False, spacing=APART)
        return RegionSurvey(stood, Listed(poses), splits=splits, visible=None, near=APART)

    def _file(self, name: str) -> Path:
        if self.source is None:
            raise DataError(
                f"dataset=alps_mini is made from a folder with {ELEVATION} and {POSES}; say where it is: "
                f"{VARIABLE}=<folder> in the environment, or dataset.prepare.source=<folder>"
            )
        path = Path(self.source) / name
        if not path.is_file():
            raise DataError(
                f"{path}: no such file; dataset=alps_mini is made from {ELEVATION} and {POSES} in the folder that "
                f"{VARIABLE} in the environment, or dataset.prepare.source, names"
            )
        return path

    def _require_same(self, root: Path) -> None:
        """Compare a complete data set with what is asked for; with the files of the source where that is known."""
        found = read_manifest(root)["rendering"]
        chosen = found.get("survey", {})
        wanted: dict[str, Any] = {
            "images": self.images.parameters(),
            "storage": self.storage.parameters(),
            "seed": self.seed,
            "renderer": RENDERER,
            "survey": _values(self.survey(Path(chosen.get("queries", {}).get("path", POSES)))),
        }
        there = {key: found.get(key) for key in wanted} | {"survey": {key: chosen.get(key) for key in wanted["survey"]}}
        if self.source is not None:
            poses = hashlib.sha256(self._file(POSES).read_bytes()).hexdigest()
            wanted |= {"terrain": _terrain(self._file(ELEVATION)).fingerprint(), "poses": [poses]}
            there |= {"terrain": found.get("terrain"), "poses": sorted(set(chosen.get("files", {}).values()))}
        require_same(root / MANIFEST, there, wanted)


def _values(survey: "RegionSurvey") -> dict[str, Any]:
    """The values of a survey as JSON holds them, without the hashes of its files."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(survey)))
    return values


def _terrain(elevation: Path) -> "Terrain":
    from crosslocate.terrain.elevation.tiles import open_terrain

    return open_terrain(elevation)


def _renamed(error: ConfigError) -> ConfigError:
    """An error of a survey, by the key that is typed here."""
    return error.renamed(re.sub(r"^survey\.(database\.|splits\.)?", "dataset.prepare.", error.key))
