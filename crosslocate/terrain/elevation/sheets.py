"""The arrays of a terrain that rays march through: posts at several levels of detail, and the tops of blocks of cells.

A *sheet* is one level of detail of one layer (elevation model) of a terrain. Level l of a layer has the posts at every
2**l-th row and column of its lattice, smoothed so that it is fit to be seen from where a pixel covers about as much
ground as one of its cells. All sheets lie one after the other in one flat array of posts, layer by layer, finest level
first, rows by rows; so one file holds a terrain, and compiled code takes it whole.

For every sheet there is a pyramid of tops: the highest post in every block of 2**k x 2**k cells (a cell lies between
four posts) and of the ring of cells around it, k from 1 to `BLOCK_LEVELS`. These too lie in one flat array.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Posts = NDArray[np.float32]
Integers = NDArray[np.int64]

BLOCK_LEVELS = 6
"""Sizes of blocks: 2 to 64 cells along a side."""

BAND = 1 << 24
"""Posts (64 MiB) that are passed over before they may leave memory."""

FEWEST_POSTS = 8
"""A layer gets no level of detail with fewer rows or columns than that."""


class Sheets(NamedTuple):
    """Where things lie; S sheets, K = `BLOCK_LEVELS`.

    Attributes:
        layer: Number of the layer, [S].
        level: Level of detail, [S]; 0 holds the posts of the elevation model.
        rows: Rows of posts, [S].
        columns: Columns of posts, [S].
        offset: Index of the first post in the flat array, [S].
        top_offset: Index of the first block in the flat array of tops, [S, K], for blocks of 2 ** (k + 1) cells.
        top_columns: Blocks in a row, [S, K].
    """

    layer: Integers
    level: Integers
    rows: Integers
    columns: Integers
    offset: Integers
    top_offset: Integers
    top_columns: Integers

    @property
    def posts(self) -> int:
        """Length of the flat array of posts."""
        return int((self.rows * self.columns).sum())

    @property
    def tops(self) -> int:
        """Length of the flat array of tops."""
        last = blocks(int(self.rows[-1]), BLOCK_LEVELS)
        return int(self.top_offset[-1, -1] + last * self.top_columns[-1, -1])

    def view(self, sheet: int, posts: Posts) -> Posts:
        """The posts of one sheet, [rows, columns], without a copy."""
        rows, columns, first = int(self.rows[sheet]), int(self.columns[sheet]), int(self.offset[sheet])
        return posts[first : first + rows * columns].reshape(rows, columns)


def blocks(posts: int, level: int) -> int:
    """Number of blocks of 2 ** level cells along a side of some posts."""
    return -(-(posts - 1) // (1 << level))


def plan_sheets(shapes: Sequence[tuple[int, int]]) -> Sheets:
    """The sheets of layers whose elevation models have these shapes (rows, columns)."""
    sizes = []
    for layer, (rows, columns) in enumerate(shapes):
        level = 0
        while level == 0 or min(rows, columns) >= FEWEST_POSTS:
            sizes.append((layer, level, rows, columns))
            rows, columns, level = (rows + 1) // 2, (columns + 1) // 2, level + 1
    layers, levels, rows_, columns_ = np.array(sizes, np.int64).T
    counts = np.array([[blocks(r, k + 1) * blocks(c, k + 1) for k in range(BLOCK_LEVELS)] for _, _, r, c in sizes])
    widths = np.array([[blocks(c, k + 1) for k in range(BLOCK_LEVELS)] for _, _, _, c in sizes], np.int64)
    first = np.concatenate([[0], np.cumsum(counts.ravel())[:-1]]).reshape(counts.shape).astype(np.int64)
    posts = rows_ * columns_
    offset = np.concatenate([[0], np.cumsum(posts)[:-1]]).astype(np.int64)
    return Sheets(layers, levels, rows_, columns_, offset, first, widths)


def fill_levels(posts: Posts, sheets: Sheets, release: Callable[[], None] | None = None) -> None:
    """Compute the coarser levels of all layers in place from their level 0; see `reduction.halve`.

    ``release`` is called after every `BAND` of posts: mapped ones need not stay in memory.
    """
    from crosslocate.terrain.elevation.reduction import halve

    for sheet in np.flatnonzero(sheets.level > 0):
        fine, coarse = sheets.view(int(sheet) - 1, posts), sheets.view(int(sheet), posts)
        for first, end in _bands(len(coarse), 2 * fine.shape[1]):
            halve(fine, coarse, first, end)
            if release is not None:
                release()


def fill_tops(posts: Posts, tops: Posts, sheets: Sheets, release: Callable[[], None] | None = None) -> None:
    """Compute the tops of all sheets in place; see `reduction.block_tops`, and `fill_levels` for ``release``."""
    from crosslocate.terrain.elevation.reduction import block_tops

    for sheet in range(len(sheets.layer)):
        for k in range(BLOCK_LEVELS):
            shape = blocks(int(sheets.rows[sheet]), k + 1), int(sheets.top_columns[sheet, k])
            start = int(sheets.top_offset[sheet, k])
            level = tops[start : start + shape[0] * shape[1]].reshape(shape)
            for first, end in _bands(shape[0], (2 << k) * int(sheets.columns[sheet])):
                block_tops(sheets.view(sheet, posts), 2 << k, level, first, end)
                if release is not None:
                    release()


def _bands(rows: int, posts: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that are made of about `BAND` posts together, each row of so many."""
    step = max(BAND // posts, 1)
    return ((first, min(first + step, rows)) for first in range(0, rows, step))
