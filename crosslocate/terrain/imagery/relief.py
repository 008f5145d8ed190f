"""The ground that a camera sees: its slopes, smooth across cells, and metric coordinates for textures.

The bilinear surface has an edge along every grid line; shading it shows facets. The gradient is therefore taken at the
posts (central differences) and interpolated between them, as in Phong's shading (1975). Far away one pixel covers many
posts; there the gradient is taken from the levels of detail whose cells are about as large as the pixel, mixed between
two levels (as in Williams's mip maps, 1983), so that distant slopes do not sparkle. Only posts around hits are read.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain

Floats = NDArray[np.float64]

NODE_DISTANCE = 25_000.0
"""Metres between the places at which metres per post are computed, at most; linear between (2e-6 in between)."""

FEWEST_NODES = 9

FROM_BORDER = 5.0
"""Posts (of a level) from the border of a layer within which finer levels serve: border posts are smoothed one-sidedly.
"""


@dataclass(frozen=True, eq=False)
class Ground:
    """The ground at every pixel of a view.

    Attributes:
        layer: Number of the terrain's layer that was hit, -1 in the sky, int8 ``[H, W]``.
        column: Raster coordinates of the hit in that layer, NaN in the sky, ``[H, W]``.
        row: See ``column``.
        east: Rise toward true east in metres per metre, 0 where unknown and in the sky, float32 ``[H, W]``.
        north: Rise toward true north.
        first: Raster coordinates (column, row) in the terrain's first layer.
        metres: Matrix from steps (column, row) of that layer to metres (east, north), ``[2, 2]``.
    """

    layer: NDArray[np.int8]
    column: Floats
    row: Floats
    east: NDArray[np.float32]
    north: NDArray[np.float32]
    first: tuple[Floats, Floats]
    metres: Floats

    @cached_property
    def place(self) -> NDArray[np.float32]:
        """Metres east and north of a point of the terrain, 0 in the sky, float32 ``[H, W, 2]``.

        The scale is right at the centre of the first layer and used everywhere: 1 % off over one degree, which a
        texture does not show.
        """
        place = np.empty((*self.layer.shape, 2), np.float32)
        _fill_place(self.layer, *self.first, self.metres, place)
        return place


class Relief:
    """Slopes of a terrain where rays hit it.

    Args:
        terrain: The terrain; nothing of its size is computed or kept.
    """

    def __init__(self, terrain: Terrain) -> None:
        self.terrain = terrain

    def at(self, hits: Hits) -> Ground:
        """The ground at the hits of a view."""
        sheets = self.terrain.sheets
        layer, column, row = locate(hits)
        rise = np.zeros((2, *hits.distance.shape), np.float32)
        pixel = hits.camera.focal_length
        for k, dem in enumerate(self.terrain.layers):
            here = np.flatnonzero(sheets.layer == k)
            jacobian, spacing = self._jacobians[k], self._spacings[k]
            _fill_rise(
                self.terrain.posts,
                sheets.offset[here],
                sheets.rows[here],
                sheets.columns[here],
                jacobian,
                layer,
                k,
                column,
                row,
                hits.distance,
                spacing * pixel,
                dem.shape[0],
                dem.shape[1],
                rise,
            )
        return Ground(layer, column, row, rise[0], rise[1], hits.pixel(0), self._metres)

    @cached_property
    def _jacobians(self) -> list[Floats]:
        return [posts_per_metre(dem) for dem in self.terrain.layers]

    @cached_property
    def _spacings(self) -> list[float]:
        """Metres between posts amid each layer."""
        middles = (nodes[len(nodes) // 2, nodes.shape[1] // 2] for nodes in self._jacobians)
        return [float(abs(np.linalg.det(middle)) ** -0.5) for middle in middles]

    @cached_property
    def _metres(self) -> Floats:
        return metres_per_post(self.terrain.layers[0])


def locate(hits: Hits) -> tuple[NDArray[np.int8], Floats, Floats]:
    """Layer that was hit (-1 in the sky), and raster coordinates in it (NaN in the sky), ``[H, W]`` each.

    A hit belongs to the first layer that covers its place. Where rounding puts it just outside of all, it belongs to
    the last one, at its border.
    """
    layers = hits.terrain.layers
    if len(layers) == 1:
        (rows, columns), (column, row) = layers[0].shape, hits.pixel(0)
        return -hits.sky.astype(np.int8), np.clip(column, 0, columns - 1), np.clip(row, 0, rows - 1)
    layer = np.full(hits.distance.shape, -1, np.int8)
    column, row = np.full(layer.shape, np.nan), np.full(layer.shape, np.nan)
    for k, dem in enumerate(layers):
        rows, columns = dem.shape
        c, r = hits.pixel(k)
        free = ~hits.sky & (layer < 0)
        if k < len(layers) - 1:
            free &= (c >= 0) & (r >= 0) & (c <= columns - 1) & (r <= rows - 1)
        layer[free] = k
        np.copyto(column, np.clip(c, 0, columns - 1), where=free)
        np.copyto(row, np.clip(r, 0, rows - 1), where=free)
    return layer, column, row


def metres_per_post(dem: Dem) -> Floats:
    """Matrix from steps (column, row) to metres (east, north) at the centre of a model, ``[2, 2]``."""
    rows, columns = dem.shape
    return np.linalg.inv(_jacobian(dem, np.array((columns - 1) / 2), np.array((rows - 1) / 2))).astype(np.float64)


def posts_per_metre(dem: Dem) -> Floats:
    """Derivatives of (column, row) by metres (east, north) at nodes spread evenly over a model, ``[n, m, 2, 2]``."""
    metres = np.abs(metres_per_post(dem)).sum(axis=0)
    rows, columns = dem.shape
    n, m = (
        max(FEWEST_NODES, math.ceil((posts - 1) * step / NODE_DISTANCE) + 1)
        for posts, step in ((rows, metres[1]), (columns, metres[0]))
    )
    row, column = np.meshgrid(np.linspace(0, rows - 1, n), np.linspace(0, columns - 1, m), indexing="ij")
    return _jacobian(dem, column, row)


def _jacobian(dem: Dem, column: Floats, row: Floats) -> Floats:
    """Derivatives of (column, row) by metres (east, north) at raster coordinates [...], ``[..., 2, 2]``."""
    _, latitude = dem.position_of(column, row)
    meridional, transverse = radii_of_curvature(latitude)
    metres: Floats = np.empty((*column.shape, 2, 2))
    for axis, (dc, dr) in enumerate(((0.5, 0.0), (0.0, 0.5))):
        lon0, lat0 = dem.position_of(column - dc, row - dr)
        lon1, lat1 = dem.position_of(column + dc, row + dr)
        turn = np.mod(lon1 - lon0 + 180.0, 360.0) - 180.0
        metres[..., 0, axis] = np.radians(turn) * transverse * np.cos(np.radians(latitude))
        metres[..., 1, axis] = np.radians(lat1 - lat0) * meridional
    return np.linalg.inv(metres).astype(np.float64)


@njit
def _difference(before: float, here: float, after: float) -> float:
    """Change per post: central, one-sided at borders and beside voids (NaN), 0 where no neighbour is known."""
    forward, backward = after - here, here - before
    if math.isnan(forward):
        return 0.0 if math.isnan(backward) else backward
    return forward if math.isnan(backward) else 0.5 * (forward + backward)


@njit
def _inner_gradient(posts: Any, at: int, columns: int, x: float, y: float) -> tuple[float, float]:
    """The gradient where the twelve posts around are known: between posts ``at`` and the next column and row."""
    above, below, last = at - columns, at + columns, at + 2 * columns
    w = posts[at] - posts[at - 1], posts[below] - posts[below - 1]
    m = posts[at + 1] - posts[at], posts[below + 1] - posts[below]
    e = posts[at + 2] - posts[at + 1], posts[below + 2] - posts[below + 1]
    n = posts[at] - posts[above], posts[at + 1] - posts[above + 1]
    k = posts[below] - posts[at], posts[below + 1] - posts[at + 1]
    s = posts[last] - posts[below], posts[last + 1] - posts[below + 1]
    nw, ne, sw, se = (1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y
    across = nw * (0.5 * (m[0] + w[0])) + ne * (0.5 * (e[0] + m[0]))
    across = across + sw * (0.5 * (m[1] + w[1])) + se * (0.5 * (e[1] + m[1]))
    down = nw * (0.5 * (k[0] + n[0])) + ne * (0.5 * (k[1] + n[1]))
    return across, down + sw * (0.5 * (s[0] + k[0])) + se * (0.5 * (s[1] + k[1]))


@njit(nogil=True, cache=True)
def _fill_place(layer: Any, column: Any, row: Any, metres: Any, place: Any) -> None:
    height, width = layer.shape
    for v in range(height):
        for u in range(width):
            c, r = column[v, u], row[v, u]
            known = layer[v, u] >= 0
            place[v, u, 0] = metres[0, 0] * c + metres[0, 1] * r if known else 0.0
            place[v, u, 1] = metres[1, 0] * c + metres[1, 1] * r if known else 0.0


@njit(error_model="numpy")
def _gradient(
    posts: Any, first: int, rows: int, columns: int, column: float, row: float, level: int
) -> tuple[float, float]:
    """Change per post of level 0 along columns and rows at raster coordinates of level 0, read from ``level``."""
    scale = 1.0 / (1 << level)
    c, r = min(column * scale, columns - 1.0), min(row * scale, rows - 1.0)
    j, i = min(int(c), columns - 2), min(int(r), rows - 2)
    x, y = c - j, r - i
    if j > 0 and i > 0 and j < columns - 2 and i < rows - 2:
        across, down = _inner_gradient(posts, first + i * columns + j, columns, x, y)
        if not math.isnan(across + down):
            return across * scale, down * scale
    across, down = 0.0, 0.0
    for di in range(2):
        for dj in range(2):
            a, b = i + di, j + dj
            at = first + a * columns + b
            here = posts[at]
            west = posts[at - 1] if b > 0 else np.nan
            east = posts[at + 1] if b < columns - 1 else np.nan
            north = posts[at - columns] if a > 0 else np.nan
            south = posts[at + columns] if a < rows - 1 else np.nan
            weight = (x if dj else 1.0 - x) * (y if di else 1.0 - y)
            across += weight * _difference(west, here, east)
            down += weight * _difference(north, here, south)
    return across * scale, down * scale


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_rise(
    posts: Any,
    offset: Any,
    sheet_rows: Any,
    sheet_columns: Any,
    jacobian: Any,
    layer: Any,
    number: int,
    column: Any,
    row: Any,
    distance: Any,
    near: float,
    rows: int,
    columns: int,
    rise: Any,
) -> None:
    """Fill the rise to the east and north [2, H, W] at the hits of one layer; up to ``near`` metres level 0 serves."""
    height, width = layer.shape
    n, m = jacobian.shape[0], jacobian.shape[1]
    coarsest = len(offset) - 1
    for v in range(height):
        for u in range(width):
            if layer[v, u] != number:
                continue
            c, r = column[v, u], row[v, u]
            border = min(min(c, columns - 1 - c), min(r, rows - 1 - r)) / FROM_BORDER
            posts_wide = min(distance[v, u] / near, border)
            detail = min(math.log2(posts_wide), float(coarsest)) if posts_wide > 1.0 else 0.0
            fine = int(detail)
            share = detail - fine
            across, down = _gradient(posts, offset[fine], sheet_rows[fine], sheet_columns[fine], c, r, fine)
            if share > 0.0:
                k = fine + 1
                across_far, down_far = _gradient(posts, offset[k], sheet_rows[k], sheet_columns[k], c, r, k)
                across += share * (across_far - across)
                down += share * (down_far - down)
            x, y = c / (columns - 1) * (m - 1), r / (rows - 1) * (n - 1)
            j, i = min(int(x), m - 2), min(int(y), n - 2)
            x, y = x - j, y - i
            for way in range(2):
                c_per = (1.0 - y) * ((1.0 - x) * jacobian[i, j, 0, way] + x * jacobian[i, j + 1, 0, way]) + y * (
                    (1.0 - x) * jacobian[i + 1, j, 0, way] + x * jacobian[i + 1, j + 1, 0, way]
                )
                r_per = (1.0 - y) * ((1.0 - x) * jacobian[i, j, 1, way] + x * jacobian[i, j + 1, 1, way]) + y * (
                    (1.0 - x) * jacobian[i + 1, j, 1, way] + x * jacobian[i + 1, j + 1, 1, way]
                )
                rise[way, v, u] = across * c_per + down * r_per
