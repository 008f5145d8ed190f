"""Reading many images of a catalog at once, through a cache of decoded images."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.data.cache import ImageCache
from crosslocate.data.catalog import Catalog
from crosslocate.data.images import Image, decode, match_field_of_view, modality, resize
from crosslocate.errors import DataError


class ImageReader:
    """Images of a catalog's rows as arrays of one size.

    A reader can be pickled and forked; each process opens the cache on first use.

    Args:
        catalog: Rows to read.
        modalities: Which images of a row; each once.
        size: (height, width) in pixels of what is returned.
        match_fov: Radians; images of another horizontal field of view are scaled and cropped or padded so that a pixel
            covers the same angle as in a view of this one. None: images are resized whatever their field of view.
        cache: Folder for decoded images (on a disk of this machine); None: every read decodes.

    Raises:
        DataError: When the catalog lacks a modality.
    """

    def __init__(
        self,
        catalog: Catalog,
        modalities: Sequence[str],
        size: tuple[int, int],
        *,
        match_fov: float | None = None,
        cache: Path | None = None,
    ) -> None:
        self.catalog, self.size, self.match_fov = catalog, (int(size[0]), int(size[1])), match_fov
        self.modalities = tuple(dict.fromkeys(modalities))
        for name in self.modalities:
            catalog.template(name)
        self.cache = None if cache is None else Path(cache)
        self._caches: dict[str, ImageCache] = {}

    def read(self, rows: ArrayLike) -> dict[str, NDArray[Any]]:
        """Images of catalog rows by modality, each [n, H, W] or [n, H, W, 3] in the modality's storage type.

        Raises:
            DataError: When an image is missing or cannot be decoded; names its file and row.
        """
        wanted = np.asarray(rows, np.int64)
        return {name: self._read(name, wanted) for name in self.modalities}

    def decode(self, name: str, row: int) -> Image:
        """Decode one image from its file, at the reader's size and in the modality's storage type."""
        kind = modality(name)
        try:
            image = decode(self.catalog.image_path(name, row), name)
        except DataError as error:
            raise DataError(f"{error}; image of {self.catalog.describe(row)}") from error.__cause__
        if self.match_fov is None:
            image = resize(image, self.size)
        else:
            fov = float(self.catalog.horizontal_fov[row])
            image = match_field_of_view(image, fov, self.match_fov, self.size, kind.fill)
        return _store(image, kind.storage)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_caches": {}}

    def _read(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        if self.cache is None:
            return self._decode_all(name, rows)
        cache = self._open_cache(name)
        kept = [cache.write(row, self.decode(name, row)) for row in cache.missing(rows).tolist()]
        return cache.read(rows) if all(kept) else self._read_partly(name, rows, cache)

    def _decode_all(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        kind = modality(name)
        images = np.empty((len(rows), *kind.shape(self.size)), kind.storage)
        for i, row in enumerate(rows.tolist()):
            images[i] = self.decode(name, row)
        return images

    def _read_partly(self, name: str, rows: NDArray[np.int64], cache: ImageCache) -> NDArray[Any]:
        """Read when some rows could not be kept because the disk is full."""
        images, absent = cache.read(rows), np.isin(rows, cache.missing(rows))
        images[absent] = self._decode_all(name, rows[absent])
        return images

    def _open_cache(self, name: str) -> ImageCache:
        if name not in self._caches:
            assert self.cache is not None
            kind, (height, width) = modality(name), self.size
            path = self.cache / f"{self.catalog.role}-{name}-{width}x{height}-{self._key(name)}"
            try:
                self._caches[name] = ImageCache(path, len(self.catalog), kind.shape(self.size), kind.storage)
            except OSError as error:
                raise DataError(f"image cache {path}: {error.strerror}; choose another folder, or none") from None
        return self._caches[name]

    def _key(self, name: str) -> str:
        """Hash of everything that decoded bytes depend on.

        The time of the last change of the image folder is part of it, so that images rendered anew (which replaces
        files) are decoded anew. An image overwritten in place is not noticed.
        """
        folder = (self.catalog.root / self.catalog.template(name)).parent
        changed = folder.stat().st_mtime_ns if folder.is_dir() else 0
        parts = [
            self.catalog.fingerprint(),
            str(folder.resolve()),
            changed,
            name,
            self.size,
            self.match_fov,
            modality(name).storage,
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def _store(image: Image, dtype: str) -> Image:
    """Convert to the storage type; depth beyond the range of float16 is kept at its largest value."""
    if dtype == "float16":
        return np.minimum(image, np.finfo(np.float16).max).astype(np.float16)
    return image.astype(dtype, copy=False)
