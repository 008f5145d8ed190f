"""The ground under a photograph: metric coordinates for textures, and smooth slopes for shading."""

from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.elevation.dem import Dem


class Relief:
    """Slopes of an elevation model, interpolated between posts.

    The exact normal of the bilinear surface jumps from cell to cell; a photograph shaded with it shows facets. Central
    differences at the posts, interpolated, give the smooth shading of real ground. Metric coordinates use the scale at
    the model's centre everywhere: over one degree they are about 1 % off, which a texture does not show.

    Attributes:
        dem: The elevation model.
        slopes: Rise towards east and north in metres per metre at the posts, float32 [rows, columns, 2]; 0 in voids.
    """

    def __init__(self, dem: Dem) -> None:
        self.dem = dem
        down, right = np.gradient(dem.elevation)
        inverse = np.linalg.inv(self.metres)
        slopes = np.stack([right * inverse[0, k] + down * inverse[1, k] for k in range(2)], axis=-1)
        self.slopes = np.nan_to_num(slopes, nan=0.0).astype(np.float32)

    @cached_property
    def metres(self) -> NDArray[np.float64]:
        """Matrix from steps (column, row) to metres (east, north) at the centre of the model, [2, 2]."""
        rows, columns = self.dem.shape
        column, row = 0.5 * (columns - 1), 0.5 * (rows - 1)
        lon, lat = self.dem.position_of(column + np.array([-0.5, 0.5, 0.0, 0.0]), row + np.array([0.0, 0.0, -0.5, 0.5]))
        meridional, normal = radii_of_curvature(lat.mean())
        east = np.radians(np.diff(lon)[::2]) * normal * np.cos(np.radians(lat.mean()))
        north = np.radians(np.diff(lat)[::2]) * meridional
        return np.stack([east, north])

    def ground(self, column: NDArray[np.floating], row: NDArray[np.floating]) -> NDArray[np.float32]:
        """East and north position in metres and rise to the east and north at raster coordinates, [H, W, 4].

        NaN coordinates (the sky) give zeros.
        """
        return _ground(np.asarray(column), np.asarray(row), self.slopes, self.metres)


@njit(nogil=True, cache=True)
def _ground(
    column: NDArray[np.floating],
    row: NDArray[np.floating],
    slopes: NDArray[np.float32],
    metres: NDArray[np.float64],
) -> NDArray[np.float32]:
    height, width = column.shape
    rows, columns, _ = slopes.shape
    ground = np.zeros((height, width, 4), np.float32)
    for v in range(height):
        for u in range(width):
            c, r = float(column[v, u]), float(row[v, u])
            if not (c >= 0.0 and r >= 0.0 and c <= columns - 1 and r <= rows - 1):
                continue
            j, i = min(int(c), columns - 2), min(int(r), rows - 2)
            x, y = c - j, r - i
            ground[v, u, 0] = metres[0, 0] * c + metres[0, 1] * r
            ground[v, u, 1] = metres[1, 0] * c + metres[1, 1] * r
            for k in range(2):
                north = slopes[i, j, k] * (1.0 - x) + slopes[i, j + 1, k] * x
                south = slopes[i + 1, j, k] * (1.0 - x) + slopes[i + 1, j + 1, k] * x
                ground[v, u, 2 + k] = north * (1.0 - y) + south * y
    return ground
