"""Reading many images of a catalog at once, through a cache of decoded images."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.data import storage
from crosslocate.data.archive import Content
from crosslocate.data.cache import ImageCache
from crosslocate.data.catalog import Catalog
from crosslocate.data.catalog_paths import folder_of, folders
from crosslocate.data.images import Image, decode, modality, read_image
from crosslocate.data.live import live_images, live_print, live_root
from crosslocate.data.read_ahead import ReadAhead
from crosslocate.data.requests import read_one
from crosslocate.errors import DataError

MOST_FOLDERS = 1 << 16
"""Folders and archives of a catalog whose times of change are asked for; of more, the folders above them."""


class ImageReader:
    """Images of a catalog's rows as arrays of one size.

    A reader can be pickled and forked; each process opens the cache on first use.

    Args:
        catalog: Rows to read.
        modalities: Which images of a row, or other readings of them (`images.READINGS`); each once.
        size: (height, width) in pixels of what is returned.
        match_fov: Radians; images of another horizontal field of view are scaled and cropped or padded so that a pixel
            covers the same angle as in a view of this one. None: images are resized whatever their field of view.
        match_aspect: Height over width of those views before they were resized; None: as in ``size``.
        cache: Folder for decoded images (on a disk of this machine); None: every read decodes.
        read_ahead: Reads that are made ahead of decoding where files take long to come, see `ReadAhead`; 0: none.

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
        match_aspect: float | None = None,
        cache: Path | None = None,
        read_ahead: int = 0,
    ) -> None:
        self.catalog, self.size = catalog, (int(size[0]), int(size[1]))
        self.match_fov, self.match_aspect = match_fov, match_aspect
        self.modalities = tuple(dict.fromkeys(modalities))
        for name in self.modalities:
            catalog.template(name)
        self.cache = None if cache is None else Path(cache)
        self._caches: dict[str, ImageCache] = {}
        self._ahead = ReadAhead(read_ahead)

    def read(self, rows: ArrayLike) -> dict[str, NDArray[Any]]:
        """Images of catalog rows by modality, each [n, H, W] or [n, H, W, 3] in the modality's storage type.

        Raises:
            DataError: When an image is missing or cannot be decoded; names its file and row.
        """
        wanted = np.asarray(rows, np.int64)
        return {name: self._read(name, wanted) for name in self.modalities}

    def decode(self, name: str, row: int) -> Image:
        """Decode one image from its file, at the reader's size and in the modality's storage type."""
        path = self.catalog.image_path(name, row)
        return self._image(name, row, path, read_one(path))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_caches": {}}

    def _read(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        if self.cache is None:
            return self._decode_all(name, rows)
        cache = self._open_cache(name)
        missing = cache.missing(rows)
        images = self._decoded(name, missing)
        kept = [cache.write(row, image) for row, image in zip(missing.tolist(), images, strict=True)]
        return cache.read(rows) if all(kept) else self._read_partly(name, rows, cache)

    def _decode_all(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        kind = modality(name)
        images = np.empty((len(rows), *kind.shape(self.size)), kind.storage)
        for i, image in enumerate(self._decoded(name, rows)):
            images[i] = image
        return images

    def _decoded(self, name: str, rows: NDArray[np.int64]) -> Iterator[Image]:
        paths = [Path(path) for path in self.catalog.paths(name, rows)]
        if live_root(self.catalog, name) is not None:
            rendered = live_images(self.catalog, name, rows)
            yield from map(partial(self._image, name), rows.tolist(), paths, rendered)
            return
        with closing(self._ahead.contents(paths)) as contents:
            for row, path, content in zip(rows.tolist(), paths, contents, strict=True):
                yield self._image(name, row, path, content)

    def _image(self, name: str, row: int, path: Path, content: Content | Image) -> Image:
        try:
            if isinstance(content, DataError):
                raise content
            return read_image(
                path,
                name,
                self.size,
                fov=float(self.catalog.horizontal_fov[row]),
                match_fov=self.match_fov,
                aspect=self.match_aspect,
                content=content,
            )
        except DataError as error:
            raise DataError(f"{error}; image of {self.catalog.describe(row)}") from error.__cause__

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

        The times of the last change of the folders that the rows' images lie in, or of their archives, are part of it,
        so that images rendered anew (which replaces files) are decoded anew; of images that are rendered as they are
        read, what they are rendered from. An image overwritten in place is not
        noticed, nor, with more folders than `MOST_FOLDERS`, one that is replaced in the lowest of them.
        """
        folder = self.catalog.root / folder_of(self.catalog.template(name))
        live = live_root(self.catalog, name)
        parts = [
            self.catalog.fingerprint(),
            str(folder.resolve()) if live is None else folder.name,
            self._changed(name, folder) if live is None else live_print(live),
            name,
            self.size,
            self.match_fov,
            modality(name).storage,
            *([] if self.match_aspect is None else [self.match_aspect]),
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    def _changed(self, name: str, folder: Path) -> int | str:
        """When the images were changed last: the time of one folder or archive, or a hash of those of several."""
        template = self.catalog.template(name)
        if storage.container(folder) is None:
            found = folders(self.catalog.path, template, self.catalog.table, MOST_FOLDERS)
            if found != [folder_of(template)]:
                times = [(place, storage.changed(self.catalog.root / place)) for place in found]
                return hashlib.blake2b(json.dumps(times).encode(), digest_size=16).hexdigest()
        return storage.changed(folder)


def aspect_of_views(catalog: Catalog, name: str) -> float:
    """Height over width of a catalog's images, which all have the shape of the first.

    Raises:
        DataError: When it is missing or cannot be decoded.
    """
    height, width = decode(catalog.image_path(name, 0), name).shape[:2]
    return height / width
