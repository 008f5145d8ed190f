"""Where viewpoints may lie: a box of longitudes and latitudes, or the polygons of a GeoJSON file."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.terrain import Terrain

Floats = NDArray[np.float64]
Bounds = tuple[float, float, float, float]
_INNER = {"Feature": "geometry", "FeatureCollection": "features", "GeometryCollection": "geometries"}
_KINDS = "Polygon, MultiPolygon, Feature, FeatureCollection or GeometryCollection"


class Area(Protocol):
    """A part of the earth."""

    @property
    def bounds(self) -> Bounds:
        """West, south, east and north in degrees; east is beyond 180 where the area crosses the antimeridian."""
        ...

    def contains(self, longitude: Floats, latitude: Floats) -> NDArray[np.bool_]:
        """Whether positions in degrees lie inside, [n]."""
        ...


@dataclass(frozen=True)
class Box:
    """All between two meridians and two parallels; ``bounds`` as in `Area`."""

    bounds: Bounds

    def contains(self, longitude: Floats, latitude: Floats) -> NDArray[np.bool_]:
        """Whether positions lie inside; the edges belong to it."""
        west, south, east, north = self.bounds
        inside: NDArray[np.bool_] = (
            (_from_west(longitude, west) <= east - west) & (latitude >= south) & (latitude <= north)
        )
        return inside


@dataclass(frozen=True, eq=False)
class Polygons:
    """Polygons with holes: inside is what an odd number of edges lies west of.

    Edges are straight in longitude and latitude. A ring across the antimeridian goes on beyond 180 degrees, or is cut
    there, as GeoJSON asks.

    Attributes:
        edges: Longitude and latitude of both ends of all edges of all rings, degrees, [n, 4].
    """

    edges: Floats

    @property
    def bounds(self) -> Bounds:
        """West, south, east and north of all rings."""
        lon, lat = self.edges[:, 0], self.edges[:, 1]
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())

    def contains(self, longitude: Floats, latitude: Floats) -> NDArray[np.bool_]:
        """Whether positions lie inside. Work and memory grow with the edges that pass the positions' latitudes."""
        order = np.argsort(latitude, kind="stable")
        west = self.bounds[0]
        x, y = west + _from_west(longitude[order], west), latitude[order]
        odd = np.zeros(len(order), bool)
        low, high = np.minimum(self.edges[:, 1], self.edges[:, 3]), np.maximum(self.edges[:, 1], self.edges[:, 3])
        first, last = np.searchsorted(y, low), np.searchsorted(y, high)  # low <= y < high: a corner counts once
        for edge in np.flatnonzero(last > first):
            x0, y0, x1, y1 = self.edges[edge]
            between = slice(first[edge], last[edge])
            odd[between] ^= x[between] > x0 + (y[between] - y0) * ((x1 - x0) / (y1 - y0))
        inside = np.empty_like(odd)
        inside[order] = odd
        return inside


def _from_west(longitude: Floats, west: float) -> Floats:
    """Degrees east of a meridian, in [0, 360)."""
    return np.mod(longitude - west, 360.0)


def area_of(region: Sequence[float] | str | None, terrain: Terrain, margin: float) -> Area:
    """The area that a configuration names.

    Args:
        region: West, south, east and north in degrees (east below west, or beyond 180, across the antimeridian); a
            GeoJSON file; or None for the extent of the terrain.
        terrain: The terrain.
        margin: Metres by which the extent of the terrain is made smaller on every side; for None alone.

    Raises:
        ConfigError: The region is none of these.
        TerrainError: The file is no GeoJSON with polygons, or the terrain is smaller than its margins.
    """
    if region is None:
        return Box(_without_margin(terrain.bounds, margin))
    if isinstance(region, str):
        return read_polygons(Path(region))
    values = [float(value) for value in region]
    if len(values) != 4 or not np.isfinite(values).all():
        raise ConfigError("survey.region", list(region), "[west, south, east, north] in degrees, a file, or null")
    west, south, east, north = values
    if not (-360.0 <= west <= 360.0 and -360.0 <= east <= 540.0 and -90.0 <= south < north <= 90.0):
        raise ConfigError("survey.region", list(region), "[west, south, east, north] in degrees, south below north")
    east += 360.0 if east < west else 0.0
    if not 0.0 < east - west <= 360.0:
        raise ConfigError("survey.region", list(region), "a west and an east at most 360 degrees apart")
    return Box((west, south, east, north))


def read_polygons(path: Path) -> Polygons:
    """The polygons of a GeoJSON file.

    Raises:
        TerrainError: It cannot be read, or is no GeoJSON with polygons; names the file and what is wrong.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TerrainError(f"{path}: cannot be read as GeoJSON: {error}") from error
    rings = [_ring(ring, path) for ring in _rings(content, path)]
    if not rings:
        raise TerrainError(f"{path}: holds no polygon; needed: {_KINDS} with polygons")
    return Polygons(np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings]))


def _rings(content: Any, path: Path) -> Iterable[Any]:
    """The coordinates of all rings, in the order of the file."""
    todo = deque([content])
    while todo:
        node = todo.popleft()
        kind = str(node.get("type")) if isinstance(node, dict) else None
        if kind in _INNER:
            below = node.get(_INNER[kind])
            todo += below if isinstance(below, list) else [below]
        elif kind == "Polygon":
            yield from _list(node.get("coordinates"), path)
        elif kind == "MultiPolygon":
            for polygon in _list(node.get("coordinates"), path):
                yield from _list(polygon, path)
        else:
            raise TerrainError(f"{path}: type {kind!r} is not an area; allowed: {_KINDS}")


def _list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise TerrainError(f"{path}: the coordinates of a polygon are {str(value)[:60]!r}; a list of rings is needed")
    return value


def _ring(ring: Any, path: Path) -> Floats:
    """The corners of a closed ring, [n, 2]."""
    try:
        corners = np.array([[float(corner[0]), float(corner[1])] for corner in ring])
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise TerrainError(f"{path}: the ring {str(ring)[:60]} is no list of [longitude, latitude]") from error
    if len(corners) < 3:
        raise TerrainError(f"{path}: a ring has {len(corners)} corners; at least 3 are needed")
    lon, lat = corners.T
    good = np.isfinite(corners).all(axis=1) & (np.abs(lon) <= 540.0) & (np.abs(lat) <= 90.0)
    for bad in np.flatnonzero(~good)[:1]:
        raise TerrainError(f"{path}: corner {bad} of a ring is {corners[bad].tolist()}; degrees are needed")
    return corners if (corners[0] == corners[-1]).all() else np.vstack([corners, corners[:1]])


def _without_margin(bounds: Bounds, margin: float) -> Bounds:
    west, south, east, north = bounds
    middle = 0.5 * (south + north)
    height = float(geodesic_distance(west, south, west, north))
    half = west + 0.5 * (east - west)  # half the way: the geodesic to the other end may go round the other side
    width = 2.0 * float(geodesic_distance(west, middle, half, middle))
    if min(height, width) <= 2.0 * margin:
        raise TerrainError(f"a terrain of {width:.0f} x {height:.0f} m has no room for a margin of {margin:.0f} m")
    across, along = margin * (east - west) / width, margin * (north - south) / height
    return west + across, south + along, east - across, north - along
