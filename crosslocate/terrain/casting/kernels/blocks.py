"""The way of one ray over the blocks of a pyramid of tops to the cells that may reach it."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.rays import arc
from crosslocate.terrain.casting.kernels.tracks import OVERLAP
from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS

EDGE = 1e-9
"""Cells by which a block is left towards the first column or row: a track right along its border leaves it far out."""


@compiled
def seek(
    posts: Any,
    tops: Any,
    table: Any,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    slope: float,
    s: float,
    level: int,
    finest: int,
    border: float,
) -> tuple[float, float, float, float, float, float]:
    """Go along a ray through a stretch, from s to the first cell that may reach it.

    Args:
        posts: Of ``Ground``.
        tops: Of ``Ground``.
        table: Of ``Ground``.
        sheet: The sheet of the stretch.
        part: As filled by :func:`stretch`.
        curvature: Of the earth along the ray.
        height: Of the camera.
        slope: Of the ray.
        s: Where to start.
        level: Level of the block to try first.
        finest: Level of the blocks to stop at, 0 for cells.
        border: Cells along the border of the sheet that do not belong to it.

    Returns:
        s, column and row where the cell is entered, their derivatives by s, and the length of the track in the cell;
        the length is -1 when the ray leaves the sheet or the stretch before, at the returned s.
    """
    c0, c1, c2, r0, r1, r2 = part[0], part[1], part[2], part[3], part[4], part[5]
    end, begin = part[6], part[7]
    width, first = table[sheet, 0], table[sheet, 2]
    left, right, bottom = border, width - 1 - border, table[sheet, 1] - 1 - border
    while s < end:
        d = s - begin
        column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
        if not (left <= column < right and left <= row < bottom):
            return s, 0.0, 0.0, 0.0, 0.0, -1.0
        along, down = c1 + 2.0 * d * c2, r1 + 2.0 * d * r2
        j, i = int(column), int(row)
        sine, versine = arc(curvature, s)
        bend = versine + slope * sine
        fall = sine * curvature + slope * (1.0 - versine * curvature)
        while True:
            block_i, block_j = i >> level, j >> level
            if level > 0:
                top = tops[table[sheet, 2 + level] + block_i * table[sheet, 2 + BLOCK_LEVELS + level] + block_j]
            else:
                at = first + i * width + j
                top = max(max(posts[at], posts[at + 1]), max(posts[at + width], posts[at + width + 1]))
            swell = 1.0 + curvature * top
            above = top - height - swell * bend
            if above < 0.0 or level == finest:
                size = 1 << level
                # out of the block or, where its last cells are missing, out of the sheet
                length = np.inf
                if along > 0.0:
                    length = (min((block_j + 1) * size, right) - column) / along
                elif along < 0.0:
                    length = (max(block_j * size, left) - EDGE - column) / along
                if down > 0.0:
                    length = min(length, (min((block_i + 1) * size, bottom) - row) / down)
                elif down < 0.0:
                    length = min(length, (max(block_i * size, left) - EDGE - row) / down)
                length = max(length, 0.0) + OVERLAP
                if above < 0.0 and above - swell * fall * length < 0.0:
                    s += length
                    level = min(level + 1, BLOCK_LEVELS)
                    break
                if level == finest:
                    return s, column, row, along, down, min(length, end - s)
            level -= 1
    return end, 0.0, 0.0, 0.0, 0.0, -1.0
