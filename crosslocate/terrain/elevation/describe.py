"""The summary of any terrain, and what the region that was asked for lacks."""

from collections.abc import Mapping

import numpy as np

from crosslocate.terrain.elevation.dem import Dem, row_blocks
from crosslocate.terrain.elevation.grid import Bounds
from crosslocate.terrain.elevation.plan import widened
from crosslocate.terrain.elevation.summary import SIDES, LayerSummary, TerrainSummary
from crosslocate.terrain.elevation.terrain import Terrain

SAMPLES = 181
"""Places along each direction where it is looked whether there is an elevation."""


def describe_terrain(terrain: Terrain) -> TerrainSummary:
    """What a terrain is made of. A prepared one tells what was found then, without reading its posts."""
    if terrain.summary is not None:
        return terrain.summary
    layers = tuple(_layer(dem) for dem in terrain.layers)
    return TerrainSummary(layers, None, 0.0, 0.0, {}, terrain.posts.nbytes + terrain.tops.nbytes)


def explain(terrain: Terrain) -> None:
    """Tell a person what was read."""
    describe_terrain(terrain).print()


def _layer(dem: Dem) -> LayerSummary:
    lowest, highest, left = np.inf, -np.inf, 0
    for block in row_blocks(dem.elevation):
        known = block[np.isfinite(block)]
        left += block.size - known.size
        if known.size:
            lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
    rows, columns = dem.shape
    return LayerSummary(
        crs=dem.crs, rows=rows, columns=columns, spacing=dem.spacing, bounds=dem.bounds, units=(), tiles=0,
        lowest=lowest, highest=highest, voids=left, implausible=0, absent=0, filled_from_layers=0,
        filled_from_neighbours=0, sea=0, left=left, overlap=0, disagreement=0.0, disagreeing="",
        fingerprint=dem.fingerprint(), operation=dem.operation.name, accuracy=dem.operation.accuracy,
    )  # fmt: skip


def missing_in(terrain: Terrain, region: Bounds, halo: float) -> tuple[float, Mapping[str, float]]:
    """Shares of the region, and of the halo on each side of it, without an elevation.

    The corners of the halo belong to the sides in the west and in the east.
    """
    west, south, east, north = region
    far_west, far_south, far_east, far_north = widened(region, halo)
    inside = _missing(terrain, region)
    if halo <= 0:
        return inside, {}
    areas = (
        (far_west, far_south, west, far_north),
        (west, far_south, east, south),
        (east, far_south, far_east, far_north),
        (west, north, east, far_north),
    )
    return inside, {side: _missing(terrain, area) for side, area in zip(SIDES, areas, strict=True)}


def _missing(terrain: Terrain, area: Bounds) -> float:
    """Share of an area (equal parts of degrees) without an elevation, from the middles of `SAMPLES` squared parts."""
    west, south, east, north = area
    middles = (np.arange(SAMPLES) + 0.5) / SAMPLES
    lon, lat = np.meshgrid(west + (east - west) * middles, south + (north - south) * middles)
    return float(np.isnan(terrain.elevation_at(lon, lat)).mean())
