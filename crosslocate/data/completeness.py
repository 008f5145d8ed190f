"""Are the image files of catalogs there: found by listing each folder or archive once, in memory that hardly grows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from crosslocate.data import storage
from crosslocate.data.catalog import Catalog
from crosslocate.data.catalog_paths import FILE_ROW, columns_of, rows_by_folder
from crosslocate.data.listing import Listing
from crosslocate.data.live import require_live
from crosslocate.errors import DataError

TOGETHER = 1 << 16
"""Rows that are looked at at once."""
SHOWN = 5
"""Missing files that an error names."""
LEVELS = 3
"""Folders above a missing file beside which an archive is looked for: up to that of the data set."""


def missing_images(catalog: Catalog, modalities: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Find the files that a catalog promises and that do not exist.

    Yields:
        Modality and row of each.

    Raises:
        DataError: When the catalog has no such modality, or a folder or archive cannot be read; or when images are
            rendered as they are read, and what that takes is missing.
    """
    listings: dict[str, Listing] = {}
    for modality in modalities:
        if require_live(catalog, modality):
            continue
        template = catalog.template(modality)
        columns = list(dict.fromkeys(["name", FILE_ROW, *columns_of(template)]))
        for start in range(0, len(catalog), TOGETHER):
            part = catalog.table.select(columns).slice(start, TOGETHER)
            for folder, rows, files in rows_by_folder(catalog.path, template, part):
                if folder not in listings:
                    listings[folder] = Listing(storage.names(catalog.root / folder))
                for k in np.flatnonzero(listings[folder].absent(files)).tolist():
                    yield modality, start + int(rows[k])


def require_images(catalogs: Sequence[tuple[Catalog, Iterable[str]]]) -> None:
    """Refuse to start when image files are missing.

    Raises:
        DataError: With the number of missing files and the first five of them.
    """
    shown, count = [], 0
    examples: list[Path] = []
    for catalog, modalities in catalogs:
        seen = set()
        for modality, row in missing_images(catalog, modalities):
            count += 1
            if count <= SHOWN:
                shown.append(f"{catalog.image_path(modality, row)} of {catalog.describe(row)}")
            if modality not in seen:
                seen.add(modality)
                examples.append(catalog.image_path(modality, row))
    if count:
        raise missing_files(count, shown, examples)


def missing_files(count: int, shown: Iterable[object], examples: Iterable[Path]) -> DataError:
    """The error for image files that are not there, with the first few of them, and archives that they may be in.

    Args:
        count: Number of them.
        shown: Descriptions of the first few.
        examples: At least one of each folder.
    """
    lines = [str(line) for line in shown]
    if count > len(lines):
        lines.append(f"and {count - len(lines)} more")
    folders = dict.fromkeys(folder for path in examples for folder in islice(path.parents, LEVELS))
    lines += [
        f"{path} is there too, but is not read since there is a folder of that name; "
        f"remove the folder, or unpack the archive into it"
        for path in filter(None, map(storage.passed_over, folders))
    ]
    return DataError("\n  ".join([f"{count} image files are missing:", *lines]))
