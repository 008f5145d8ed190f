"""The terrain of a region from elevation tiles, prepared once and found again."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import say
from crosslocate.data.locking import locked
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.elevation.assembly import VoidLayersError, assemble
from crosslocate.terrain.elevation.describe import missing_in
from crosslocate.terrain.elevation.grid import Bounds
from crosslocate.terrain.elevation.plan import Layer, plan_layers, widened, within
from crosslocate.terrain.elevation.prepared import (
    FORMAT,
    drafted,
    is_prepared,
    load_terrain,
    new_arrays,
    write_header,
)
from crosslocate.terrain.elevation.sheets import Sheets, fill_levels, fill_tops, plan_sheets
from crosslocate.terrain.elevation.sources import find_files, stamps
from crosslocate.terrain.elevation.summary import TerrainSummary, size_text
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.elevation.tile import describe_tiles
from crosslocate.terrain.elevation.units import UNITS

Posts = NDArray[np.float32]

REVISION = 1
"""Of what is done with tiles: a terrain that was prepared by another revision is prepared again."""

MISSING = ("void", "sea")


@dataclass(frozen=True)
class Wanted:
    """What is asked for, checked; see `open_terrain`."""

    region: Bounds | None
    halo: float
    units: str | None
    plausible: tuple[float, float]
    fill_voids: float
    missing: str

    def __post_init__(self) -> None:
        key = "terrain.elevation"
        if self.units is not None and self.units not in UNITS:
            raise ConfigError(f"{key}.units", self.units, ["null", *UNITS])
        if self.missing not in MISSING:
            raise ConfigError(f"{key}.missing", self.missing, MISSING)
        if not self.plausible[0] < self.plausible[1]:
            raise ConfigError(f"{key}.plausible", list(self.plausible), "[lowest, highest] in metres")
        for name, metres in (("halo", self.halo), ("fill_voids", self.fill_voids)):
            if not 0.0 <= metres < np.inf:
                raise ConfigError(f"{key}.{name}", metres, "metres, at least 0")

    @property
    def area(self) -> Bounds | None:
        """The region with its halo."""
        return None if self.region is None else widened(self.region, self.halo)


def open_terrain(
    paths: str | Path | Sequence[str | Path],
    region: Sequence[float] | None = None,
    halo: float = 0.0,
    units: str | None = None,
    plausible: Sequence[float] = (-500.0, 9000.0),
    fill_voids: float = 1000.0,
    missing: str = "void",
    cache: str | Path | None = None,
) -> Terrain:
    """The terrain that elevation tiles make.

    Args:
        paths: Files, folders and patterns, see `sources.find_files`; or the folder of one prepared terrain. Where tiles
            of one lattice overlap, the one that comes first counts.
        region: West, south, east, north in degrees; west > east crosses the antimeridian. None: all that tiles cover.
        halo: Metres around the region that are taken too, so that far mountains are there. Without a region there is
            nothing around it.
        units: What elevations are given in, one of `units.UNITS`; None: what each file says, metres when it says
            nothing. Scale and offset of a file are applied in any case.
        plausible: Lowest and highest elevation in metres that is no void.
        fill_voids: Metres across which voids are filled from the posts around them; 0: not at all.
        missing: What posts of a layer without any tile are: ``void`` or ``sea`` (0 m). With a region the sea reaches
            to the end of the halo.
        cache: Folder of prepared terrains; None prepares in memory.

    Raises:
        TerrainError: Files are missing or cannot be used (all are named), or no tile reaches into the region.
        ConfigError: A value that is not allowed.
        UnwritableError: The cache cannot be written.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if len(paths) == 1 and is_prepared(Path(paths[0])):
        return load_terrain(paths[0])
    low, high = plausible
    around = 0.0 if region is None else float(halo)
    wanted = Wanted(_region(region), around, units, (float(low), float(high)), float(fill_voids), missing)
    files = find_files(paths)
    if cache is None:
        return _prepare(files, wanted, None)
    folder = Path(cache) / _print(files, wanted)
    if found := _found(folder):
        return found
    with locked(folder.with_name(f"{folder.name}.lock"), lambda: say(f"waiting for who prepares {folder}")):
        return _found(folder) or _prepare(files, wanted, folder)


