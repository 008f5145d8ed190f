"""A file of rows of equal size that several processes fill: read through a map, written by system calls.

A write through a map kills the process when the disk turns out to be full; a system call gives an error.
"""

import errno
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import StoreError

_NO_RESERVATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What file systems say that cannot reserve space."""


class RowFile:
    """Rows of one file.

    Args:
        path: An existing file of the right size.
        dtype: Of the numbers.
        shape: Of all rows: (rows,) or (rows, size).
        writable: Whether rows can be written.

    Attributes:
        rows: Memory map of the file, to read.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...], *, writable: bool) -> None:
        self.path = path
        self.rows: np.memmap[Any, np.dtype[Any]] = np.memmap(path, dtype, "r", shape=shape)
        self._row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * self.rows.itemsize
        self._file: int | None = None
        if writable:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._file)

    def write(self, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Write the values [n, ...] of rows [n], not empty; those that follow each other at once.

        Raises:
            StoreError: The file is open for reading only, or cannot take them: the disk is full, for example.
        """
        if self._file is None:
            raise StoreError(f"{self.path.parent} was opened for reading only")
        data = np.ascontiguousarray(values, self.rows.dtype).reshape(-1).view(np.uint8).data
        starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1).tolist()
        with self._explained():
            for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
                part = data[start * self._row_bytes : end * self._row_bytes]
                _write_all(self._file, part, int(rows[start]) * self._row_bytes)

    def flush(self) -> None:
        """Have what was written reach the disk, so that processes on other machines see it.

        Raises:
            StoreError: It cannot; network disks may say only now that they are full.
        """
        if self._file is not None:
            with self._explained():
                os.fsync(self._file)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror}); what was written before is kept. Make room, or "
                "repair the disk, and start the same again"
            ) from error


def reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` zero bytes that has its place on the disk already.

    A file system that cannot reserve space is asked how much is free instead.

    Raises:
        OSError: There is not enough.
    """
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in _NO_RESERVATION:
                raise
            system = os.fstatvfs(file.fileno())
            if system.f_bavail * system.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            file.truncate(size)


def _write_all(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
