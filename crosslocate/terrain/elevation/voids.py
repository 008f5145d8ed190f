"""Voids filled from the posts around them."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Posts = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STRIP = 1 << 21
"""Posts of a strip of rows, about."""


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
