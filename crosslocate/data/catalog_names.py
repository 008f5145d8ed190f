"""Are names distinct: found exactly, by sorted hashes, in eight bytes of memory a name."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_TOGETHER = 1 << 17
_FACTOR, _MIX = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD


def hashes(names: pa.Array) -> Hashes:
    """A number of 64 bits for each string, uint64 [n]; equal strings have equal numbers, and others mostly not."""
    found = np.empty(len(names), np.uint64)
    for start in range(0, len(names), _TOGETHER):
        part = names.slice(start, _TOGETHER)
        found[start : start + len(part)] = _hashes(*offsets_and_bytes(part))
    return found


def first_duplicate(numbers: Hashes, names_of: Callable[[NDArray[np.int64]], list[str]]) -> tuple[int, int] | None:
    """The first row whose name an earlier row has, and that row; None where all names are distinct.

    Args:
        numbers: `hashes` of all names.
        names_of: Gives the names of some rows, ascending; asked only for rows whose numbers occur several times.
    """
    ordered = np.sort(numbers)
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(several):
        return None
    rows = np.flatnonzero(np.isin(numbers, several))
    first: dict[str, int] = {}
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        for row, name in zip(some.tolist(), names_of(some), strict=True):
            if first.setdefault(name, row) != row:
                return row, first[name]
    return None


def offsets_and_bytes(names: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Where each string begins and the last ends, int32 [n + 1], and the bytes that these are places in."""
    _, places, content = names.buffers()
    offsets = np.frombuffer(places, np.int32)[names.offset : names.offset + len(names) + 1]
    return offsets, np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)


def _hashes(offsets: NDArray[np.int32], content: NDArray[np.uint8]) -> Hashes:
    begin = int(offsets[0])
    ends = (offsets - begin).astype(np.int64)
    lengths = np.diff(ends)
    place = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _FACTOR, np.uint64))
    terms = (content[begin : begin + ends[-1]].astype(np.uint64) + 1) * powers[place]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    mixed = (sums[ends[1:]] - sums[ends[:-1]]) * np.uint64(_MIX)
    return mixed ^ (mixed >> np.uint64(32))
