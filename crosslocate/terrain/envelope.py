"""Upper envelopes of the terrain around a camera: how far a ray surely goes free.

The surroundings are cut into narrow sectors and these into rings. For every ring the pyramid of highest elevations
gives a slope that no terrain in the sector exceeds out to the end of that ring. A ray of slope m can start its march at
the first ring whose envelope reaches m, and one above all envelopes sees the sky. Sectors are equal steps of the
diamond angle, which orders directions like the azimuth but needs no trigonometry.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.kernels import compiled, follow, locate
from crosslocate.terrain.pyramid import LEVELS

RING_GROWTH = 1.1
"""Ratio of the outer to the inner distance of a ring."""

SLACK = 1e-6
"""Added to envelopes against rounding, and against the change of the earth's radius across a sector."""

MARGIN = 0.02
"""Cells by which the box around a piece of a ring is enlarged: its arcs bulge out of the quadrangle of its corners."""

FIRST_RING = 0.5
"""Radius in metres of the disc around the camera that the first ring covers."""


def ring_distances(reach: float) -> NDArray[np.float64]:
    """Ground distances in metres that bound the rings: 0, the first, and on in equal ratios to ``reach`` or beyond."""
    count = max(1, math.ceil(math.log(max(reach / FIRST_RING, 1.0)) / math.log(RING_GROWTH)))
    return np.concatenate([[0.0], FIRST_RING * RING_GROWTH ** np.arange(count + 1)])


def sector_count(focal_length: float) -> int:
    """Sectors of the full circle that are about as wide as a pixel of a camera (focal length in pixels)."""
    return int(np.clip(2 * np.pi * focal_length, 256, 4096))


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
