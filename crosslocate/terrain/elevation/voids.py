"""Voids filled from other elevation models, or from the posts around them."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.elevation.dem import Dem, interpolate, row_blocks
from crosslocate.terrain.elevation.grid import Placed
from crosslocate.terrain.elevation.plan import NEAR

Posts = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STRIP = 1 << 21
"""Posts of a strip of rows, about."""


def borrowed(grid: Placed, column: Integers, row: Integers, others: Sequence[tuple[Placed, Posts]]) -> Floats:
    """Bilinear elevations of other models at posts of one, ``[n]``: of the first that has any; NaN where none has.

    Args:
        grid: Where the posts lie.
        column: Their columns, ``[n]``.
        row: Their rows, ``[n]``.
        others: Where the posts of the others lie, and these.
    """
    lon, lat = grid.position_of(column, row)
    values = np.full(len(row), np.nan)
    for other, posts in others:
        open_ = np.flatnonzero(np.isnan(values))
        if len(open_):
            values[open_] = _sampled(other, posts, lon[open_], lat[open_])
    return values


def fill_from_coarser(dems: Sequence[Dem], views: Sequence[Posts]) -> None:
    """Fill voids of models, finest first, in place, from the coarser ones: the nearest in the list that has any.

    Args:
        dems: The models.
        views: Their posts, which are changed.
    """
    for k in reversed(range(len(dems) - 1)):
        others = list(zip(dems[k + 1 :], views[k + 1 :], strict=True))
        top = 0
        for block in row_blocks(views[k]):
            row, column = np.nonzero(np.isnan(block))
            if len(row):
                block[row, column] = borrowed(dems[k], column, row + top, others)
            top += len(block)


def _sampled(grid: Placed, posts: Posts, lon: Floats, lat: Floats) -> Floats:
    """Bilinear elevations of another layer; positions within rounding of its border are on it."""
    column, row = grid.pixel_of(lon, lat)
    for values, last in ((column, posts.shape[1] - 1), (row, posts.shape[0] - 1)):
        values[(values < 0) & (values > -NEAR)] = 0.0
        values[(values > last) & (values < last + NEAR)] = last
    return interpolate(posts, column, row)


def fill_from_neighbours(posts: Posts, across: float, spacing: tuple[float, float], strip: int = STRIP) -> int:
    """Fill voids (NaN) that are not too wide, in place; returns how many posts were filled.

    A void post gets the straight line between the nearest known posts on either side of it along its row, where these
    are at most ``across`` metres apart, and the same along its column; where there are both, their mean with weights of
    1 / length. Nothing is continued beyond known posts. Only posts that were known before count as known.

    Args:
        posts: Elevations [rows, columns]; may be mapped from a file: it is worked on in strips of rows.
        across: Metres.
        spacing: Metres between columns and between rows.
        strip: Posts of a strip, about; the result does not depend on it.
    """
    reach_across, reach_down = (int(np.floor(across / metres + 1e-9)) for metres in spacing)
    if max(reach_across, reach_down) < 2:  # the ends of a line with a void in it are two posts apart
        return 0
    rows, columns = posts.shape
    step, filled = max(strip // columns, 1), 0
    waiting: deque[tuple[int, Integers, Posts]] = deque()  # what is found is written when no strip looks there any more
    for top in range(0, rows, step):
        while waiting and waiting[0][0] <= top - reach_down:
            _write(posts, *waiting.popleft()[1:])
        bottom = min(top + step, rows)
        where, values = _found(posts, (top, bottom), (reach_across, reach_down), spacing, strip)
        if len(where):
            waiting.append((bottom, where, values))
            filled += len(where)
    for _, where, values in waiting:
        _write(posts, where, values)
    return filled


def _write(posts: Posts, where: Integers, values: Posts) -> None:
    posts[where[:, 0], where[:, 1]] = values


def _found(
    posts: Posts, span: tuple[int, int], reach: tuple[int, int], spacing: tuple[float, float], most: int
) -> tuple[Integers, Posts]:
    """Row and column [n, 2] of the voids from the first to below the second row that have a value, and the values."""
    top, bottom = span
    void = np.isnan(posts[top:bottom])
    rows, columns = np.flatnonzero(void.any(1)), np.flatnonzero(void.any(0))
    total, weight = np.zeros(void.shape), np.zeros(void.shape)
    if len(rows):
        values, shares = _along_rows(posts[top:bottom][rows], reach[0], spacing[0])
        total[rows], weight[rows] = shares * values, shares
    first, last = max(top - reach[1], 0), min(bottom + reach[1], len(posts))
    width = max(most // (last - first), 1)
    for start in range(0, len(columns), width):
        some = columns[start : start + width]
        values, shares = _along_rows(np.ascontiguousarray(posts[first:last, some].T), reach[1], spacing[1])
        inner = slice(top - first, bottom - first)
        total[:, some] += (shares * values).T[inner]
        weight[:, some] += shares.T[inner]
    i, j = np.nonzero(void & (weight > 0))
    return np.stack([i + top, j], axis=1), (total[i, j] / weight[i, j]).astype(np.float32)


def _along_rows(posts: Posts, reach: int, spacing: float) -> tuple[Floats, Floats]:
    """For every void the value on the line between the known posts of its row beside it, and 1 / length of that line.

    Both are 0 where a known post is missing, the line is longer than ``reach`` posts, and at posts that are no voids.
    """
    count = posts.shape[1]
    void, index = np.isnan(posts), np.arange(count)
    before = np.maximum.accumulate(np.where(void, -1, index), axis=1)
    after = np.minimum.accumulate(np.where(void, count, index)[:, ::-1], axis=1)[:, ::-1]
    good = void & (before >= 0) & (after < count) & (after - before <= reach)
    i, j = np.nonzero(good)
    first, last = before[i, j], after[i, j]
    low, high = posts[i, first].astype(np.float64), posts[i, last].astype(np.float64)
    values, shares = np.zeros(posts.shape), np.zeros(posts.shape)
    values[i, j] = low + (high - low) * (j - first) / (last - first)
    shares[i, j] = 1.0 / ((last - first) * spacing)
    return values, shares
