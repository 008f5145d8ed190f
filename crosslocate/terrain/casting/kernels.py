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

The third, for cameras that are not level: the surroundings are cut into narrow sectors and these into rings, and for
every ring the pyramid gives a slope that no terrain of the sector exceeds out to the end of that ring (its envelope).
A ray of slope m starts its march at the first ring whose envelope reaches m; one above all envelopes sees the sky.
Sectors are equal steps of the diamond angle, which orders directions like the azimuth but needs no trigonometry.

Paths hold the raster column and row as polynomials of s: ``path[0:6]`` and ``path[6:12]``, lowest power first.
All functions are scalar float64; posts and images are float32.

Everything compiled is in this one file on purpose: numba's cache looks at the file a kernel is in, not at the files of
the kernels it calls, and would go on using old code after a change there.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.elevation.pyramid import LEVELS

OVERLAP = 1e-3
"""Metres added to every step so that rounding cannot leave the march on a cell border."""

STEEPEST = 1e6
"""Slopes are clamped to this: a vertical ray is taken as one that moves a micrometre per metre of height."""

SLACK = 1e-6
"""Added to envelopes against rounding, and against the change of the earth's radius across a sector."""

MARGIN = 0.02
"""Cells by which the box around a piece of a ring is enlarged: its arcs bulge out of the quadrangle of its corners."""

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


@compiled
def sector_of(east: float, north: float, sectors: int) -> int:
    """Number of the sector that holds a direction."""
    share = east / (abs(east) + abs(north) + 1e-300)
    diamond = 1.0 - share if north < 0.0 else (3.0 + share)
    return min(int(diamond * 0.25 * sectors), sectors - 1)


@compiled
def direction_of(diamond: float) -> tuple[float, float]:
    """Unit vector (east, north) of a diamond angle in [0, 4]: 0 is east, 1 south, 2 west, 3 north."""
    east = 1.0 - diamond if diamond <= 2.0 else diamond - 3.0
    north = abs(east) - 1.0 if diamond <= 2.0 else 1.0 - abs(east)
    norm = math.sqrt(east * east + north * north)
    return east / norm, north / norm


@compiled
def highest_in(terrain: Any, west: float, east: float, north: float, south: float) -> float:
    """Height that terrain in a box of raster coordinates does not exceed; minus infinity when there is none.

    Exact in small boxes: a bilinear patch is highest at a corner. In larger ones the pyramid's blocks decide.
    """
    rows, columns = terrain.elevation.shape
    j0, j1 = max(math.floor(west), 0), min(math.floor(east), columns - 2)
    i0, i1 = max(math.floor(north), 0), min(math.floor(south), rows - 2)
    highest = -np.inf
    if j1 - j0 <= 1 and i1 - i0 <= 1:
        for i in range(i0, i1 + 1):
            y0, y1 = max(north - i, 0.0), min(south - i, 1.0)
            for j in range(j0, j1 + 1):
                x0, x1 = max(west - j, 0.0), min(east - j, 1.0)
                corners = terrain.elevation[i : i + 2, j : j + 2]
                base = float(corners[0, 0])
                across, down = corners[0, 1] - base, corners[1, 0] - base
                twist = corners[1, 1] - base - across - down
                for y in (y0, y1):
                    for x in (x0, x1):
                        height = base + x * across + y * down + x * y * twist
                        if height > highest:  # false in a cell with a void
                            highest = height
        return highest
    level = 0
    while level < LEVELS - 1 and ((j1 - j0) >> level > 1 or (i1 - i0) >> level > 1):
        level += 1
    for i in range(i0 >> level, (i1 >> level) + 1):
        for j in range(j0 >> level, (j1 >> level) + 1):
            highest = max(highest, terrain.tops[terrain.offsets[level] + i * terrain.widths[level] + j])
    return highest


@compiled
def survey(terrain: Any, eye: Any, sector: int, rings: Any, left: Any, right: Any, envelopes: Any) -> None:
    """Fill the envelope of one sector, ``envelopes[sector]``: the slope that terrain surely stays below, ring by ring.

    ``left`` and ``right`` are work space for the paths along the sector's edges.
    """
    sectors, count = envelopes.shape
    east, north = direction_of(4.0 * sector / sectors)
    radius = follow(eye, east, north, left)
    east, north = direction_of(4.0 * (sector + 1) / sectors)
    follow(eye, east, north, right)
    c0, r0 = eye.origin
    c1, r1 = c0, r0
    steepest = -np.inf
    for k in range(count):
        if rings[k] > eye.max_distance:
            envelopes[sector, k] = steepest
            continue
        c2, r2, _, _ = locate(left, rings[k + 1])
        c3, r3, _, _ = locate(right, rings[k + 1])
        highest = highest_in(
            terrain,
            min(c0, c1, c2, c3) - MARGIN,
            max(c0, c1, c2, c3) + MARGIN,
            min(r0, r1, r2, r3) - MARGIN,
            max(r0, r1, r2, r3) + MARGIN,
        )
        c0, r0, c1, r1 = c2, r2, c3, r3
        if highest > -np.inf:
            # Y is largest at the near end; X is taken at the end that makes Y / X largest.
            rise = highest - eye.height - (radius + highest) * 2.0 * math.sin(0.5 * rings[k] / radius) ** 2
            run = (radius + highest) * math.sin((rings[k] if rise > 0.0 else rings[k + 1]) / radius)
            steepest = max(steepest, rise / run + SLACK)
        envelopes[sector, k] = steepest


