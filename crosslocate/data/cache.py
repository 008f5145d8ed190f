"""A cache of decoded images: one memory-mapped array on disk, filled on first touch by any number of processes."""

import logging
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


class ImageCache:
    """Decoded images of one modality, ``images`` [rows, H, W(, 3)], and a flag per row that says whether it is there.

    Two sparse files: ``<path>.images`` and ``<path>.flags``. Every process may create them (extending a file to its
    size destroys nothing) and fill rows: all write the same bytes, and the flag follows the data. Rows are written by
    system calls, not through the map, so that a full disk is an error instead of a killed process; from then on rows
    that are not in the cache are simply not added. The folder must be on a disk of this machine.

    Args:
        path: Path without suffix; must name everything that the bytes depend on.
        rows: Number of images.
        shape: Shape of one image.
        dtype: Type of a pixel.
    """

    def __init__(self, path: Path, rows: int, shape: tuple[int, ...], dtype: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._full = False
        self._image_file, self.images = _map(path.with_name(path.name + ".images"), (rows, *shape), self.dtype)
        self._flag_file, self.flags = _map(path.with_name(path.name + ".flags"), (rows,), np.dtype(np.uint8))
        for file in (self._image_file, self._flag_file):
            weakref.finalize(self, os.close, file)

    def missing(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the rows that are not cached yet, ascending, each once."""
        return np.unique(rows[self.flags[rows] == 0])

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy of the given rows, [n, H, W(, 3)]; they must be cached."""
        return self.images[rows]

    def write(self, row: int, image: NDArray[Any]) -> bool:
        """Add one image; False when the disk is full and the image was not kept."""
        data = np.ascontiguousarray(image, self.dtype)
        if data.shape != self.shape:
            raise ValueError(f"image {row} has shape {data.shape}; the cache holds {self.shape}")
        if not self._full:
            try:
                _write_all(self._image_file, data.tobytes(), row * data.nbytes)
                _write_all(self._flag_file, b"\x01", row)
            except OSError as error:
                self._full = True
                logger.warning("image cache %s: %s; going on without adding to it", self.path, error.strerror)
        return not self._full


def _map(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, NDArray[Any]]:
    """Open a file for writing, extend it to its full size, and map it read-only."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if os.fstat(file).st_size < size:
        os.ftruncate(file, size)
    if not size:
        return file, np.empty(shape, dtype)
    return file, np.memmap(path, dtype, "r", shape=shape).view(np.ndarray)


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
