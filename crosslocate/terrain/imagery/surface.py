"""Slopes and normals of the terrain, smooth across cells.

The bilinear surface has an edge along every grid line. For shading and land cover the gradient is therefore taken at
the posts (central differences) and interpolated between them, as in Phong's shading.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.casting.raycast import Hits
from crosslocate.terrain.elevation.dem import Dem, interpolate

Raster = NDArray[np.float32]
Floats = NDArray[np.float64]

_LATTICE = 9
"""Nodes along each side of a model where metres per post are computed; linear between (1e-6 of a 1 degree tile)."""


class Slopes(NamedTuple):
    """Rise of the terrain in metres per metre, at the posts, float32 ``[rows, columns]``; 0 where unknown."""

    east: Raster
    north: Raster


@lru_cache(maxsize=4)
def slopes(dem: Dem) -> Slopes:
    """Slopes of a model toward true east and true north. Kept for the last few models."""
    by_column, by_row = _difference(dem.elevation), _difference(dem.elevation.T).T
    jacobian = _posts_per_metre(dem)
    columns, rows = (_hats(n) for n in (dem.shape[1], dem.shape[0]))
    spread = [[(rows.T @ jacobian[axis, way] @ columns) for way in range(2)] for axis in range(2)]
    return Slopes(*(by_column * spread[0][way] + by_row * spread[1][way] for way in range(2)))


def surface_normals(dem: Dem, hits: Hits) -> NDArray[np.float32]:
    """Unit normals at the hits, float32 ``[H, W, 3]``, in the east-north-up frame OF THE HIT; NaN in the sky.

    That frame is turned against the camera's by the angle between their verticals, 0.27 degrees at 30 km.
    """
    east, north = (interpolate(slope, *hits.pixel()) for slope in slopes(dem))
    normals = np.stack([-east, -north, np.where(np.isnan(east), np.nan, 1.0)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals.astype(np.float32)


def _difference(posts: Raster) -> Raster:
    """Change per post along axis 1: central, one-sided at borders and beside voids, 0 where no neighbour is known."""
    step = np.diff(posts, axis=1)
    before, after = np.full_like(posts, np.nan), np.full_like(posts, np.nan)
    before[:, 1:], after[:, :-1] = step, step
    central = np.where(np.isnan(before), after, np.where(np.isnan(after), before, (before + after) / 2))
    return np.nan_to_num(central, nan=0.0)


def _posts_per_metre(dem: Dem) -> Floats:
    """Derivatives of (column, row) by metres (east, north) on the lattice, ``[2, 2, n, n]``."""
    rows, columns = dem.shape
    row, column = np.meshgrid(*(np.linspace(0, n - 1, _LATTICE) for n in (rows, columns)), indexing="ij")
    _, latitude = dem.position_of(column, row)
    meridional, transverse = radii_of_curvature(latitude)
    metres: Floats = np.empty((2, 2, _LATTICE, _LATTICE))
    for axis, (dc, dr) in enumerate(((0.5, 0.0), (0.0, 0.5))):
        lon0, lat0 = dem.position_of(column - dc, row - dr)
        lon1, lat1 = dem.position_of(column + dc, row + dr)
        turn = np.mod(lon1 - lon0 + 180.0, 360.0) - 180.0
        metres[0, axis] = np.radians(turn) * transverse * np.cos(np.radians(latitude))
        metres[1, axis] = np.radians(lat1 - lat0) * meridional
    inverse: Floats = np.linalg.inv(np.moveaxis(metres, (0, 1), (-2, -1))).astype(np.float64)
    return np.moveaxis(inverse, (-2, -1), (0, 1))


def _hats(posts: int) -> Raster:
    """Weights of the lattice nodes at every post for linear interpolation, ``[nodes, posts]``."""
    place = np.linspace(0, _LATTICE - 1, posts)
    return np.maximum(0.0, 1.0 - np.abs(place - np.arange(_LATTICE)[:, None])).astype(np.float32)
