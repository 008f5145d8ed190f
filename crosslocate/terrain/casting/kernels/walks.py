"""The way of the rays of one azimuth from cell to cell."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.blocks import seek
from crosslocate.terrain.casting.kernels.cells import cross_cell
from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.fans import answer
from crosslocate.terrain.casting.kernels.rays import parabola
from crosslocate.terrain.casting.kernels.tracks import OVERLAP


@compiled
def meet(
    posts: Any,
    tops: Any,
    table: Any,
    triangles: bool,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    s: float,
    level: int,
    n: int,
    slopes: Any,
    secants: Any,
    out: Any,
) -> tuple[float, int]:
    """Go from s to the end of a stretch, and fill in the lengths of the rays that end there.

    Returns:
        Where it ended, and the number of the first ray that goes on.
    """
    width = table[sheet, 0]
    while True:
        s, column, row, along, down, length = seek(
            posts, tops, table, sheet, part, curvature, height, slopes[n], s, level, 0, 0.0
        )
        if length < 0.0:
            return s, n
        j, i = int(column), int(row)
        at = table[sheet, 2] + i * width + j
        x0, x1, x2, y0, y1, y2, x3, length = cross_cell(
            posts, width, triangles, at, curvature, height, s, column - j, row - i, along, down, length
        )
        n = answer(x0, x1, x2, y0, y1, y2, x3, length, n, slopes, secants, out)
        if n == len(slopes):
            return s, n
        s += length
        level = 1


@compiled
def lines(position: float, speed: float, bend: float, length: float, cuts: Any) -> int:
    """Where a track crosses lines between posts: distances at which position + speed u + bend u^2 is an integer.

    The parabola is nearly straight on the length. ``cuts`` receives the distances and, at the end, infinity.

    Returns:
        Number of crossings before ``length``; -1 when the parabola is too curved.
    """
    end = position + length * (speed + length * bend)
    if speed > 0.0:
        count, nearest, step = int(end) - int(position), int(position) + 1, 1
    else:
        count, nearest, step = int(position) - int(end), int(position), -1
    if count > 0:
        if abs(bend) * length > 1e-3 * abs(speed):
            return -1
        pace = 1.0 / speed
        turn = bend * pace
        for k in range(count):
            u = (nearest + k * step - position) * pace
            cuts[k] = u - turn * u * u * (1.0 - 2.0 * turn * u)
    cuts[count] = np.inf
    return count


@compiled
def walk(
    posts: Any,
    tops: Any,
    table: Any,
    triangles: bool,
    sheet: int,
    part: Any,
    cuts: Any,
    curvature: float,
    height: float,
    s: float,
    end: float,
    n: int,
    slopes: Any,
    secants: Any,
    out: Any,
) -> int:
    """Go from cell to cell from s to ``end``, all of it inside the sheet, and fill in the rays that end there.

    Returns:
        The number of the first ray that goes on.
    """
    count = len(slopes)
    c0, c1, c2, r0, r1, r2, origin = part[0], part[1], part[2], part[3], part[4], part[5], part[7]
    start = s - origin
    column, row = c0 + start * (c1 + start * c2), r0 + start * (r1 + start * r2)
    along, down = c1 + 2.0 * start * c2, r1 + 2.0 * start * r2
    length = end - s
    across, below = lines(column, along, c2, length, cuts[0]), lines(row, down, r2, length, cuts[1])
    if across < 0 or below < 0:
        part[6] = end
        return meet(posts, tops, table, triangles, sheet, part, curvature, height, s, 0, n, slopes, secants, out)[1]
    width = table[sheet, 0]
    h0, h1, h2, error = parabola(curvature, height, slopes[n], s, length)
    ray = h0 - error
    right, lower, step = 1 if along > 0.0 else -1, 1 if down > 0.0 else -1, width if down > 0.0 else -width
    j, i = int(column), int(row)
    at = table[sheet, 2] + i * width + j
    v = w = 0
    begin = 0.0
    for _ in range(across + below + 1):
        to_side, to_row = cuts[0, v], cuts[1, w]
        sideways = to_side < to_row
        leave = min(min(to_side, to_row), length)
        ahead = h0 + leave * (h1 + leave * h2) - error
        top = max(max(posts[at], posts[at + 1]), max(posts[at + width], posts[at + width + 1]))
        if top > min(ray, ahead):
            before = n
            while begin < leave:
                d = start + begin
                x0, x1, x2, y0, y1, y2, x3, size = cross_cell(
                    posts,
                    width,
                    triangles,
                    at,
                    curvature,
                    height,
                    s + begin,
                    c0 + d * (c1 + d * c2) - j,
                    r0 + d * (r1 + d * r2) - i,
                    c1 + 2.0 * d * c2,
                    r1 + 2.0 * d * r2,
                    leave - begin + OVERLAP,
                )
                n = answer(x0, x1, x2, y0, y1, y2, x3, size, n, slopes, secants, out)
                if n == count:
                    return n
                begin += size
            if n > before:
                h0, h1, h2, error = parabola(curvature, height, slopes[n], s, length)
                ahead = h0 + leave * (h1 + leave * h2) - error
        v, w = (v + 1, w) if sideways else (v, w + 1)
        j, i = (j + right, i) if sideways else (j, i + lower)
        at += right if sideways else step
        ray, begin = ahead, leave
    return n
