"""Slabs of a sector: what lies between two neighbouring lines of posts that the sector crosses.

The lines are those of the axis along which it runs faster (``major``): rows of posts where it runs rather north or
south. In a slab the sector is bounded by two lines of posts and by a lower and an upper coordinate on the other axis
(``minor``). On that rectangle the bilinear surface is highest on one of the two lines, at a post or where the rectangle
ends; triangles may be highest on the diagonals of the outermost cells besides.
"""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.pieces import CHUNK, PIECE
from crosslocate.terrain.casting.kernels.rays import STEEPEST, arc

SLACK = 1e-6
"""Added to slopes against rounding, and against the change of the earth's radius across a sector."""

MOST = int(2 * PIECE * CHUNK) + 3
"""Slabs that are looked at together, at most: all that a chunk of wide pieces crosses."""

ROW = MOST + 8
"""Numbers from one row of the work space to the next."""

(CUT, MINOR, FIRST, BEFORE, LAST, BEHIND, TOP, SLOPE) = range(0, 8 * ROW, ROW)

SLABS = 8 * ROW
"""Numbers in the work space: for each slab where it begins, as a distance and on the minor axis; the first and the last
column of cells in it, and how far into these it begins and ends; its highest terrain, and the slope of that."""

LEAST_BROAD = 4e-3
"""Half width of a sector along a line of posts in cells, at least."""

BENT = 1e-2
"""Tracks that change direction by more than that along a run are not cut."""


@compiled
def cut(
    m0: float,
    m1: float,
    m2: float,
    n0: float,
    n1: float,
    n2: float,
    s: float,
    span: float,
    broad: float,
    work: Any,
) -> int:
    """Cut a run of a sector into slabs.

    Args:
        m0: The minor coordinate of the middle of the sector at the beginning, with ``m1`` and ``m2`` a parabola of the
            distance from it.
        m1: See ``m0``.
        m2: See ``m0``.
        n0: The same of the major coordinate.
        n1: See ``n0``.
        n2: See ``n0``.
        s: Ground distance where the run begins.
        span: Its length in metres.
        broad: Half width of the sector along a line of posts, in cells for each metre of ground distance.
        work: Receives the slabs.

    Returns:
        Number of slabs; 0 when the track is bent.
    """
    if abs(n2) * span > BENT * abs(n1):
        return 0
    line = math.floor(n0)
    count = int(abs(math.floor(n0 + span * (n1 + span * n2)) - line)) + 1
    sense = 1.0 if n1 > 0.0 else -1.0
    nearest = line if n1 > 0.0 else line + 1.0
    pace, turn = 1.0 / n1, n2 / n1
    for k in range(count + 1):
        u = (nearest + k * sense - n0) * pace
        u -= turn * u * u * (1.0 - 2.0 * turn * u)
        u = min(max(u, 0.0), span)
        work[CUT + k] = u
        work[MINOR + k] = m0 + u * (m1 + u * m2)
    for k in range(count):
        aside = (s + work[CUT + k + 1]) * broad + LEAST_BROAD
        low = min(work[MINOR + k], work[MINOR + k + 1]) - aside
        high = max(work[MINOR + k], work[MINOR + k + 1]) + aside
        first, last = np.floor(low), np.floor(high)
        work[FIRST + k], work[BEFORE + k] = first, low - first
        work[LAST + k], work[BEHIND + k] = last, high - last
    return count


@compiled
def highest(posts: Any, at: int, over: int, beside: int, sense: int, triangles: bool, count: int, work: Any) -> None:
    """Find the highest terrain in each slab, -1e30 where there is none.

    Args:
        posts: Of ``Ground``.
        at: Index of the first post of the line that the first slab begins or ends with.
        over: Posts from a line to the next.
        beside: Posts from a post of a line to the next.
        sense: 1 or -1: whether slabs follow each other along the major axis or against it.
        triangles: Of ``Ground``.
        count: Of slabs.
        work: Of the slabs.
    """
    for k in range(count):
        p, q = at + int(work[FIRST + k]) * beside, at + int(work[LAST + k]) * beside
        x, z = work[BEFORE + k], work[BEHIND + k]
        p0, p1 = float(posts[p]), float(posts[p + beside])
        p2, p3 = float(posts[p + over]), float(posts[p + over + beside])
        q0, q1 = float(posts[q]), float(posts[q + beside])
        q2, q3 = float(posts[q + over]), float(posts[q + over + beside])
        a, b = p0 + x * (p1 - p0), p2 + x * (p3 - p2)
        c, d = q0 + z * (q1 - q0), q2 + z * (q3 - q2)
        top = -1e30
        top = a if a > top else top  # false for a void
        top = b if b > top else top
        top = c if c > top else top
        top = d if d > top else top
        if triangles:
            a, c = p0 + x * (p3 - p0), q0 + z * (q3 - q0)
            top = a if a > top else top
            top = c if c > top else top
        while p < q:
            p += beside
            a, b = float(posts[p]), float(posts[p + over])
            top = a if a > top else top
            top = b if b > top else top
        work[TOP + k] = top
        at += sense * over


@compiled
def slope_of(curvature: float, height: float, top: float, near: float, far: float) -> float:
    """Slope that terrain no higher than ``top`` between two ground distances does not exceed."""
    # Y is largest at the near end; X is taken at the end that makes Y / X largest.
    sine, versine = arc(curvature, near)
    swell = 1.0 + curvature * top
    rise = top - height - swell * versine
    further, _ = arc(curvature, far)
    sine = sine if rise > 0.0 else further
    return min(rise / (swell * sine) + SLACK, STEEPEST)


@compiled
def slopes_of(curvature: float, height: float, s: float, swerve: float, least: float, count: int, work: Any) -> None:
    """Find the slopes that the terrain of slabs does not exceed.

    Args:
        curvature: Of the earth along the sector.
        height: Of the camera.
        s: Ground distance where the run begins.
        swerve: Distance by which the sides of the sector meet a line of posts before or behind its middle, in shares of
            the ground distance.
        least: The same in metres, at least.
        count: Of slabs.
        work: Of the slabs.
    """
    for k in range(count):
        near, far = s + work[CUT + k], s + work[CUT + k + 1]
        aside = far * swerve + least
        slope = slope_of(curvature, height, work[TOP + k], max(near - aside, 0.0), far + aside)
        work[SLOPE + k] = slope if work[TOP + k] > -1e30 else -np.inf
