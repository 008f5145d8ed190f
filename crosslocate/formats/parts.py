"""One split of a data set, read from a meta structure or from catalogs, on its way to either of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog, write_catalog
from crosslocate.data.distance import Posed
from crosslocate.errors import ConfigError
from crosslocate.formats.companions import FOLDERS, Naming, name_images
from crosslocate.formats.conversion import take, to_images, write_images
from crosslocate.formats.meta import MetaImages, MetaStructure, no_images
from crosslocate.formats.places import PlaceTable

FILES = {"database": "database.parquet", "queries": "queries.parquet"}
Folders = dict[str, dict[str, str]]
"""Folders of images by role and modality, the main modality first; no modality for a role without images."""


class Part(Protocol):
    """Database and queries of one split."""

    @property
    def split(self) -> str:
        """Its name."""
        ...

    def poses(self, role: str) -> Posed:
        """Where the images of a role were taken."""
        ...

    def keep(self, rows: NDArray[np.int64]) -> "Part":
        """The same with some of the views only."""
        ...

    def name_places(self, table: PlaceTable) -> "Part":
        """The same with the queries' place names from a table, where it has them."""
        ...

    def structure(self) -> MetaStructure:
        """As a meta structure."""
        ...

    def write(self, folder: Path) -> None:
        """As catalogs in a folder."""
        ...


@dataclass(frozen=True)
class MetaPart:
    """A split that came as a meta structure.

    Args:
        split: Its name.
        meta: The images.
        source: The file.
        folders: Where the images are; roles that are not in it are not written as catalogs.
    """

    split: str
    meta: MetaStructure
    source: Path
    folders: Folders

    def poses(self, role: str) -> MetaImages:
        """Where the images of a role were taken."""
        images: MetaImages = getattr(self.meta, role)
        return images

    def keep(self, rows: NDArray[np.int64]) -> "MetaPart":
        """The same with some of the views only."""
        return replace(self, meta=replace(self.meta, database=take(self.meta.database, rows)))

    def name_places(self, table: PlaceTable) -> "MetaPart":
        """The same with the queries' place names from a table, where it has them."""
        queries = self.meta.queries
        named = _named(table, queries.filenames, queries.place_names)
        return replace(self, meta=replace(self.meta, queries=replace(queries, place_names=named)))

    def structure(self) -> MetaStructure:
        """As a meta structure."""
        return self.meta

    def write(self, folder: Path) -> None:
        """As catalogs in a folder."""
        for role, folders in self.folders.items():
            images = self.poses(role)
            main = next(iter(folders), None)
            naming = Naming(images.filenames, {}) if main is None else name_images(images.filenames, main, folders)
            write_images(folder / FILES[role], images, role, self.split, naming, self.source)


@dataclass(frozen=True)
class CatalogPart:
    """A split that came as catalogs.

    Args:
        split: Its name.
        catalogs: Catalogs by role.
        modalities: Whose file names a meta structure gets, by role, where that is known.
        utm_zone: Zone of coordinates that the catalogs do not say; None: the one of their mean longitude.
    """

    split: str
    catalogs: dict[str, Catalog]
    modalities: dict[str, str]
    utm_zone: int | None

    def poses(self, role: str) -> Catalog:
        """Where the images of a role were taken; absent queries are none."""
        return self.catalogs[role] if role in self.catalogs else self.catalogs["database"].take([])

    def keep(self, rows: NDArray[np.int64]) -> "CatalogPart":
        """The same with some of the views only."""
        return replace(self, catalogs=self.catalogs | {"database": self.catalogs["database"].take(rows)})

    def name_places(self, table: PlaceTable) -> "CatalogPart":
        """The same with the queries' place names from a table, where it has them."""
        queries = self.poses("queries")
        names = queries.names(np.arange(len(queries)))
        column = pa.array(_named(table, names, [str(place) for place in queries.place.tolist()]), pa.string())
        others = queries.table.drop_columns([name for name in ("place_name",) if name in queries.table.column_names])
        named = replace(queries, table=others.append_column("place_name", column))
        return replace(self, catalogs=self.catalogs | {"queries": named})

    def structure(self) -> MetaStructure:
        """As a meta structure; absent queries are none.

        Raises:
            ConfigError: When it is not known whose file names to write.
        """
        return MetaStructure(self._images("database"), self._images("queries"))

    def write(self, folder: Path) -> None:
        """As catalogs in a folder; their images stay where they are."""
        for role, catalog in self.catalogs.items():
            columns = {name: catalog.table[name] for name in catalog.table.column_names if name != "file_row"}
            images = {name: os.path.abspath(catalog.root / file) for name, file in catalog.images.items()}  # noqa: PTH100
            write_catalog(folder / FILES[role], columns, catalog.role, images, self.modalities.get(role))

    def _images(self, role: str) -> MetaImages:
        modality, catalog = self.modalities.get(role), self.poses(role)
        if not len(catalog):
            return no_images()
        if modality is None:
            hint = f"{catalog.path} has images of several modalities; say whose file names to write"
            raise ConfigError(f"{role}.modality", None, list(catalog.images), hint)
        return to_images(catalog, modality, self.utm_zone)


def guess_modality(filenames: Sequence[str], key: str) -> str:
    """What files show, by their names: ``_depth.exr``, ``_segments.png``, ``.exr``, ``.jpg``.

    Raises:
        ConfigError: When the names do not tell; ``key`` is where to say it.
    """
    name = filenames[0] if filenames else ""
    stem, _, ending = name.rpartition(".")
    for modality, called in FOLDERS.items():
        if stem.endswith(f"_{called}"):
            return modality
    by_ending = {"exr": "depth", "jpg": "photo", "jpeg": "photo"}
    if ending.lower() in by_ending:
        return by_ending[ending.lower()]
    raise ConfigError(key, None, FOLDERS, f"The name {name!r} does not tell what the images show")


def _named(table: PlaceTable, names: Sequence[str], otherwise: Sequence[str]) -> list[str]:
    return [old if new is None else new for new, old in zip(table.of(names), otherwise, strict=True)]
