"""Highest terrain in a box of raster coordinates."""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled


@compiled
def patch(first: float, second: float, third: float, fourth: float, x: float, y: float, triangles: bool) -> float:
    """Height in a cell: of the bilinear patch, or of the higher one of the planes of its two triangles."""
    across, below = first + x * (second - first), third + x * (fourth - third)
    if triangles:
        return max(across + y * (fourth - second), below - (1.0 - y) * (third - first))
    return across + y * (below - across)


@compiled
def highest_in(
    posts: Any, table: Any, triangles: bool, sheet: int, west: float, east: float, north: float, south: float
) -> float:
    """Height that terrain in a box of raster coordinates does not exceed; minus infinity when there is none.

    Exact in small boxes: there the part of a cell in the box decides, which is highest at a corner.
    """
    width, rows = table[sheet, 0], table[sheet, 1]
    j0, j1 = max(math.floor(west), 0), min(math.floor(east), width - 2)
    i0, i1 = max(math.floor(north), 0), min(math.floor(south), rows - 2)
    highest = -np.inf
    if j1 - j0 > 1 or i1 - i0 > 1:
        for i in range(i0, i1 + 2):
            at = table[sheet, 2] + i * width
            for j in range(j0, j1 + 2):
                top = float(posts[at + j])
                if top > highest:  # false for a void
                    highest = top
        return highest
    for i in range(i0, i1 + 1):
        for j in range(j0, j1 + 1):
            at = table[sheet, 2] + i * width + j
            first, second = float(posts[at]), float(posts[at + 1])
            third, fourth = float(posts[at + width]), float(posts[at + width + 1])
            y0, y1 = max(north - i, 0.0), min(south - i, 1.0)
            x0, x1 = max(west - j, 0.0), min(east - j, 1.0)
            north_west = patch(first, second, third, fourth, x0, y0, triangles)
            north_east = patch(first, second, third, fourth, x1, y0, triangles)
            south_west = patch(first, second, third, fourth, x0, y1, triangles)
            fourth = patch(first, second, third, fourth, x1, y1, triangles)
            first, second, third = north_west, north_east, south_west
            top = max(max(first, second), max(third, fourth))
            if top > highest:  # false in a cell with a void
                highest = top
    return highest
