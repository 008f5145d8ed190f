"""The pyramid of highest elevations: lets rays step over blocks of terrain that cannot reach them.

Level l covers blocks of 2**l x 2**l cells (a cell lies between four posts). All levels live in one flat array because
compiled kernels take that best.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 7
"""Levels of a pyramid: blocks of 1 to 64 cells. Larger ones would save little and follow curved tracks too loosely."""


@dataclass(frozen=True, eq=False)
class MaxPyramid:
    """Highest elevation in every block of cells.

    Attributes:
        tops: All levels one after the other, row-major, float32. Cells with a void post lie below all terrain.
        offsets: Index of the first block of each level in ``tops``, int64 ``[LEVELS]``.
        widths: Blocks in a row of each level, int64 ``[LEVELS]``.
        highest: Highest post of all, in metres.
    """

    tops: NDArray[np.float32]
    offsets: NDArray[np.int64]
    widths: NDArray[np.int64]
    highest: float


def build_pyramid(elevation: NDArray[np.float32]) -> MaxPyramid:
    """Build the pyramid of a raster of posts ``[rows, columns]``, NaN where void.

    From level 1 on a block also covers the ring of cells around it: rays step along straight lines, and a geodesic may
    bulge out of the straight line into the neighbouring cell by a fraction of a cell.
    """
    cells = _cell_tops(elevation)
    levels = [cells]
    for level in range(1, LEVELS):
        strips = _reduce_with_ring(cells, 1 << level)
        levels.append(np.ascontiguousarray(_reduce_with_ring(strips.T, 1 << level).T))
    sizes = [level.size for level in levels]
    return MaxPyramid(
        tops=np.concatenate([level.ravel() for level in levels]),
        offsets=np.cumsum([0, *sizes[:-1]], dtype=np.int64),
        widths=np.array([level.shape[1] for level in levels], np.int64),
        highest=float(np.nanmax(elevation)),
    )


def _cell_tops(posts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Highest of the four posts of each cell; a void post (NaN, which np.maximum passes on) sinks the cell."""
    pairs = np.maximum(posts[:, :-1], posts[:, 1:])
    tops: NDArray[np.float32] = np.maximum(pairs[:-1], pairs[1:])
    tops[np.isnan(tops)] = np.nanmin(posts) - 1.0
    return tops


def _reduce_with_ring(cells: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Highest of each ``size`` consecutive rows and of the one row before and after them."""
    starts = np.arange(0, len(cells), size)
    blocks: NDArray[np.float32] = np.maximum.reduceat(cells, starts, axis=0)
    last_before, first_after = cells[starts[1:] - 1], cells[starts[1:]]
    np.maximum(blocks[1:], last_before, out=blocks[1:])
    np.maximum(blocks[:-1], first_after, out=blocks[:-1])
    return blocks
