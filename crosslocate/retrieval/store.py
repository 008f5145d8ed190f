"""Descriptors on disk: one memory-mapped matrix that several processes fill, and a map of the rows they have filled."""

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.console import track
from crosslocate.errors import StoreError
from crosslocate.retrieval.blocks import blocks, give_back
from crosslocate.retrieval.row_file import RowFile
from crosslocate.retrieval.store_header import StoreHeader
from crosslocate.retrieval.store_layout import make_store, parts, read_layout

COVERED = 0xA5
"""Coverage byte of a row that has been written; 0 of one that has not. One flipped bit makes neither the other."""
NAMED_ROWS = 5
"""How many missing or damaged rows an error message names."""
TOGETHER = 1 << 26
"""Bytes of descriptors that are looked at at once."""

Rows = NDArray[np.int64]


class DescriptorStore:
    """A folder with a [rows, size] matrix (raw, C order), a coverage byte and a checksum per row, and a JSON header.

    Processes write disjoint or overlapping rows without locks: of a row, first its numbers are written, then its
    checksum, and last its coverage byte. So a process that is killed leaves it covered and right, or not covered. The
    space is reserved when the store is created, so that a full disk is an error then and not days later.
    """

    def __init__(self, path: Path, header: StoreHeader, *, writable: bool) -> None:
        self.path, self.header = path, header
        self._values, self._checksums, self._coverage = (
            RowFile(path / name, dtype, shape, writable=writable) for name, dtype, shape in parts(header)
        )

    @classmethod
    def create(
        cls,
        path: str | Path,
        rows: int,
        size: int,
        dtype: str = "float32",
        fingerprint: str = "",
        *,
        batch: int = 0,
        exist_ok: bool = False,
    ) -> "DescriptorStore":
        """Create an empty store for writing; it appears under ``path`` complete or not at all.

        Args:
            path: Folder of the store.
            rows: Number of descriptors.
            size: Numbers in one descriptor.
            dtype: float32 or float16.
            fingerprint: Identifies the catalog and the weights; checked by :meth:`open`.
            batch: Rows that will be embedded together, see `StoreHeader`.
            exist_ok: Take a store that is already there, if it is of the same kind. This is how several processes that
                start together share one: whoever comes first creates it. False replaces what is there.

        Raises:
            StoreError: The disk is full, or the store that is there is of another kind.
        """
        path, header = Path(path), StoreHeader(rows, size, dtype, fingerprint, batch)
        if not exist_ok:
            shutil.rmtree(path, ignore_errors=True)
        make_store(path, header)
        store = cls(path, read_layout(path), writable=True)
        if store.header != header:
            raise StoreError(f"{path} holds {store.header}, which is not {header}; delete it or choose another folder")
        return store

    @classmethod
    def open(
        cls,
        path: str | Path,
        expect_fingerprint: str | None = None,
        *,
        writable: bool = False,
        verify: bool = False,
    ) -> "DescriptorStore":
        """Open a store, by default for reading.

        Args:
            path: Folder of the store.
            expect_fingerprint: Refuse a store that was made from anything else.
            writable: Whether rows can be written.
            verify: Compare every row with its checksum; takes about a second for a gigabyte.

        Raises:
            StoreError: No store there, damaged files, or a fingerprint other than ``expect_fingerprint``.
        """
        path = Path(path)
        header = read_layout(path)
        if expect_fingerprint is not None and header.fingerprint != expect_fingerprint:
            raise StoreError(
                f"{path} was made with fingerprint {header.fingerprint!r}, not {expect_fingerprint!r}: other views or "
                "images, other weights, another precision, or another version; use what it was made with, remove it "
                "and extract the descriptors again, or choose another folder"
            )
        store = cls(path, header, writable=writable)
        if verify:
            store.verify()
        return store

    def __len__(self) -> int:
        return self.header.rows

    @property
    def size(self) -> int:
        """Numbers in one descriptor."""
        return self.header.size

    @property
    def descriptors(self) -> NDArray[Any]:
        """The memory-mapped matrix [rows, size], to read; rows that were not written mean nothing."""
        return self._values.rows

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which rows have been written, bool [rows], as of now."""
        return np.asarray(self._coverage.rows) == COVERED

    def write(self, positions: ArrayLike, descriptors: ArrayLike) -> None:
        """Write descriptors [n, size] of the rows ``positions`` [n]; what is there already stays as it is.

        Raises:
            StoreError: Shapes that do not fit, a row outside the store, a descriptor that is not finite in the store's
                dtype, a store that was opened for reading, or a disk that takes no more.
        """
        rows = np.asarray(positions, np.int64)
        if rows.size == 0:
            return
        values = self._validated(rows, np.asarray(descriptors))
        checksums = _checksums(rows, values)
        rows, values, checksums = self._news(rows, values, checksums)
        if len(rows):
            self._values.write(rows, values)
            self._checksums.write(rows, checksums)
            self._coverage.write(rows, np.full(len(rows), COVERED, np.uint8))

    def discard(self, rows: ArrayLike) -> None:
        """Mark rows [n] as not written."""
        chosen = np.asarray(rows, np.int64)
        if len(chosen):
            self._require_rows(chosen)
            self._coverage.write(chosen, np.zeros(len(chosen), np.uint8))

    def missing(self, limit: int | None = None) -> Rows:
        """Rows that have not been written, ascending; at most ``limit`` of them."""
        if limit is None:
            return np.flatnonzero(~self.covered)
        found: list[int] = []
        for start, part in blocks(self._coverage.rows, TOGETHER):
            found += (start + np.flatnonzero(part != COVERED)[: limit - len(found)]).tolist()
            if len(found) >= limit:
                break
        return np.array(found, np.int64)

    def require_complete(self, name: Callable[[int], str] | None = None) -> None:
        """Check that every row has been written.

        Args:
            name: Gives the name of a row for the message, for example ``catalog.name``.

        Raises:
            StoreError: Names the first missing rows and says how many are missing.
        """
        count = len(self) - int(np.count_nonzero(self.covered))
        if count:
            named = _named(self.missing(NAMED_ROWS), count, name)
            raise StoreError(f"{self.path} lacks {count} of {len(self)} descriptors: {named}")

    def damaged(self, rows: ArrayLike | None = None) -> Rows:
        """Rows that are not as they were written, ascending: their numbers, their checksum, or their coverage byte.

        Args:
            rows: Rows [n] to look at; None: all. Of rows that have not been written only the coverage byte is.
        """
        chosen = None if rows is None else np.unique(np.asarray(rows, np.int64))
        if chosen is not None:
            self._require_rows(chosen)
        found = [part[~self._intact(part, values)] for part, values in self._walk(chosen)]
        return np.concatenate([np.empty(0, np.int64), *found])

    def verify(self, rows: ArrayLike | None = None) -> None:
        """Check that rows [n], or all, are as they were written.

        Raises:
            StoreError: Names the first damaged rows and says how many are damaged.
        """
        damaged = self.damaged(rows)
        if len(damaged):
            named = _named(damaged[:NAMED_ROWS], len(damaged), None)
            raise StoreError(
                f"{self.path} is damaged: {len(damaged)} of {len(self)} descriptors do not fit their checksums: "
                f"{named}; extract those again"
            )

    def digest(self) -> str:
        """32 hexadecimal digits that identify the content of a complete store.

        Raises:
            StoreError: Rows are missing.
        """
        self.require_complete()
        digest = hashlib.blake2b(self.header.to_bytes(), digest_size=16)
        for _, part in blocks(self._checksums.rows, TOGETHER // 4):
            digest.update(part.data)
        return digest.hexdigest()

    def flush(self) -> None:
        """Hand what was written to the file system, so that processes on other machines see it."""
        for file in (self._values, self._checksums, self._coverage):
            file.flush()

    def _walk(self, rows: Rows | None) -> Iterator[tuple[Rows, NDArray[Any]]]:
        """Parts of some rows, or of all, with their values; shows how far it is."""
        count = max(1, TOGETHER // self.header.row_bytes)
        total = len(self) if rows is None else len(rows)
        steps, said = -(-total // count), "Comparing checksums"
        if rows is None:
            for start, values in track(blocks(self._values.rows, count), said, steps):
                yield np.arange(start, start + len(values)), values
        else:
            for start in track(range(0, total, count), said, steps):
                part = rows[start : start + count]
                yield part, self._values.rows[part]
                give_back(self._values.rows)

    def _intact(self, rows: Rows, values: NDArray[Any]) -> NDArray[np.bool_]:
        coverage = self._coverage.rows[rows]
        right = _checksums(rows, np.asarray(values)) == self._checksums.rows[rows]
        intact: NDArray[np.bool_] = np.where(coverage == COVERED, right, coverage == 0)
        return intact

    def _news(
        self, rows: Rows, values: NDArray[Any], checksums: NDArray[np.uint32]
    ) -> tuple[Rows, NDArray[Any], NDArray[np.uint32]]:
        """What is not in the store yet; rows that hold something else are no longer covered afterwards.

        Rows that would not change are left alone, so that whoever makes them again hides them from no reader.
        """
        there = np.flatnonzero(self._coverage.rows[rows] != 0)
        if not len(there):
            return rows, values, checksums
        old = rows[there]
        same = self._intact(old, self._values.rows[old]) & (self._checksums.rows[old] == checksums[there])
        same &= (self._values.rows[old] == values[there]).all(axis=1)
        if not same.all():
            self.discard(old[~same])
        keep = np.ones(len(rows), bool)
        keep[there[same]] = False
        return rows[keep], values[keep], checksums[keep]

    def _require_rows(self, rows: Rows) -> None:
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            bad = int(rows[(rows < 0) | (rows >= len(self))][0])
            raise StoreError(f"row {bad} is outside {self.path}, which has {len(self)} rows")

    def _validated(self, rows: Rows, descriptors: NDArray[Any]) -> NDArray[Any]:
        if rows.ndim != 1 or descriptors.shape != (len(rows), self.size):
            raise StoreError(
                f"descriptors of shape {descriptors.shape} for rows of shape {rows.shape} do not fit {self.path}: "
                f"expected ({rows.size}, {self.size})"
            )
        self._require_rows(rows)
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(descriptors, self.header.dtype)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise StoreError(
                f"the descriptor of row {int(rows[~finite][0])} is not finite as {self.header.dtype} "
                f"({int((~finite).sum())} of {len(rows)} in this batch); did the training diverge?"
            )
        return values


def _checksums(rows: Rows, values: NDArray[Any]) -> NDArray[np.uint32]:
    """CRC-32 of each row's bytes, started from its number: a row in another's place does not fit."""
    return np.fromiter(map(zlib.crc32, values, (rows & 0xFFFFFFFF).tolist()), np.uint32, len(rows))


def _named(rows: Rows, count: int, name: Callable[[int], str] | None) -> str:
    some = [f"{row} ({name(row)})" if name else str(row) for row in rows.tolist()]
    return f"rows {', '.join(some)}{', ...' if count > len(some) else ''}"
