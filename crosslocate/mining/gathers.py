"""Squared distances of queries to rows of their own, with the database walked once for all of them.

Pairs of query and row are taken in the order of blocks of the database, and within a block by query: a block stays in
the processor's cache while all queries look at it. Rows are asked for some pairs ahead, which is what counts where they
are so many that a block has few pairs.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 20
"""Of float16 descriptors, twice as many of float32: a share of a core's second cache."""
AHEAD = 8
"""Pairs by which rows are fetched ahead."""


def squared_sums(
    queries: NDArray[np.float32], database: NDArray[np.floating], rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Sums of squared differences in float32, in an order of their own.

    Args:
        queries: Descriptors [q, D].
        database: Descriptors [n, D], float32 or float16; may be a memory map.
        rows: Database rows [q, c], -1 for none.

    Returns:
        Shape [q, c]; infinite where there is no row.
    """
    size = max(1, queries.shape[1])
    shift = max(1, BLOCK_BYTES // (2 * size)).bit_length() - 1
    order = np.empty(rows.size, np.int64)
    values = np.full(rows.shape, np.inf, np.float32)
    rows = np.ascontiguousarray(rows)
    count = _by_block(rows.ravel(), shift, (len(database) >> shift) + 1, order)
    _measure(np.ascontiguousarray(queries), _numbers(database), rows, order[:count], AHEAD, values)
    return values


def _numbers(database: NDArray[np.floating]) -> NDArray[Any]:
    """What the loop reads: float16 as its bits, since Numba has no such type."""
    array = np.asarray(database)
    return array.view(np.uint16) if array.dtype == np.float16 else np.asarray(array, np.float32)


def _widened(_context, number):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A float32, or the bits of a float16, as a float32."""

    def widened(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    def unchanged(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        return arguments[0]

    return types.float32(number), (widened if number == types.uint16 else unchanged)


def _fetched(_context, table, _row, _column):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Ask for the cache line of an element of a table, and do not wait."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        element = cgutils.get_item_pointer(
            context, builder, signature.args[0], array, list(arguments[1:]), wraparound=False
        )
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [builder.bitcast(element, byte), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(table, types.intp, types.intp), code


_wide: Any = intrinsic(_widened)
_fetch: Any = intrinsic(_fetched)


@njit(nogil=True, cache=True)
def _by_block(rows, shift, blocks, order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Places of the rows that are there, those of the first block of 2**shift rows first; how many they are."""
    ends = np.zeros(blocks + 1, np.int64)
    for place in range(len(rows)):
        if rows[place] >= 0:
            ends[(rows[place] >> shift) + 1] += 1
    for block in range(blocks):
        ends[block + 1] += ends[block]
    for place in range(len(rows)):
        if rows[place] >= 0:
            block = rows[place] >> shift
            order[ends[block]] = place
            ends[block] += 1
    return ends[blocks]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _measure(queries, database, rows, order, ahead, values) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Fill in the distances of the pairs, four of a query at a time where they follow each other."""
    width, size, line = rows.shape[1], queries.shape[1], 64 // database.itemsize
    count, fetched, k = len(order), 0, 0
    while k < count:
        while fetched < min(count, k + ahead):
            row = rows[order[fetched] // width, order[fetched] % width]
            for d in range(0, size, line):
                _fetch(database, row, d)
            fetched += 1
        query = order[k] // width
        first = query * width
        together = k + 3 < count
        for other in range(k + 1, k + 4):  # at the end of a block another query may come in between
            together = together and first <= order[other] < first + width
        if together:
            a, b, c, e = order[k] - first, order[k + 1] - first, order[k + 2] - first, order[k + 3] - first
            row_a, row_b, row_c, row_e = rows[query, a], rows[query, b], rows[query, c], rows[query, e]
            sum_a, sum_b, sum_c, sum_e = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for d in range(size):
                number = queries[query, d]
                to_a, to_b = number - _wide(database[row_a, d]), number - _wide(database[row_b, d])
                to_c, to_e = number - _wide(database[row_c, d]), number - _wide(database[row_e, d])
                sum_a += to_a * to_a
                sum_b += to_b * to_b
                sum_c += to_c * to_c
                sum_e += to_e * to_e
            values[query, a], values[query, b], values[query, c], values[query, e] = sum_a, sum_b, sum_c, sum_e
            k += 4
        else:
            row, total = rows[query, order[k] - first], np.float32(0.0)
            for d in range(size):
                difference = queries[query, d] - _wide(database[row, d])
                total += difference * difference
            values[query, order[k] - first] = total
            k += 1