@compiled
def clear_until(envelope: Any, rings: Any, slope: float) -> float:
    """Ground distance up to which a ray of this slope is clear of terrain; infinite when it sees the sky."""
    low, high = 0, len(envelope)
    while low < high:
        middle = (low + high) // 2
        if envelope[middle] < slope:
            low = middle + 1
        else:
            high = middle
    return rings[low] if low < len(envelope) else np.inf


@compiled
def cast_level(terrain: Any, eye: Any, yaw: float, right: Any, up: Any, out: Any) -> None:
    """Cast a level camera: one march per image column fills its pixels from the bottom to the top.

    Args:
        terrain: ``Terrain``.
        eye: ``Eye``.
        yaw: Heading of the optical axis in radians.
        right: Offsets of pixel columns from the axis at unit focal length, ``[W]``.
        up: The same of pixel rows, upward, ``[H]``.
        out: Length of every pixel's ray in metres, float32 ``[H, W]``; preset to the value of the sky.
    """
    path = np.empty(12)
    for v in range(len(right)):
        azimuth = yaw + math.atan(right[v])
        radius = follow(eye, math.sin(azimuth), math.cos(azimuth), path)
        shrink = 1.0 / math.sqrt(1.0 + right[v] * right[v])
        w = len(up) - 1
        s, level = 0.0, 0
        while w >= 0:
            slope = up[w] * shrink
            end = min(eye.max_distance, horizon(radius, eye.height, terrain.highest, slope))
            s, column, row, along, down, length = seek(terrain, path, radius, eye.height, slope, s, end, level)
            if s >= end:
                break
            x0, x1, x2, y0, y1, y2, _, _, _ = cross_cell(
                terrain.elevation, radius, eye.height, s, column, row, along, down
            )
            while w >= 0:
                slope = up[w] * shrink
                u = first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
                if not u >= 0.0:
                    break
                out[w, v] = (x0 + u * (x1 + u * x2)) * math.sqrt(1.0 + slope * slope)
                w -= 1
            s += length
            level = 1


@compiled
def cast_rays(terrain: Any, eye: Any, axes: Any, right: Any, up: Any, rings: Any, envelopes: Any, out: Any) -> None:
    """Cast one march per pixel, starting where the envelope of its sector first reaches the slope of its ray.

    Args:
        terrain: ``Terrain``.
        eye: ``Eye``.
        axes: Unit vectors to the right, up and forward of the camera, east-north-up, ``[3, 3]``.
        right: As in :func:`cast_level`.
        up: As in :func:`cast_level`.
        rings: Ground distances that bound the rings of the envelopes ``[K + 1]``.
        envelopes: Work space for the envelopes of the sectors ``[N, K]``.
        out: As in :func:`cast_level`.
    """
    surveyed = np.zeros(len(envelopes), np.bool_)
    path = np.empty(12)
    edge = np.empty(12)
    for w in range(len(up)):
        for v in range(len(right)):
            east = axes[2, 0] + up[w] * axes[1, 0] + right[v] * axes[0, 0]
            north = axes[2, 1] + up[w] * axes[1, 1] + right[v] * axes[0, 1]
            upward = axes[2, 2] + up[w] * axes[1, 2] + right[v] * axes[0, 2]
            level_length = max(math.sqrt(east * east + north * north), 1e-12)
            slope = min(max(upward / level_length, -STEEPEST), STEEPEST)
            sector = sector_of(east, north, len(envelopes))
            if not surveyed[sector]:
                survey(terrain, eye, sector, rings, path, edge, envelopes)
                surveyed[sector] = True
            start = clear_until(envelopes[sector], rings, slope)
            if start > eye.max_distance:
                continue
            radius = follow(eye, east / level_length, north / level_length, path)
            length, s, _, _, _ = march(terrain, path, radius, eye.height, slope, start, eye.max_distance)
            if s < np.inf:
                out[w, v] = length


@compiled
def cast_shade(
    terrain: Any,
    eye: Any,
    azimuth: float,
    slope: float,
    lift: float,
    columns: Any,
    rows: Any,
    elevations: Any,
    out: Any,
) -> None:
    """Mark the points from which a ray along one azimuth and slope meets terrain.

    Args:
        terrain: ``Terrain``.
        eye: ``Eye``; its linear track and its radius serve for all points.
        azimuth: Direction of the light in radians.
        slope: Tangent of its elevation angle.
        lift: Metres by which points are raised, so that their own facet does not shade them by rounding.
        columns: Raster columns of the points ``[n]``, NaN for none.
        rows: Raster rows of the points ``[n]``.
        elevations: Elevations of the points in metres ``[n]``.
        out: Boolean ``[n]``, false on entry.
    """
    path = np.empty(12)
    radius = follow(eye, math.sin(azimuth), math.cos(azimuth), path)
    for power in range(2, 6):
        path[power] = path[6 + power] = 0.0
    for k in range(len(columns)):
        if columns[k] >= 0.0:
            path[0], path[6] = columns[k], rows[k]
            _, s, _, _, _ = march(terrain, path, radius, elevations[k] + lift, slope, 0.0, np.inf)
            out[k] = s < np.inf
