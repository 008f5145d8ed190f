"""Descriptors on disk: one memory-mapped matrix that several processes fill, and a map of the rows they have filled."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.errors import StoreError

FORMAT = 1
DTYPES = ("float32", "float16")
HEADER, DESCRIPTORS, COVERAGE = "header.json", "descriptors.bin", "coverage.bin"
NAMED_ROWS = 5
"""How many missing rows an error message names."""


@dataclass(frozen=True)
class StoreHeader:
    """What a store holds: ``rows`` x ``size`` numbers of ``dtype``, made from what ``fingerprint`` identifies."""

    rows: int
    size: int
    dtype: str = "float32"
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.rows < 1 or self.size < 1:
            raise StoreError(f"a descriptor store of {self.rows} rows of {self.size} numbers; both must be at least 1")
        if self.dtype not in DTYPES:
            raise StoreError(f"descriptor dtype {self.dtype!r} is not supported; allowed: {', '.join(DTYPES)}")


class DescriptorStore:
    """A folder with a [rows, size] matrix (raw, C order), one coverage byte per row, and a JSON header.

    Processes write disjoint or overlapping rows without locks: a row's coverage byte is set after its numbers. The
    space is reserved when the store is created, so that a full disk is an error then and not a crash in the middle.
    """

    def __init__(self, path: Path, header: StoreHeader, *, writable: bool) -> None:
        self.path, self.header = path, header
        mode: Any = "r+" if writable else "r"
        self._matrix = np.memmap(path / DESCRIPTORS, header.dtype, mode, shape=(header.rows, header.size))
        self._covered = np.memmap(path / COVERAGE, np.uint8, mode, shape=(header.rows,))

    @classmethod
    def create(
        cls,
        path: str | Path,
        rows: int,
        size: int,
        dtype: str = "float32",
        fingerprint: str = "",
        *,
        exist_ok: bool = False,
    ) -> "DescriptorStore":
        """Create an empty store for writing; it appears under ``path`` complete or not at all.

        Args:
            path: Folder of the store.
            rows: Number of descriptors.
            size: Numbers in one descriptor.
            dtype: float32 or float16.
            fingerprint: Identifies the catalog and the weights; checked by :meth:`open`.
            exist_ok: Take a store that is already there, if it is of the same kind. This is how several processes that
                start together share one: whoever comes first creates it. False replaces what is there.

        Raises:
            StoreError: The disk is full, or the store that is there is of another kind.
        """
        path, header = Path(path), StoreHeader(rows, size, dtype, fingerprint)
        if not exist_ok:
            shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            try:
                _lay_out(draft, header)
                _publish(draft, path)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        store = cls(path, _read_header(path), writable=True)
        if store.header != header:
            raise StoreError(f"{path} holds {store.header}, which is not {header}; delete it or choose another folder")
        return store

    @classmethod
    def open(
        cls, path: str | Path, expect_fingerprint: str | None = None, *, writable: bool = False
    ) -> "DescriptorStore":
        """Open a store, by default for reading.

        Raises:
            StoreError: No store there, damaged files, or a fingerprint other than ``expect_fingerprint``.
        """
        path = Path(path)
        header = _read_header(path)
        if expect_fingerprint is not None and header.fingerprint != expect_fingerprint:
            raise StoreError(
                f"{path} was made with fingerprint {header.fingerprint!r}, not {expect_fingerprint!r}: "
                "other images, another catalog or other weights; extract the descriptors again"
            )
        return cls(path, header, writable=writable)

    def __len__(self) -> int:
        return self.header.rows

    @property
    def size(self) -> int:
        """Numbers in one descriptor."""
        return self.header.size

    @property
    def descriptors(self) -> NDArray[Any]:
        """The memory-mapped matrix [rows, size]; rows that were not written are zero."""
        return self._matrix

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which rows have been written, bool [rows], as of now."""
        return self._covered.astype(bool)

    def write(self, positions: ArrayLike, descriptors: ArrayLike) -> None:
        """Write descriptors [n, size] of the rows ``positions`` [n].

        Raises:
            StoreError: Shapes that do not fit, a row outside the store, or a descriptor that is not finite in the
                store's dtype.
        """
        rows = np.asarray(positions, np.int64)
        if rows.size == 0:
            return
        values = self._validated(rows, np.asarray(descriptors))
        self._matrix[rows] = values
        self._covered[rows] = 1

    def missing(self, limit: int | None = None) -> NDArray[np.int64]:
        """Rows that have not been written, ascending; at most ``limit`` of them."""
        return np.flatnonzero(self._covered == 0)[:limit]

    def require_complete(self, name: Callable[[int], str] | None = None) -> None:
        """Check that every row has been written.

        Args:
            name: Gives the name of a row for the message, for example ``catalog.name``.

        Raises:
            StoreError: Names the first missing rows and says how many are missing.
        """
        missing = self.missing()
        if len(missing):
            some = [f"{row} ({name(row)})" if name else str(row) for row in missing[:NAMED_ROWS].tolist()]
            more = ", ..." if len(missing) > NAMED_ROWS else ""
            raise StoreError(
                f"{self.path} lacks {len(missing)} of {len(self)} descriptors: rows {', '.join(some)}{more}"
            )

    def flush(self) -> None:
        """Hand what was written to the file system, so that processes on other machines see it."""
        self._matrix.flush()
        self._covered.flush()

    def _validated(self, rows: NDArray[np.int64], descriptors: NDArray[Any]) -> NDArray[Any]:
        if rows.ndim != 1 or descriptors.shape != (len(rows), self.size):
            raise StoreError(
                f"descriptors of shape {descriptors.shape} for rows of shape {rows.shape} do not fit {self.path}: "
                f"expected ({rows.size}, {self.size})"
            )
        if rows.min() < 0 or rows.max() >= len(self):
            bad = int(rows[(rows < 0) | (rows >= len(self))][0])
            raise StoreError(f"row {bad} is outside {self.path}, which has {len(self)} rows")
        with np.errstate(over="ignore"):
            values = descriptors.astype(self.header.dtype, copy=False)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise StoreError(
                f"the descriptor of row {int(rows[~finite][0])} is not finite as {self.header.dtype} "
                f"({int((~finite).sum())} of {len(rows)} in this batch); did the training diverge?"
            )
        return values


