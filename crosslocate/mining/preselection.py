"""Which of a query's sampled views can be among the nearest: distances in float32, and a bound on their rounding.

The distances only leave out what cannot matter; whoever decides computes those of the rest exactly. Two ways to get
them: one matrix product of all queries with the whole database, which pays when samples are a good part of it, or the
sampled rows of each query one by one, whose cost does not depend on the size of the database.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.mining.gathers import squared_sums
from crosslocate.mining.plan import NO_VIEW

UNIT_ROUNDOFF = 2.0**-24
"""Of float32."""
DATABASE_BLOCK = 8192
"""Database rows that are centred, or widened from half precision, at once."""
ORIGIN_ROWS = 4096
"""Database rows whose mean becomes the origin of the matrix product."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class Approximate(NamedTuple):
    """Squared distances in float32, and how far they may be off.

    Attributes:
        values: Shape [q, c]; infinite where there is no candidate.
        relative: Bound on the error as a share of the distance.
        absolute: Bound on the error of every query [q], added to it.
    """

    values: Floats
    relative: float
    absolute: NDArray[np.float64]


def whole_distances(queries: Floats, database: NDArray[np.floating]) -> Approximate:
    """Squared distances of queries [q, D] to all of a database [n, D], by one matrix product.

    ``|q|^2 + |d|^2 - 2 q.d``, seen from a point amid the database, is off by at most (D + 16) u (|q| + |d|)^2: sums of
    D products by D u (Higham 2002, 3.1) whatever their order, the centring and the rest by a few u.
    """
    sample = np.linspace(0, len(database) - 1, min(len(database), ORIGIN_ROWS)).astype(np.int64)
    origin = np.asarray(database[sample], np.float32).mean(axis=0)
    centred = queries - origin
    norms = np.einsum("ij,ij->i", centred, centred)
    values = np.empty((len(queries), len(database)), np.float32)
    buffer = np.empty((min(len(database), DATABASE_BLOCK), queries.shape[1]), np.float32)
    longest = 0.0
    for start in range(0, len(database), DATABASE_BLOCK):
        part = database[start : start + DATABASE_BLOCK]
        block = np.subtract(part, origin, out=buffer[: len(part)])
        squares = np.einsum("ij,ij->i", block, block)
        longest = max(longest, float(squares.max(initial=0.0)))
        products = centred @ block.T
        products *= -2.0
        products += squares
        products += norms[:, None]
        values[:, start : start + len(part)] = products
    reach = np.sqrt(norms.astype(np.float64)) + np.sqrt(longest)
    return Approximate(values, 0.0, (queries.shape[1] + 16) * UNIT_ROUNDOFF * np.square(reach))


def of_samples(whole: Approximate, owners: NDArray[np.int64], samples: Ints) -> Approximate:
    """Some distances of a whole table.

    Args:
        whole: Distances to all of the database.
        owners: Row of the table for every sample [q].
        samples: Database positions [q, c], -1 for none.
    """
    values = np.empty(samples.shape, np.float32)
    _take(whole.values, owners, samples, values)
    return Approximate(values, whole.relative, whole.absolute[owners])


def sample_distances(queries: Floats, database: NDArray[np.floating], samples: Ints) -> Approximate:
    """Squared distances of queries [q, D] to samples of their own, as database positions [q, c], -1 for none.

    Squared differences of D numbers are summed, each step with a rounding: off by a share of (D + 3) u at most.
    """
    values = squared_sums(queries, database, samples)
    return Approximate(values, (queries.shape[1] + 8) * UNIT_ROUNDOFF, np.zeros(len(queries)))


def preselect(distances: Approximate, width: int) -> NDArray[np.int64]:
    """Columns [q, w] that hold the ``width`` nearest candidates of every query, ties included, whatever the rounding.

    In ascending order of columns; -1 fills up.
    """
    columns = np.full(distances.values.shape, NO_VIEW, np.int32)
    # A distance below the limit on one side of the rounding may be the limit on the other: twice the error
    counts = _keep(distances.values, width, 2.5 * distances.relative, 2.0 * distances.absolute, columns)
    return columns[:, : int(counts.max(initial=0))].astype(np.int64)


@njit(nogil=True, cache=True)
def _take(table, owners, samples, values) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    for query in range(samples.shape[0]):
        row = table[owners[query]]
        for column in range(samples.shape[1]):
            position = samples[query, column]
            values[query, column] = row[position] if position >= 0 else np.float32(np.inf)


@njit(nogil=True, cache=True)
def _keep(values, width, relative, absolute, columns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill in the columns of the values up to the ``width``-th smallest plus its error; how many of each query."""
    counts = np.zeros(values.shape[0], np.int64)
    heap = np.empty(width, np.float32)  # the smallest values so far, the largest of them first
    for query in range(values.shape[0]):
        held = 0
        for column in range(values.shape[1]):
            value = values[query, column]
            if not np.isfinite(value):
                continue
            if held < width:
                child = held
                held += 1
                while child > 0 and heap[(child - 1) // 2] < value:
                    heap[child] = heap[(child - 1) // 2]
                    child = (child - 1) // 2
                heap[child] = value
            elif value < heap[0]:
                hole = 0
                while 2 * hole + 1 < held:
                    child = 2 * hole + 1
                    if child + 1 < held and heap[child + 1] > heap[child]:
                        child += 1
                    if heap[child] <= value:
                        break
                    heap[hole] = heap[child]
                    hole = child
                heap[hole] = value
        limit = np.inf
        if held == width:
            limit = max(np.float64(heap[0]), 0.0) * (1.0 + relative) + absolute[query]
        for column in range(values.shape[1]):
            if np.isfinite(values[query, column]) and values[query, column] <= limit:
                columns[query, counts[query]] = column
                counts[query] += 1
    return counts
