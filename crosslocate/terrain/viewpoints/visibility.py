"""How much terrain one sees from a place: enough to leave out places with nothing to recognise.

The surroundings are cut into cells by `AZIMUTHS` directions and by rings whose width is `RING` of their distance, from
20 m to the reach. A cell is visible where the ground in its middle rises, as an angle at the eye, at least as high as
the middles of all nearer cells of its direction; its area counts as seen. Earth's curvature and refraction lower far
ground. At a distance the level of detail whose posts are about as far apart as the rings are wide is looked at, in the
finest layer of the terrain that covers the cell. Voids and what lies outside of the terrain are neither seen nor hide.

Places lie in rasters by polynomials of degree 3 fitted to geodesics around each, good to a tenth of a post at 30 km.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import ConfigError
from crosslocate.geo import destination
from crosslocate.terrain.elevation.terrain import Terrain

Floats = NDArray[np.float64]

AZIMUTHS = 120
RING = 0.025
"""Width of a ring over its distance."""
NEAREST = 20.0
"""Metres at which the first ring begins."""
EARTH_RADIUS = 6_371_000.0
_POWERS = [(i, degree - i) for degree in range(1, 4) for i in range(degree + 1)]
_BLOCK = 512


@dataclass(frozen=True)
class VisibleTerrain:
    """A filter of places by the terrain they see.

    Attributes:
        least_area: Places that see less than that many square kilometres are left out.
        least_distance: Places that see no ground farther than that many metres, but their own foot, are left out.
        reach: Metres to which one looks, at most as far as the caster sees.
    """

    least_area: float = 1.0
    least_distance: float = 1000.0
    reach: float = 30_000.0

    def __post_init__(self) -> None:
        for name in ("least_area", "least_distance"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"survey.visible.{name}", getattr(self, name), "0 or more")
        if not 100.0 <= self.reach <= 200_000.0:
            raise ConfigError("survey.visible.reach", self.reach, "100 to 200,000 metres")

    def keep(self, area: Floats, farthest: Floats) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Which places see enough, and how many do not, by reason.

        Args:
            area: Square metres that are seen, [n].
            farthest: Distance of the farthest of them in metres, [n].
        """
        foot = farthest < self.least_distance
        little = ~foot & (area < 1e6 * self.least_area)
        return ~(foot | little), {"sees_only_its_foot": int(foot.sum()), "sees_too_little": int(little.sum())}


def visible_terrain(
    terrain: Terrain,
    longitude: Floats,
    latitude: Floats,
    elevation: Floats,
    *,
    reach: float,
    refraction: float = 0.13,
    workers: int = 1,
) -> tuple[Floats, Floats]:
    """Area of the ground in sight in square metres, as on a map, and the distance of its farthest part, each [n].

    Args:
        terrain: The terrain.
        longitude: Degrees, [n].
        latitude: Degrees, [n].
        elevation: Of the eyes in metres above sea level, [n].
        reach: Metres to which one looks.
        refraction: Coefficient k of the light's curvature.
        workers: Threads; the result does not depend on them.
    """
    rings = np.geomspace(NEAREST, reach, max(2, round(math.log(reach / NEAREST) / RING) + 1))
    drop = (1.0 - refraction) / (2.0 * EARTH_RADIUS)
    at, high, wide, starts = _sheets(terrain)
    area, farthest = np.zeros(len(longitude)), np.zeros(len(longitude))

    def look(first: int) -> None:
        rows = slice(first, first + _BLOCK)
        origins, tracks = _tracks(terrain, longitude[rows], latitude[rows], reach)
        eyes = np.ascontiguousarray(elevation[rows], np.float64)
        out = area[rows], farthest[rows]
        _look(terrain.posts, at, high, wide, starts, origins, tracks, eyes, rings, drop, out[0], out[1])

    with ThreadPoolExecutor(workers) as pool:
        blocks = range(0, len(longitude), _BLOCK)
        for _ in track(pool.map(look, blocks), "Looking round", len(blocks), visible=len(blocks) > 20):
            pass
    return area, farthest


def _sheets(terrain: Terrain) -> tuple[NDArray[np.int64], ...]:
    """First post, rows and columns of every sheet, and the number of the first sheet of every layer and their end."""
    sheets = terrain.sheets
    first = np.append(np.flatnonzero(sheets.level == 0), len(sheets.layer)).astype(np.int64)
    return tuple(np.ascontiguousarray(a, np.int64) for a in (sheets.offset, sheets.rows, sheets.columns, first))


