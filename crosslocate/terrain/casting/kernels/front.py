"""Many rays taken through their next cells together, in loops without branches that compilers turn into vector code.

Each step takes every ray through the cell it is in: where is that cell (:func:`locate`), which are its posts
(:func:`gather`), does the ray meet the surface in it (:func:`solve`). What is known of the rays lies in one array,
``work``, a row of `ROW` numbers for each quantity: at distances that compilers know, they see that rows do not overlap.
The arithmetic is that of :func:`~crosslocate.terrain.casting.kernels.march.march`.
"""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.blocks import EDGE, OVERLAP
from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.rays import STEEPEST, arc

MOST = 512
"""Rays that are taken together."""

ROW = MOST + 8
"""Numbers from one row to the next: not a power of two, or all rows would share a few lines of the cache."""

_ROWS = 27
(
    PIXEL,  # index of the image row, counted from the bottom
    RISE,  # offset of the image row from the axis, upward, at unit focal length
    EAST,  # direction on the ground
    NORTH,
    SLOPE,
    SHRINK,  # of unit focal length to unit ground distance
    SECTOR,
    S,  # ground distance in metres where the ray starts
    U,  # how far it has gone from there
    END,  # ground distance up to which what follows holds
    SHARE,  # posts of the sheet for each of level 0
    BASE,  # index of the first post of the sheet
    WIDTH,  # posts in a row of it
    RIGHT,  # last column and row
    BOTTOM,
    C0,  # parabola of the column in u
    C1,
    C2,
    R0,  # parabola of the row in u
    R1,
    R2,
    AT,  # index of the first post of the cell; -1 outside the sheet
    P0,  # its posts
    P1,
    P2,
    P3,
    X,  # horizontal distance of the intersection; -1 for none in this cell
) = range(0, _ROWS * ROW, ROW)

WORK = _ROWS * ROW
"""Numbers in ``work``."""


@compiled
def directions(axes: Any, offset: float, count: int, sectors: int, work: Any) -> None:
    """Directions, slopes and sectors of the rays of an image column, from the `RISE` of each of them.

    Args:
        axes: Unit vectors to the right, up and forward of the camera, east-north-up, ``[3, 3]``.
        offset: Of the column from the axis at unit focal length.
        count: Of rays.
        sectors: Of the full circle.
        work: Of the rays.
    """
    east_0, east_1 = axes[2, 0] + offset * axes[0, 0], axes[1, 0]
    north_0, north_1 = axes[2, 1] + offset * axes[0, 1], axes[1, 1]
    upward_0, upward_1 = axes[2, 2] + offset * axes[0, 2], axes[1, 2]
    for k in range(count):
        rise = work[RISE + k]
        east, north, upward = east_0 + rise * east_1, north_0 + rise * north_1, upward_0 + rise * upward_1
        shrink = 1.0 / max(math.sqrt(east * east + north * north), 1e-12)
        share = east / (abs(east) + abs(north) + 1e-300)  # as in sectors.sector_of
        diamond = 1.0 - share if north < 0.0 else 3.0 + share
        work[EAST + k] = east * shrink
        work[NORTH + k] = north * shrink
        work[SLOPE + k] = min(max(upward * shrink, -STEEPEST), STEEPEST)
        work[SHRINK + k] = shrink
        work[SECTOR + k] = min(np.floor(diamond * 0.25 * sectors), sectors - 1.0)


def tracker(to: int) -> Any:
    """The parabolas of one raster coordinate where rays start, compiled; ``to`` is `C0` or `R0`."""

    def tracks(coefficients: Any, origin: float, count: int, work: Any) -> None:
        """Expand the polynomial of ``GroundTrack`` along every ray.

        Args:
            coefficients: Of the coordinate, [20].
            origin: The coordinate at the eye.
            count: Of rays.
            work: Of the rays.
        """
        a0, a1, b0, b1, b2 = coefficients[0], coefficients[1], coefficients[2], coefficients[3], coefficients[4]
        c0, c1, c2, c3 = coefficients[5], coefficients[6], coefficients[7], coefficients[8]
        d0, d1, d2, d3 = coefficients[9], coefficients[10], coefficients[11], coefficients[12]
        d4, e0, e1, e2 = coefficients[13], coefficients[14], coefficients[15], coefficients[16]
        e3, e4, e5 = coefficients[17], coefficients[18], coefficients[19]
        for k in range(count):
            x, y, s, share = work[EAST + k], work[NORTH + k], work[S + k], work[SHARE + k]
            y2 = y * y
            y3, y4 = y2 * y, y2 * y2
            p1 = a0 * y + x * a1
            p2 = b0 * y2 + x * (b1 * y + x * b2)
            p3 = c0 * y3 + x * (c1 * y2 + x * (c2 * y + x * c3))
            p4 = d0 * y4 + x * (d1 * y3 + x * (d2 * y2 + x * (d3 * y + x * d4)))
            p5 = e0 * y4 * y + x * (e1 * y4 + x * (e2 * y3 + x * (e3 * y2 + x * (e4 * y + x * e5))))
            work[to + k] = share * (origin + s * (p1 + s * (p2 + s * (p3 + s * (p4 + s * p5)))))
            work[to + ROW + k] = share * (p1 + s * (2.0 * p2 + s * (3.0 * p3 + s * (4.0 * p4 + s * 5.0 * p5))))
            work[to + 2 * ROW + k] = share * (p2 + s * (3.0 * p3 + s * (6.0 * p4 + s * 10.0 * p5)))

    tracks.__name__ = tracks.__qualname__ = f"tracks_{to // ROW}"  # the files of their code bear it
    return compiled(tracks)


