"""Pieces of tracks: in batches of them terrain is compared with a ray without a branch."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.rays import parabola
from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS

CHUNK = 64
"""Pieces of a column that are looked at together, at most."""

PIECE = 1.98
"""Length of a piece in cells: from its middle a block of 2 x 2 cells and the ring around it cover it."""


def scanner(wide: bool) -> Any:
    """The comparison of terrain with a ray in pieces of a track, compiled; its loops have no branches.

    Args:
        wide: Pieces reach a cell further to all four sides: not one but up to four blocks cover them.
    """

    def scan(
        tops: Any,
        base: int,
        width: int,
        c0: float,
        c1: float,
        c2: float,
        r0: float,
        r1: float,
        r2: float,
        h0: float,
        h1: float,
        h2: float,
        step: float,
        count: int,
        places: Any,
        gaps: Any,
    ) -> int:
        """Compare terrain with a ray.

        Args:
            tops: Of ``Ground``.
            base: Index of the first top of the blocks of 2 x 2 cells.
            width: Blocks in a row.
            c0: Column of the first piece's beginning, in blocks, with ``c1`` and ``c2`` a parabola of the distance from
                it.
            c1: See ``c0``.
            c2: See ``c0``.
            r0: The same of the row.
            r1: See ``r0``.
            r2: See ``r0``.
            h0: The same of the height of the ray.
            h1: See ``h0``.
            h2: See ``h0``.
            step: Length of a piece in metres, at most `PIECE` cells.
            count: Number of pieces.
            places: Work space, int64 [CHUNK], [3 * CHUNK] for wide pieces.
            gaps: Receives how far terrain may rise above the lowest point of the ray in each piece.

        Returns:
            Number of pieces where it may.
        """
        found = 0
        for k in range(count):
            d = (k + 0.5) * step
            column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
            if wide:
                left, upper = np.floor(column - 0.499), np.floor(row - 0.499)
                places[CHUNK + k] = int(np.floor(column + 0.499) - left)
                places[2 * CHUNK + k] = int((np.floor(row + 0.499) - upper) * width)
            else:
                left, upper = np.floor(column), np.floor(row)
            places[k] = int(upper * width + left)
            gaps[k] = h0 + d * (h1 + d * h2) - 0.5 * step * abs(h1 + 2.0 * d * h2)  # it is convex
        for k in range(count):
            at = base + places[k]
            top = tops[np.uint64(at)]
            if wide:
                right, below = places[CHUNK + k], at + places[2 * CHUNK + k]
                top = max(top, tops[np.uint64(at + right)])
                top = max(top, max(tops[np.uint64(below)], tops[np.uint64(below + right)]))
            gap = top - gaps[k]
            gaps[k] = gap
            found += gap > 0.0
        return found

    scan.__name__ = scan.__qualname__ = "scan_wide" if wide else "scan"  # the files of their code bear it
    return compiled(scan)


scan, scan_wide = scanner(False), scanner(True)


@compiled
def fit_chunk(table: Any, sheet: int, part: Any, s: float, step: float, count: int, border: float) -> int:
    """How many pieces from s on lie in the sheet and run through it monotonously: ``count``, halved until they do.

    So many cells along its border count as outside.
    """
    right, bottom = table[sheet, 0] - 1.0 - border, table[sheet, 1] - 1.0 - border
    d = s - part[7]
    along, down = part[1] + 2.0 * d * part[2], part[4] + 2.0 * d * part[5]
    column, row = part[0] + d * (part[1] + d * part[2]), part[3] + d * (part[4] + d * part[5])
    if not (border <= column < right and border <= row < bottom):
        return 0
    while count > 0:
        e = d + count * step
        column, row = part[0] + e * (part[1] + e * part[2]), part[3] + e * (part[4] + e * part[5])
        if (
            border <= column < right
            and border <= row < bottom
            and along * (part[1] + 2.0 * e * part[2]) >= 0.0
            and down * (part[4] + 2.0 * e * part[5]) >= 0.0
        ):
            return count
        count >>= 1
    return 0


@compiled
def compare(
    tops: Any,
    table: Any,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    slope: float,
    s: float,
    step: float,
    count: int,
    wide: bool,
    places: Any,
    gaps: Any,
) -> int:
    """Compare terrain with a ray in ``count`` pieces from s on that lie in the sheet; see :func:`scan` for the rest.

    Wide pieces reach up to 2 `PIECE` from their middle, others half as far.
    """
    d = s - part[7]
    h0, h1, h2, error = parabola(curvature, height, slope, s, count * step)
    c0, c1, c2 = part[0] + d * (part[1] + d * part[2]), part[1] + 2.0 * d * part[2], part[2]
    r0, r1, r2 = part[3] + d * (part[4] + d * part[5]), part[4] + 2.0 * d * part[5], part[5]
    c0, c1, c2, r0, r1, r2 = 0.5 * c0, 0.5 * c1, 0.5 * c2, 0.5 * r0, 0.5 * r1, 0.5 * r2
    base, width = table[sheet, 3], table[sheet, 3 + BLOCK_LEVELS]
    h0 -= error
    if wide:
        return scan_wide(tops, base, width, c0, c1, c2, r0, r1, r2, h0, h1, h2, step, count, places, gaps)
    return scan(tops, base, width, c0, c1, c2, r0, r1, r2, h0, h1, h2, step, count, places, gaps)