def _region(region: Sequence[float] | None) -> Bounds | None:
    if region is None:
        return None
    allowed = "[west, south, east, north] in degrees, south below north, within -180 to 360 and -90 to 90"
    if len(region) != 4:
        raise ConfigError("terrain.elevation.region", list(region), allowed)
    west, south, east, north = (float(value) for value in region)
    if not (-180 <= west <= 360 and -180 <= east <= 360 and -90 <= south < north <= 90) or west == east:
        raise ConfigError("terrain.elevation.region", list(region), allowed)
    return west, south, east if east > west else east + 360.0, north


def _print(files: Sequence[Path], wanted: Wanted) -> str:
    """What a prepared terrain depends on, as a name."""
    content = [REVISION, FORMAT, asdict(wanted), [str(file) for file in files], stamps(files)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def _found(folder: Path) -> Terrain | None:
    """A terrain that was prepared before; a damaged one is said and set aside."""
    if not folder.is_dir():
        return None
    try:
        return load_terrain(folder)
    except TerrainError as error:
        say(f"{error}; it is prepared again")
        return None


def _prepare(files: Sequence[Path], wanted: Wanted, folder: Path | None) -> Terrain:
    """Make the terrain of tiles, in memory or in a folder."""
    tiles = describe_tiles(files, wanted.units)
    if wanted.area is not None:
        tiles = within(tiles, wanted.area)
    layers = plan_layers(tiles, wanted.area, whole_area=wanted.missing == "sea")
    try:
        return _made(layers, (), wanted, folder)
    except VoidLayersError as error:  # tiles of the open sea, or a corner of one that reaches into the halo
        left = [layer for k, layer in enumerate(layers) if k not in error.numbers]
        if not left:
            raise
        say(f"{error}; the terrain is made without them")
        void = sorted({piece.tile.path.name for k in error.numbers for piece in layers[k].pieces})
        return _made(left, tuple(void), wanted, folder)


def _made(layers: Sequence[Layer], void: tuple[str, ...], wanted: Wanted, folder: Path | None) -> Terrain:
    """The terrain of layers; ``void`` are the files of those that were left out."""
    places = [(layer.grid.transform, layer.grid.crs) for layer in layers]
    sheets = plan_sheets([layer.grid.shape for layer in layers])
    if folder is None:
        posts, tops = np.empty(sheets.posts, np.float32), np.empty(sheets.tops, np.float32)
        summary = replace(_fill(layers, sheets, posts, tops, wanted, lambda: None), void_tiles=void)
        return Terrain.mapped(places, posts, tops, sheets, summary)
    count = len({piece.tile.path for layer in layers for piece in layer.pieces})
    say(f"preparing the terrain of {count} elevation tiles: {size_text(4 * (sheets.posts + sheets.tops))}")
    if folder.exists():
        shutil.rmtree(folder)
    with drafted(folder) as draft:
        with new_arrays(draft, sheets) as (posts, tops, release):
            summary = replace(_fill(layers, sheets, posts, tops, wanted, release), void_tiles=void)
        write_header(draft, places, sheets, summary)
    return load_terrain(folder)


def _fill(
    layers: Sequence[Layer], sheets: Sheets, posts: Posts, tops: Posts, wanted: Wanted, release: Callable[[], None]
) -> TerrainSummary:
    """Fill the arrays of a terrain, and say what was found."""
    views = [sheets.view(int(np.flatnonzero(sheets.layer == k)[0]), posts) for k in range(len(layers))]
    summaries = assemble(
        layers,
        views,
        plausible=wanted.plausible,
        fill_voids=wanted.fill_voids,
        sea=wanted.missing == "sea",
        release=release,
    )
    fill_levels(posts, sheets, release)
    fill_tops(posts, tops, sheets, release)
    missing: float = 0.0
    around: Mapping[str, float] = {}
    if wanted.region is not None:
        terrain = Terrain.mapped([(layer.grid.transform, layer.grid.crs) for layer in layers], posts, tops, sheets)
        missing, around = missing_in(terrain, wanted.region, wanted.halo)
        release()
    size = posts.nbytes + tops.nbytes
    return TerrainSummary(tuple(summaries), wanted.region, wanted.halo, missing, around, size)
