"""Squared Euclidean distances of chosen pairs, in one fixed order of operations."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.retrieval.blocks import is_mapped, take

GATHERED_BYTES = 1 << 26
"""Rows of a large mapped or half-precision database are gathered, as float32, in pieces of at most so many bytes."""


def squared_distances(
    queries: NDArray[np.float32], database: NDArray[np.floating], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared distance of every query to its own list of database rows.

    Differences are taken and summed in float64, in an order that depends on nothing but the length of a descriptor:
    equal descriptors give equal distances wherever they stand, on any number of threads.

    Args:
        queries: Descriptors [q, D].
        database: Descriptors [n, D], float32 or float16, may be a memory map.
        rows: Database rows [q, c].

    Returns:
        Squared distances [q, c].
    """
    out = np.empty(rows.shape, np.float64)
    queries = np.ascontiguousarray(queries, np.float32)
    if database.dtype == np.float32 and not (is_mapped(database) and database.nbytes > GATHERED_BYTES):
        _pairs(queries, np.asarray(database), rows, out)
        return out
    step = max(1, GATHERED_BYTES // max(1, 4 * rows.shape[1] * queries.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        wanted, places = np.unique(rows[part], return_inverse=True)
        gathered = np.asarray(take(database, wanted), np.float32)
        _pairs(queries[part], gathered, places.reshape(rows[part].shape), out[part])
    return out


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _pairs(queries, database, rows, out) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    for query in range(rows.shape[0]):
        for candidate in range(rows.shape[1]):
            row = rows[query, candidate]
            total = 0.0
            for d in range(queries.shape[1]):
                difference = np.float64(queries[query, d]) - np.float64(database[row, d])
                total += difference * difference
            out[query, candidate] = total