column_tracks, row_tracks = tracker(C0), tracker(R0)


@compiled
def locate(count: int, work: Any) -> None:
    """Find the cells the rays are in."""
    for k in range(count):
        u = work[U + k]
        column = work[C0 + k] + u * (work[C1 + k] + u * work[C2 + k])
        row = work[R0 + k] + u * (work[R1 + k] + u * work[R2 + k])
        inside = (column >= 0.0) & (column < work[RIGHT + k]) & (row >= 0.0) & (row < work[BOTTOM + k])
        at = work[BASE + k] + np.floor(row) * work[WIDTH + k] + np.floor(column)
        work[AT + k] = at if inside else -1.0


@compiled
def gather(posts: Any, count: int, work: Any) -> None:
    """Fetch the posts of the cells."""
    for k in range(count):
        at, width = np.uint64(max(work[AT + k], 0.0)), np.uint64(work[WIDTH + k])
        work[P0 + k] = posts[at]
        work[P1 + k] = posts[at + np.uint64(1)]
        work[P2 + k] = posts[at + width]
        work[P3 + k] = posts[at + width + np.uint64(1)]


@compiled
def solve(triangles: bool, curvature: Any, height: float, count: int, work: Any) -> None:
    """Intersect the rays with the surfaces of their cells, and take them to the end of these.

    Args:
        triangles: Of ``Ground``.
        curvature: Of ``Eye``.
        height: Of ``Eye``.
        count: Of rays.
        work: Of the rays.
    """
    meridional, transverse = curvature[0], curvature[1]
    for k in range(count):
        u = work[U + k]
        c1, c2, r1, r2 = work[C1 + k], work[C2 + k], work[R1 + k], work[R2 + k]
        column, row = work[C0 + k] + u * (c1 + u * c2), work[R0 + k] + u * (r1 + u * r2)
        along, down = c1 + 2.0 * u * c2, r1 + 2.0 * u * r2
        x, y = column - np.floor(column), row - np.floor(row)
        to_side = ((1.0 if along > 0.0 else -EDGE) - x) / along
        to_side = to_side if along != 0.0 else np.inf
        to_row = ((1.0 if down > 0.0 else -EDGE) - y) / down
        to_row = to_row if down != 0.0 else np.inf
        s = work[S + k] + u
        length = max(min(max(min(to_side, to_row), 0.0) + OVERLAP, work[END + k] - s), 0.0)

        first = work[P0 + k]
        across, below = work[P1 + k] - first, work[P2 + k] - first
        twist = work[P3 + k] - first - across - below
        if triangles:
            side, turn = x - y, along - down
            diagonal = -side / turn
            length = diagonal + OVERLAP if (side * turn < 0.0) & (diagonal < length) else length
            upper = side + 0.5 * turn * length > 0.0
            below = below + twist if upper else below
            across = across if upper else across + twist
            h0, h1, h2 = first + x * across + y * below, along * across + down * below, 0.0 * twist
        else:
            h0 = first + x * across + y * below + x * y * twist
            h1 = along * across + down * below + (x * down + y * along) * twist
            h2 = along * down * twist

        east, north, slope = work[EAST + k], work[NORTH + k], work[SLOPE + k]
        c = meridional * north * north + transverse * east * east
        sine, versine = arc(c, s)
        cosine = 1.0 - versine * c
        swell = 1.0 + h0 * c
        x0 = swell * sine
        x1 = swell * cosine + h1 * c * sine
        x2 = c * (h1 * cosine - 0.5 * swell * sine * c + h2 * sine)
        x3 = h2 * c * cosine
        q0 = h0 - height - swell * versine - slope * x0
        q1 = h1 * cosine - swell * sine * c - slope * x1
        q2 = h2 * cosine - c * (0.5 * swell * cosine + h1 * sine * c) - slope * x2

        discriminant = q1 * q1 - 4.0 * q2 * q0
        denominator = q1 + math.sqrt(max(discriminant, 0.0))
        v = -2.0 * q0 / denominator
        v = v if (discriminant >= 0.0) & (denominator > 0.0) else np.inf
        v = v if q0 < 0.0 else 0.0
        inside = work[AT + k] >= 0.0
        met = inside & (v <= length) & (q0 == q0)  # it is NaN in a cell with a void
        work[X + k] = x0 + v * (x1 + v * (x2 + v * x3)) if met else -1.0
        work[U + k] = u + length if inside else u


@compiled
def move(source: int, target: int, work: Any) -> None:
    """Put what is known of one ray in the place of another."""
    for row in range(0, WORK, ROW):
        work[row + target] = work[row + source]
