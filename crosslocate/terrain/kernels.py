"""Compiled kernels of the ray caster.

Every ray lies in a vertical plane. In that plane, with the earth a circle of (effective) radius R, ground distance s,
t = s / R, and the camera at the origin at height c above the circle, terrain of height h stands at

    X = (R + h) sin t                    horizontally, and
    Y = (h - c) - (R + h) (1 - cos t)    vertically;

it is above a ray of slope m exactly where Y - m X > 0. Two facts make the march exact and fast:

* In one cell the ground track is a straight line to 1 mm, so the bilinear surface is a parabola in s, and with it X
  and Y: the first intersection is the root of a quadratic. No step length, no tolerance, nothing to miss.
* For terrain no higher than ``top``, Y - m X is bounded by a concave function of s. Where its tangent stays below zero
  the whole block of the pyramid is stepped over.

Paths hold the raster column and row as polynomials of s: ``path[0:6]`` and ``path[6:12]``, lowest power first.
All functions are scalar float64; posts and images are float32.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.pyramid import LEVELS

OVERLAP = 1e-3
"""Metres added to every step so that rounding cannot leave the march on a cell border."""

STEEPEST = 1e6
"""Slopes are clamped to this: a vertical ray is taken as one that moves a micrometre per metre of height."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


class Terrain(NamedTuple):
    """Arrays of the elevation model as the kernels take them (see ``MaxPyramid``)."""

    elevation: NDArray[np.float32]
    tops: NDArray[np.float32]
    offsets: NDArray[np.int64]
    widths: NDArray[np.int64]
    highest: float


class Eye(NamedTuple):
    """The point rays start from.

    ``origin`` (column, row) and ``coefficients`` are those of a ``GroundTrack``; ``curvature`` holds the inverses of
    the effective radii along the meridian and across it; ``height`` is in metres above sea level.
    """

    origin: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    curvature: NDArray[np.float64]
    height: float
    max_distance: float


@compiled
def follow(eye: Any, sin_azimuth: float, cos_azimuth: float, path: Any) -> float:
    """Fill ``path`` for one azimuth and return the effective radius along it (Euler's formula)."""
    coefficients = eye.coefficients
    for axis in range(2):
        path[6 * axis] = eye.origin[axis]
        first = 0
        cos_power = 1.0
        for degree in range(1, 6):
            cos_power *= cos_azimuth
            # sum over i of c[i] sin^i cos^(degree - i), by Horner in sin with cos powers built from the other end
            total = coefficients[axis, first + degree]
            power = 1.0
            for i in range(degree - 1, -1, -1):
                power *= cos_azimuth
                total = total * sin_azimuth + coefficients[axis, first + i] * power
            path[6 * axis + degree] = total
            first += degree + 1
    meridional, transverse = eye.curvature
    return 1.0 / (meridional * cos_azimuth * cos_azimuth + transverse * sin_azimuth * sin_azimuth)


@compiled
def locate(path: Any, s: float) -> tuple[float, float, float, float]:
    """Raster column and row at ground distance s, and their derivatives by s."""
    column = path[4] + s * path[5]
    along = path[5]
    row = path[10] + s * path[11]
    down = path[11]
    for k in range(3, -1, -1):
        along = column + s * along
        column = path[k] + s * column
        down = row + s * down
        row = path[6 + k] + s * row
    return column, row, along, down


@compiled
def horizon(radius: float, height: float, highest: float, slope: float) -> float:
    """Ground distance beyond which a ray of this slope stays above ``highest``; 0 when it is above it everywhere."""
    discriminant = slope * slope + 2.0 * (highest - height) / (radius + highest)
    if discriminant < 0.0:
        return 0.0
    t = math.sqrt(discriminant) - slope
    return 0.0 if t <= 0.0 else radius * t * (1.0 + t) + 1.0