def _nodes() -> tuple[Floats, Floats, Floats]:
    """Fitting nodes on the unit disc (x east, y north), and the matrix that takes values there to coefficients."""
    radius, angle = np.sin(np.pi / 2 * np.arange(1, 4) / 3), 2 * np.pi * np.arange(9) / 9
    x, y = np.outer(radius, np.sin(angle)).ravel(), np.outer(radius, np.cos(angle)).ravel()
    return x, y, np.linalg.pinv(np.stack([x**i * y**j for i, j in _POWERS], axis=1))


def _tracks(terrain: Terrain, longitude: Floats, latitude: Floats, reach: float) -> tuple[Floats, Floats]:
    """Raster coordinates of places in all layers, [n, layers, 2], and the polynomials around them, [n, layers, 2, 9].

    Coefficients are those of `_POWERS` of metres east and north. Where a layer has no coordinates they are NaN.
    """
    x, y, solve = _nodes()
    heading, far = np.arctan2(x, y), reach * np.hypot(x, y)
    lon, lat = destination(longitude[:, None], latitude[:, None], heading, far)
    scale = np.array([reach ** -(i + j) for i, j in _POWERS])
    origins, tracks = [], []
    for dem in terrain.layers:
        origin = np.stack(dem.pixel_of(longitude, latitude), axis=-1)
        around = np.stack(dem.pixel_of(lon, lat), axis=1)
        with np.errstate(invalid="ignore"):
            tracks.append((around - origin[:, :, None]) @ solve.T * scale)
        origins.append(origin)
    return np.ascontiguousarray(np.stack(origins, axis=1)), np.ascontiguousarray(np.stack(tracks, axis=1))


@njit(cache=True, nogil=True, error_model="numpy")
def _look(
    posts: Any, offset: Any, rows: Any, columns: Any, first: Any, origins: Any, tracks: Any, eyes: Any, rings: Any,
    drop: float, area: Any, farthest: Any,
) -> None:  # fmt: skip
    """Fill ``area`` and ``farthest`` of some places; everything that is compiled is here (numba's cache)."""
    layers = len(first) - 1
    paths = np.empty((layers, 2, 4))
    spacing = np.empty(layers)
    for place in range(len(eyes)):
        for k in range(layers):
            t = tracks[place, k]
            spacing[k] = 1.0 / math.sqrt(abs(t[0, 1] * t[1, 0] - t[0, 0] * t[1, 1]))
        for azimuth in range(AZIMUTHS):
            angle = 2.0 * math.pi * (azimuth + 0.5) / AZIMUTHS
            x, y = math.sin(angle), math.cos(angle)
            for k in range(layers):
                for axis in range(2):
                    t = tracks[place, k, axis]
                    paths[k, axis, 0] = origins[place, k, axis]
                    paths[k, axis, 1] = t[0] * y + t[1] * x
                    paths[k, axis, 2] = t[2] * y * y + t[3] * x * y + t[4] * x * x
                    paths[k, axis, 3] = t[5] * y * y * y + t[6] * x * y * y + t[7] * x * x * y + t[8] * x * x * x
            highest = -np.inf
            for ring in range(len(rings) - 1):
                near, far = rings[ring], rings[ring + 1]
                s = 0.5 * (near + far)
                ground = np.nan
                for k in range(layers):
                    p, q = paths[k, 0], paths[k, 1]
                    column = p[0] + s * (p[1] + s * (p[2] + s * p[3]))
                    row = q[0] + s * (q[1] + s * (q[2] + s * q[3]))
                    level = 0
                    while first[k] + level + 1 < first[k + 1] and spacing[k] * (2 << level) <= far - near:
                        level += 1
                    while level >= 0 and math.isnan(ground):
                        sheet, size = first[k] + level, 1.0 / (1 << level)
                        c, r = column * size, row * size
                        if c >= 0.0 and r >= 0.0 and c <= columns[sheet] - 1 and r <= rows[sheet] - 1:
                            j, i = min(int(c), columns[sheet] - 2), min(int(r), rows[sheet] - 2)
                            u, v, post = c - j, r - i, offset[sheet] + i * columns[sheet] + j
                            north = posts[post] * (1.0 - u) + posts[post + 1] * u
                            post += columns[sheet]
                            south = posts[post] * (1.0 - u) + posts[post + 1] * u
                            ground = north * (1.0 - v) + south * v
                        level -= 1
                    if not math.isnan(ground):
                        break
                slope = (ground - eyes[place]) / s - drop * s
                if slope >= highest:  # false where there is no ground
                    highest = slope
                    area[place] += math.pi / AZIMUTHS * (far * far - near * near)
                    farthest[place] = max(farthest[place], s)
