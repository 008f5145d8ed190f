"""The file format of catalogs: columns, schema metadata, and the checks that every value passes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crosslocate.data.catalog_paths import FILE_ROW, check_template
from crosslocate.errors import DataError

FORMAT = 1
METADATA_KEY = b"crosslocate"
ROLES = ("database", "queries")

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("split", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        *(
            pa.field(column, pa.float64(), nullable=False)
            for column in ("longitude", "latitude", "elevation", "yaw", "pitch", "roll", "horizontal_fov")
        ),
    ]
)


RANGES = {
    "longitude": (-180.0, 180.0, True),
    "latitude": (-90.0, 90.0, True),
    "elevation": (-np.inf, np.inf, False),
    "yaw": (-np.inf, np.inf, False),
    "pitch": (-np.pi / 2, np.pi / 2, True),
    "roll": (-np.inf, np.inf, False),
    "horizontal_fov": (0.0, np.pi, False),
}
"""Lowest and highest value of a column, and whether they are allowed themselves; NaN never is."""


def make_header(path: Path, role: str, images: Mapping[str, str], main: str | None) -> str:
    """The JSON of a new file's schema metadata.

    Raises:
        DataError: When the role is none, or the main modality is not one of the images.
    """
    if role not in ROLES:
        raise DataError(f"{path}: role '{role}' is not allowed; allowed: {', '.join(ROLES)}")
    if main is not None and main not in images:
        raise DataError(f"{path}: main modality '{main}' is not allowed; allowed: {', '.join(images)}")
    said = {} if main is None else {"main": main}
    return json.dumps({"format": FORMAT, "role": role, "images": dict(images), **said}, sort_keys=True)


def read_header(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """The JSON in a file's schema metadata: format, role, images, and main where it says so."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    try:
        header = json.loads(raw) if raw is not None else {}
        images, role = header["images"], header["role"]
        known = header.get("format") == FORMAT and isinstance(images, dict) and isinstance(role, str)
        if known and header.get("main") in (None, *images):
            return header
    except (ValueError, KeyError, AttributeError):
        pass
    raise DataError(
        f"{path}: schema metadata '{METADATA_KEY.decode()}' is {raw!r}; "
        f"expected JSON with format {FORMAT}, role, images and, if any, main: one of images"
    )


def check_header(path: Path, schema: pa.Schema, role: str, images: Mapping[str, str]) -> None:
    """Check what concerns the file as a whole: its columns, role and path templates."""
    missing = [field.name for field in SCHEMA if field.name not in schema.names]
    if missing:
        raise DataError(f"{path}: columns missing: {', '.join(missing)}; present: {', '.join(schema.names)}")
    if role not in ROLES:
        raise DataError(f"{path}: role '{role}' is not allowed; allowed: {', '.join(ROLES)}")
    for modality, template in images.items():
        check_template(path, modality, template, schema)


def checked_columns(
    path: Path, names: Iterable[str], column: Callable[[str], pa.ChunkedArray], start: int = 0
) -> Iterator[tuple[pa.Field, pa.Array]]:
    """Columns one after the other: those of `SCHEMA` in their types and order, checked, and then the others.

    Memory is that of one column and of the names.

    Args:
        path: For messages.
        names: All columns.
        column: Gives a column.
        start: Row of the file that the first row is, for messages.

    Raises:
        DataError: When a value is missing, of another type or impossible; names row, name, value and what is allowed.
    """
    rows = None
    for field in SCHEMA:
        values = column(field.name)
        if values.null_count:
            row = start + int(np.flatnonzero(values.is_null().to_numpy())[0])
            raise DataError(f"{path} row {row}: {field.name} is null; every row needs a value")
        array = _cast(path, values, field)
        rows = array if rows is None else rows  # the names come first
        if field.name in RANGES:
            _check_range(path, field.name, array, rows, start)
        yield field, array
    for name in names:
        if name not in SCHEMA.names and name != FILE_ROW:
            values = column(name)
            yield pa.field(name, values.type), whole(path, name, values)


def whole(path: Path, name: str, column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        raise DataError(f"{path}: the texts of column {name} take more than 2 GiB; split the catalog into several")
    return array


def one_chunk(table: pa.Table) -> pa.Table:
    """The table with exactly one chunk per column, also when it has no rows."""
    return table.combine_chunks() if table.num_rows else table.schema.empty_table()


def _cast(path: Path, column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    try:
        if pa.types.is_dictionary(field.type):
            return whole(path, field.name, column.cast(pa.string())).dictionary_encode()
        return whole(path, field.name, column.cast(field.type))
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: column {field.name} of type {column.type} cannot become {field.type}: {error}"
        ) from None


def _check_range(path: Path, column: str, array: pa.Array, names: pa.Array, start: int) -> None:
    low, high, inclusive = RANGES[column]
    values = array.to_numpy()
    good = (values >= low) & (values <= high) if inclusive else (values > low) & (values < high)
    if not good.all():
        bad = np.flatnonzero(~good)
        allowed = f"[{low:g}, {high:g}]" if inclusive else f"({low:g}, {high:g})"
        raise DataError(
            f"{path} row {start + bad[0]} ({names[int(bad[0])]}): {column} is {values[bad[0]]}; "
            f"allowed: {allowed} ({len(bad)} such rows)"
        )