@compiled
def seek(
    terrain: Any, path: Any, radius: float, height: float, slope: float, s: float, end: float, level: int
) -> tuple[float, float, float, float, float, float]:
    """Go along a ray from ground distance s to the first cell that may reach it.

    Returns:
        s, column and row where the cell is entered, their derivatives by s, and the length of the track in the cell;
        s is infinite when the ray leaves the raster or reaches ``end`` before.
    """
    rows, columns = terrain.elevation.shape
    tops, offsets, widths = terrain.tops, terrain.offsets, terrain.widths
    while s < end:
        column, row, along, down = locate(path, s)
        if not (0.0 <= column < columns - 1 and 0.0 <= row < rows - 1):
            break
        j, i = int(column), int(row)
        t = s / radius
        t2 = t * t
        sine = t * (1.0 - t2 / 6.0 * (1.0 - t2 / 20.0))
        versine = t2 / 2.0 * (1.0 - t2 / 12.0 * (1.0 - t2 / 30.0))
        while True:
            block_i, block_j = i >> level, j >> level
            top = tops[offsets[level] + block_i * widths[level] + block_j]
            above = top - height - (radius + top) * (versine + slope * sine)
            if above < 0.0 or level == 0:
                size = 1 << level
                length = np.inf
                if along > 0.0:
                    length = ((block_j + 1) * size - column) / along
                elif along < 0.0:
                    length = (block_j * size - column) / along
                if down > 0.0:
                    length = min(length, ((block_i + 1) * size - row) / down)
                elif down < 0.0:
                    length = min(length, (block_i * size - row) / down)
                length = length + OVERLAP
                growth = -(sine + slope * (1.0 - versine)) * (1.0 + top / radius)
                if above < 0.0 and above + growth * length < 0.0:
                    s += length
                    level = min(level + 1, LEVELS - 1)
                    break
                if level == 0:
                    return s, column, row, along, down, length
            level -= 1
    return np.inf, 0.0, 0.0, 0.0, 0.0, 0.0


@compiled
def cross_cell(
    elevation: Any, radius: float, height: float, s: float, column: float, row: float, along: float, down: float
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Terrain along the track in one cell as parabolas of u, the ground distance from the entry.

    Returns:
        Coefficients of u^0, u^1, u^2 of X, of Y, and of the elevation. NaN in a cell with a void post.
    """
    j, i = int(column), int(row)
    x, y = column - j, row - i
    north_west = float(elevation[i, j])
    east = float(elevation[i, j + 1]) - north_west
    south = float(elevation[i + 1, j]) - north_west
    twist = float(elevation[i + 1, j + 1]) - north_west - east - south
    h0 = north_west + x * east + y * south + x * y * twist
    h1 = along * east + down * south + (x * down + y * along) * twist
    h2 = along * down * twist
    t = s / radius
    t2 = t * t
    sine = t * (1.0 - t2 / 6.0 * (1.0 - t2 / 20.0))
    versine = t2 / 2.0 * (1.0 - t2 / 12.0 * (1.0 - t2 / 30.0))
    cosine = 1.0 - versine
    k = 1.0 / radius
    stretch = 1.0 + h0 * k
    x0 = (radius + h0) * sine
    x1 = stretch * cosine + h1 * sine
    x2 = -0.5 * stretch * sine * k + h1 * cosine * k + h2 * sine
    y0 = h0 - height - (radius + h0) * versine
    y1 = h1 * cosine - stretch * sine
    y2 = h2 * cosine - 0.5 * stretch * cosine * k - h1 * sine * k
    return x0, x1, x2, y0, y1, y2, h0, h1, h2


@compiled
def first_root(q0: float, q1: float, q2: float, length: float) -> float:
    """Smallest u in [0, length] where q0 + q1 u + q2 u^2 reaches zero from below; -1 when there is none."""
    if q0 >= 0.0:
        return 0.0
    discriminant = q1 * q1 - 4.0 * q2 * q0
    if discriminant < 0.0:
        return -1.0
    denominator = q1 + math.sqrt(discriminant)
    if denominator <= 0.0:
        return -1.0
    u = -2.0 * q0 / denominator
    return u if u <= length else -1.0


@compiled
def march(
    terrain: Any, path: Any, radius: float, height: float, slope: float, start: float, max_distance: float
) -> tuple[float, float, float, float, float]:
    """First intersection of a ray: its length, ground distance, column, row, elevation; infinite when there is none.

    The ray is known to be clear of terrain up to the ground distance ``start``.
    """
    end = min(max_distance, horizon(radius, height, terrain.highest, slope))
    s, level = start, 0
    while True:
        s, column, row, along, down, length = seek(terrain, path, radius, height, slope, s, end, level)
        if s >= end:
            return np.inf, np.inf, np.nan, np.nan, np.nan
        x0, x1, x2, y0, y1, y2, h0, h1, h2 = cross_cell(terrain.elevation, radius, height, s, column, row, along, down)
        u = first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
        if u >= 0.0:
            length = (x0 + u * (x1 + u * x2)) * math.sqrt(1.0 + slope * slope)
            return length, s + u, column + u * along, row + u * down, h0 + u * (h1 + u * h2)
        s += length
        level = 1
