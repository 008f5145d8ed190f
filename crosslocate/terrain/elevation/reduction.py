"""Compiled passes over posts that make coarser levels of detail and the tops of blocks of cells.

Rows are read in order and nothing of the size of the posts is allocated, so mapped posts need no memory of their own.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Posts = NDArray[np.float32]

_compiled = numba.njit(cache=True, nogil=True)


@_compiled
def halve(fine: Posts, coarse: Posts, first: int, end: int) -> None:
    """Fill rows ``first`` to below ``end`` of the coarser level of detail: every second row and column of the finer.

    A coarser post is the mean of the finer posts around it with weights 1 2 1 along rows and columns; voids (NaN) do
    not count, and it is void only where all of them are.
    """
    rows, columns = fine.shape
    two, zero, one = np.float32(2), np.float32(0), np.float32(1)
    total, weight = np.zeros(columns + 2, np.float32), np.zeros(columns + 2, np.float32)
    for i in range(first, end):
        total[:] = zero
        weight[:] = zero
        for k in range(-1, 2):
            row = 2 * i + k
            if 0 <= row < rows:
                share = one if k else two
                for j in range(columns):
                    value = fine[row, j]
                    if np.isfinite(value):
                        total[j + 1] += share * value
                        weight[j + 1] += share
        for j in range(coarse.shape[1]):
            found = (total[2 * j] + two * total[2 * j + 1]) + total[2 * j + 2]
            counted = (weight[2 * j] + two * weight[2 * j + 1]) + weight[2 * j + 2]
            coarse[i, j] = found / counted if counted > zero else np.float32(np.nan)


@_compiled
def block_tops(posts: Posts, size: int, tops: Posts, first: int, end: int) -> None:
    """Fill the highest post of every block of ``size`` squared cells and of the ring of cells around it.

    Only rows of blocks from ``first`` to below ``end`` are filled. A cell with a void post (NaN) counts as lower than
    everything.
    """
    rows, columns = posts.shape[0] - 1, posts.shape[1] - 1
    lowest = np.float32(-np.inf)
    highest = np.empty(columns, np.float32)
    for bi in range(first, end):
        highest[:] = lowest
        for i in range(max(bi * size - 1, 0), min((bi + 1) * size + 1, rows)):
            above, below = posts[i], posts[i + 1]
            for j in range(columns):
                pair = max(above[j], below[j])
                cell = max(pair, max(above[j + 1], below[j + 1]))
                sound = not np.isnan(above[j] + below[j] + above[j + 1] + below[j + 1])
                if sound and cell > highest[j]:
                    highest[j] = cell
        for bj in range(tops.shape[1]):
            top = lowest
            for j in range(max(bj * size - 1, 0), min((bj + 1) * size + 1, columns)):
                top = max(top, highest[j])
            tops[bi, bj] = top
