"""Descriptors that were made elsewhere, and the poses that go with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.catalog import catalog_path, read_catalog
from crosslocate.data.distance import Posed
from crosslocate.errors import DataError
from crosslocate.formats.meta import MetaImages, read_meta
from crosslocate.retrieval.blocks import blocks
from crosslocate.retrieval.matches import Names
from crosslocate.retrieval.recall import Ints

DTYPES = ("float16", "float32", "float64")
CATALOGS = {"queries": "queries.parquet", "database": "database.parquet"}
_ROWS = 8192
"""Descriptors that are checked at a time."""


@dataclass(frozen=True)
class PosedImages:
    """Poses of the images of one role, with their names by row and where they were read."""

    poses: Posed
    names: Names
    source: str


def read_descriptors(path: str | Path) -> NDArray[np.floating]:
    """Map a ``.npy`` file of descriptors [n, D] into memory; no pickle is read.

    All are looked at once, in blocks whose pages are given back: a file may be larger than memory.

    Args:
        path: The file; float16, float32 or float64, row by row. Searches round to float32 first.

    Raises:
        DataError: It is missing, no such array, stored column by column, or a descriptor is not finite; names the file
            and the row.
    """
    path = Path(path).expanduser()
    try:
        descriptors = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of descriptors") from None
    except Exception as error:  # NumPy passes on whatever Python's tokenizer meets in a damaged header
        raise DataError(
            f"{path} is not a .npy file of numbers: it is no NumPy array, it is damaged or cut short, or it holds "
            f"Python objects ({type(error).__name__})"
        ) from error
    if descriptors.ndim != 2 or min(descriptors.shape) < 1 or descriptors.dtype.name not in DTYPES:
        raise DataError(
            f"{path} holds {descriptors.dtype} of shape {descriptors.shape}; "
            f"expected descriptors [n, D] of {', '.join(DTYPES)}"
        )
    if not descriptors.flags.c_contiguous:  # every block of rows would be read from all over the file
        raise DataError(
            f"{path} is stored column by column (Fortran order), expected row by row; save it again with "
            "numpy.save(path, numpy.ascontiguousarray(descriptors))"
        )
    largest = np.finfo(np.float32).max
    for start, part in blocks(descriptors, _ROWS):
        good = (np.abs(part) <= largest).all(axis=1)
        if not good.all():
            raise DataError(f"{path} row {start + int(np.argmin(good))}: the descriptor is not finite as float32")
    return descriptors


def catalog_images(root: str | Path, split: str) -> tuple[PosedImages, PosedImages]:
    """Queries and database of a split of a data set.

    Args:
        root: Folder with ``queries.parquet`` and ``database.parquet``, or with one folder of these for each split.
        split: Its name.

    Raises:
        DataError: There are no such files, or no such split in them.
    """
    found = []
    for file in CATALOGS.values():
        path = catalog_path(Path(root).expanduser(), file, split)
        catalog = read_catalog(path).split(split)
        found.append(PosedImages(catalog, catalog.names, f"split '{split}' of {path}"))
    return found[0], found[1]


def meta_images(path: str | Path) -> tuple[PosedImages, PosedImages]:
    """Queries and database of a meta structure.

    Raises:
        DataError: It is missing or broken.
    """
    meta = read_meta(Path(path).expanduser())
    roles: Sequence[tuple[str, MetaImages]] = (("queries", meta.queries), ("database", meta.database))
    queries, database = (PosedImages(images, _named(images.filenames), f"{role} of {path}") for role, images in roles)
    return queries, database


def require_fitting(path: str | Path, descriptors: NDArray[np.floating], images: PosedImages) -> None:
    """Check that there is one descriptor for every image.

    Raises:
        DataError: There is not; names both.
    """
    if len(descriptors) != len(images.poses):
        raise DataError(f"{path} has {len(descriptors)} descriptors for {len(images.poses)} images ({images.source})")


def _named(names: Sequence[str]) -> Callable[[Ints], list[str]]:
    return lambda rows: [names[row] for row in np.asarray(rows).tolist()]
