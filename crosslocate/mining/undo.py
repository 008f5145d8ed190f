"""What rows of an array held before they were overwritten, in a file for every round that did so."""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import StoreError, UnwritableError
from crosslocate.mining.descriptors import Rows

SUFFIX, DRAFT = ".npz", ".part"
DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, BadZipFile, zlib.error, struct.error)
"""What reading a damaged archive may raise."""


class UndoLog:
    """A folder with a file for every round: the rows that it overwrote, and what they held before.

    A file is there as a whole, and on the disk, or not at all.

    Args:
        folder: Made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def rounds(self) -> list[int]:
        """Rounds that there is a file of, ascending."""
        return sorted(int(path.stem) for path in self._folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())

    def write(self, index: int, rows: Rows, *before: NDArray[Any]) -> None:
        """Keep what ``rows`` held before round ``index``.

        Raises:
            UnwritableError: The disk is full, or the folder cannot be written.
        """
        path = self._path(index)
        draft = path.with_suffix(DRAFT)
        try:
            with draft.open("wb") as file:
                np.savez(file, rows, *before, count=np.int64(1 + len(before)))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _sync(self._folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise UnwritableError(f"{path} cannot be written ({error.strerror or error}); make room") from error

    def read(self, index: int) -> tuple[NDArray[Any], ...]:
        """What was given to `write`: the rows, and what they held.

        Raises:
            StoreError: The file is missing or damaged.
        """
        path = self._path(index)
        try:
            with np.load(path) as content:
                # a damaged directory may lack members: their number is one of them
                return tuple(content[f"arr_{k}"] for k in range(int(content["count"])))
        except DAMAGE as error:
            raise StoreError(f"{path} cannot be read: {error}") from error

    def forget(self, *rounds: int) -> None:
        """Remove the files of some rounds; those that there are none of are passed over."""
        for index in rounds:
            self._path(index).unlink(missing_ok=True)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:08d}{SUFFIX}"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
