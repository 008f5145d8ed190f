"""Meta structures become catalogs, and catalogs become meta structures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.data.catalog import Catalog, CatalogWriter
from crosslocate.data.catalog_paths import files
from crosslocate.data.catalog_writer import ROW_GROUP
from crosslocate.errors import DataError
from crosslocate.formats.companions import Naming
from crosslocate.formats.meta import MetaImages
from crosslocate.formats.texts import Texts, as_arrow, chosen
from crosslocate.formats.utm import to_utm, zone_of

_NO_NAME = r"(?s)^$|\x00|^/|(^|/)\.\.(/|$)"
"""What no name of a file in a folder matches: nothing, a NUL, an absolute path, or one that leads out."""


def within_half_turns(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitches in radians; those beyond a quarter turn (such as 6.2) are brought to (-pi, pi]."""
    return np.where(np.abs(pitch) > math.pi / 2, np.pi - (np.pi - pitch) % (2 * np.pi), pitch)


def write_images(path: Path, images: MetaImages, role: str, split: str, naming: Naming, source: Path) -> None:
    """Write one role of a meta structure as a catalog, with the columns id, place_name, easting and northing too.

    A pitch is brought `within_half_turns`; everything else is kept as it is.

    Args:
        path: The catalog file.
        images: What the meta structure says.
        role: ``database`` or ``queries``.
        split: Name of the split that all rows belong to.
        naming: Names and path templates, see `name_images`.
        source: The meta structure's file, for messages.

    Raises:
        DataError: When a value cannot be used; names the source, the row and the name.
    """
    try:
        _require_names(images.filenames, f"{source} {role}")
        texts = {"name": naming.names, "id": images.ids, "place_name": images.place_names}
        arrays = {column: as_arrow(values) for column, values in texts.items()}
        place = number_places(images)
        with CatalogWriter(path, role, naming.images, naming.main) as writer:
            for start in track(range(0, max(len(images), 1), ROW_GROUP), f"Writing the {role}"):
                rows = slice(start, min(start + ROW_GROUP, len(images)))
                writer.append(_columns(images, arrays, place, split, rows))
    except DataError as error:
        raise DataError(str(error).replace(str(path), f"{source} {role}")) from None
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"{source} {role}: cannot be written as {path}: {error}") from None


def _columns(
    images: MetaImages, texts: dict[str, pa.ChunkedArray], place: NDArray[np.int32], split: str, rows: slice
) -> dict[str, Any]:
    """Some rows of a catalog, as columns."""
    count = rows.stop - rows.start
    text = {column: values.slice(rows.start, count) for column, values in texts.items()}
    return {
        "name": text["name"],
        "place": place[rows],
        "split": pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([split])),
        "longitude": images.longitude[rows],
        "latitude": images.latitude[rows],
        "elevation": images.elevations[rows],
        "yaw": images.yaw[rows],
        "pitch": within_half_turns(images.pitch[rows]),
        "roll": images.roll[rows],
        "horizontal_fov": images.horizontal_fov[rows],
        "id": text["id"],
        "place_name": text["place_name"],
        "easting": images.easting[rows],
        "northing": images.northing[rows],
    }


def _require_names(filenames: Sequence[str], source: str) -> None:
    """Check that names of files lead nowhere but into the folder of the images."""
    bad = pc.match_substring_regex(as_arrow(filenames), _NO_NAME)
    row = pc.index(bad, True).as_py()
    if row >= 0:
        raise DataError(f"{source} row {row}: {filenames[row]!r} is no name of a file in the images' folder")


def number_places(images: MetaImages) -> NDArray[np.int32]:
    """Numbers of places in the order in which they appear: by place name, or by position where all names are alike."""
    codes = as_arrow(images.place_names).dictionary_encode().combine_chunks()
    if len(codes.dictionary) > 1:
        return codes.indices.to_numpy().astype(np.int32, copy=False)
    _, first, place = np.unique(np.ascontiguousarray(images.wgs), axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[place.ravel()]


def to_images(catalog: Catalog, modality: str, utm_zone: int | None = None) -> MetaImages:
    """The rows of a catalog as one role of a meta structure.

    What the catalog does not say is made: ids are names, place names are numbers, and coordinates are computed.

    Args:
        catalog: Rows to convert.
        modality: Whose file names to write.
        utm_zone: Zone of coordinates that have to be computed; None: that of the rows' mean longitude.

    Raises:
        DataError: When the catalog has no such modality.
    """
    file = catalog.template(modality).rpartition("/")[2]
    names, places = catalog.table["name"], catalog.table["place"].cast(pa.string())
    longitude, latitude = catalog.longitude, catalog.latitude
    if {"easting", "northing"} <= set(catalog.table.column_names):
        utm = np.stack([catalog.easting, catalog.northing], 1)
    else:
        zone = zone_of(longitude) if utm_zone is None else utm_zone
        utm = to_utm(np.stack([longitude, latitude], 1), zone)
    return MetaImages(
        Texts(pa.chunked_array([files(catalog.path, file, catalog.table)])),
        _texts(catalog, "id", names),
        _texts(catalog, "place_name", places),
        np.stack([longitude, latitude], 1),
        utm,
        np.array(catalog.elevation),
        np.stack([catalog.yaw, catalog.pitch, catalog.roll, catalog.horizontal_fov], 1),
    )


def take(images: MetaImages, rows: NDArray[np.int64]) -> MetaImages:
    """Some of the images, in the given order."""
    filenames, ids, place_names = (chosen(texts, rows) for texts in (images.filenames, images.ids, images.place_names))
    numbers = images.wgs[rows], images.utm[rows], images.elevations[rows], images.camera[rows]
    return MetaImages(filenames, ids, place_names, *numbers)


def _texts(catalog: Catalog, column: str, otherwise: pa.ChunkedArray) -> Texts:
    if column not in catalog.table.column_names:
        return Texts(otherwise)
    values = catalog.table[column].cast(pa.string())
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy())[0])
        raise DataError(f"{catalog.describe(row)}: {column} is null")
    return Texts(values)