def _lay_out(folder: Path, header: StoreHeader) -> None:
    folder.mkdir(parents=True)
    row_bytes = header.size * np.dtype(header.dtype).itemsize
    try:
        for name, size in ((DESCRIPTORS, header.rows * row_bytes), (COVERAGE, header.rows)):
            with (folder / name).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        free = shutil.disk_usage(folder).free / 2**30
        need = header.rows * (row_bytes + 1) / 2**30
        raise StoreError(
            f"no room for {need:.2f} GiB of descriptors in {folder.parent} ({free:.2f} GiB free): {error}"
        ) from error
    (folder / HEADER).write_text(json.dumps({"format": FORMAT, **asdict(header)}, indent=1))


def _publish(draft: Path, path: Path) -> None:
    try:
        draft.rename(path)
    except OSError:
        if not (path / HEADER).is_file():  # otherwise another process was first, with an equally empty store
            raise


def _read_header(path: Path) -> StoreHeader:
    try:
        fields = json.loads((path / HEADER).read_text())
        version = fields.pop("format", None)
        if version != FORMAT:
            raise StoreError(f"{path / HEADER} has format {version!r}; this version reads format {FORMAT}")
        header = StoreHeader(**fields)
    except FileNotFoundError as error:
        raise StoreError(f"no descriptor store in {path}: {HEADER} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path / HEADER} cannot be read: {error}") from error
    row_bytes = header.size * np.dtype(header.dtype).itemsize
    for name, size in ((DESCRIPTORS, header.rows * row_bytes), (COVERAGE, header.rows)):
        found = (path / name).stat().st_size if (path / name).is_file() else 0
        if found != size:
            raise StoreError(f"{path / name} has {found} bytes where {size} are expected; the store is damaged")
    return header
