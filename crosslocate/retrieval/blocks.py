"""Walking over more descriptors than memory should hold: blocks of rows, whose mapped pages are given back."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
TAKEN_ROWS = 512
"""Scattered rows that are read before pages are given back: the kernel may map two MiB for each of them."""


def blocks(database: NDArray[Any], rows: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Consecutive blocks of rows, with the number of their first row.

    Pages of a memory-mapped file count as resident memory of who reads them. After each block they are given back: the
    kernel may still keep them in its cache, but this process holds no more than one block of them. The kernel is told
    beforehand that the file is read in order.

    Args:
        database: Array [n, ...], may be a memory map or a slice of one.
        rows: Rows of a block; the last one may have fewer.

    Yields:
        First row, and a view [<= rows, ...] that is valid (and stays so), but should not be used after the next step.
    """
    _advise(database, "MADV_SEQUENTIAL")
    try:
        for start in range(0, len(database), rows):
            block = database[start : start + rows]
            yield start, block
            give_back(block)
    finally:
        _advise(database, "MADV_NORMAL")


def take(database: NDArray[Any], rows: NDArray[np.integer]) -> NDArray[Any]:
    """Copies of some rows [r, ...], read in ascending order; what was mapped for it is given back.

    Args:
        database: Array [n, ...], may be a memory map.
        rows: Its rows [r], in any order, also repeated.
    """
    if not is_mapped(database):
        return np.asarray(database)[rows]
    _advise(database, "MADV_RANDOM")
    wanted, where = np.unique(rows, return_inverse=True)
    source = np.asarray(database)
    found = np.empty((len(wanted), *source.shape[1:]), source.dtype)
    for start in range(0, len(wanted), TAKEN_ROWS):
        part = slice(start, start + TAKEN_ROWS)
        found[part] = source[wanted[part]]
        give_back(database)
    _advise(database, "MADV_NORMAL")
    return found if np.array_equal(wanted, rows) else found[where]


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether an array is a mapped file, or a part of one, whose pages can be given back."""
    return _mapping(array) is not None


def give_back(part: NDArray[Any]) -> None:
    """Let go of the resident pages of a mapped array, or of a slice of whole rows of it; does nothing for others.

    What the array holds is not changed: the next access reads it from the file again.
    """
    _advise(part, "MADV_DONTNEED")


def _advise(part: NDArray[Any], advice: str) -> None:
    mapped = _mapping(part)
    if mapped is None or not part.size or not part.flags.c_contiguous or not hasattr(mmap, advice):
        return
    whole = np.frombuffer(mapped, np.uint8)
    first = part.ctypes.data - whole.ctypes.data
    last = first + part.nbytes
    first -= first % PAGE
    if last < len(whole):  # what lies behind belongs to the next block
        last -= last % PAGE
    if last > first:
        mapped.madvise(getattr(mmap, advice), first, last - first)


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file behind an array; None where there is none, or where pages hold changes that the file lacks."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
