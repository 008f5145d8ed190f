"""The march of a single ray."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.blocks import seek
from crosslocate.terrain.casting.kernels.cells import cross_cell, first_root
from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.tracks import stretch


@compiled
def march(
    posts: Any,
    tops: Any,
    table: Any,
    first: Any,
    triangles: bool,
    unit: Any,
    stride: float,
    paths: Any,
    part: Any,
    curvature: float,
    height: float,
    slope: float,
    s: float,
    limit: float,
) -> float:
    """Horizontal distance X of the first intersection of a ray; infinite when there is none before ``limit``.

    The ray is known to be clear of terrain up to the ground distance s.
    """
    level = 0
    while s < limit:
        sheet = stretch(table, first, unit, stride, paths, s, limit, part)
        if sheet < 0:
            s = part[6] if sheet == -1 else np.inf
            continue
        while True:
            s, column, row, along, down, length = seek(
                posts, tops, table, sheet, part, curvature, height, slope, s, level, 0, 0.0
            )
            if length < 0.0:
                break
            j, i = int(column), int(row)
            width = table[sheet, 0]
            at = table[sheet, 2] + i * width + j
            x0, x1, x2, y0, y1, y2, x3, length = cross_cell(
                posts, width, triangles, at, curvature, height, s, column - j, row - i, along, down, length
            )
            u = first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
            if u >= 0.0:
                return x0 + u * (x1 + u * (x2 + u * x3))
            s += length
            level = 1
        level = 0
    return np.inf
