"""Catalogs: which images exist, where each was taken, and where its files lie.

A catalog is one Parquet file, one row per image, with the columns of `SCHEMA` (others may follow and are kept). The
schema metadata key ``crosslocate`` holds JSON: format, role (``database`` or ``queries``) and, for every modality, the
path template of its files, as in ``database/depth/{name}.exr``: relative to the folder of the Parquet file, or
absolute (`crosslocate.data.catalog_paths`). Where the files of one modality gave the images their names, ``main`` says
which. A large catalog is opened by its mapped form (`crosslocate.data.catalog_mapped`).

Positions are WGS84 degrees, elevations metres above sea level, angles radians, headings clockwise from true north.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from crosslocate.data.catalog_mapped import (
    WORTH_MAPPING,
    make_mapped,
    open_mapped,
    opened,
    parquet_column,
    require_distinct,
)
from crosslocate.data.catalog_paths import FILE_ROW, columns_of, file_of, joined
from crosslocate.data.catalog_print import fingerprint_of
from crosslocate.data.catalog_writer import CatalogWriter, write_catalog
from crosslocate.data.images import READINGS
from crosslocate.data.schema import check_header, checked_columns, one_chunk, read_header
from crosslocate.errors import DataError

__all__ = ["DATABASE", "Catalog", "CatalogWriter", "catalog_path", "file_of", "read_catalog", "write_catalog"]

Floats = NDArray[np.float64]

DATABASE = "database.parquet"
"""File of the views; every data set has it."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """Rows of one catalog file: all of them, a split, or any selection.

    Args:
        path: The Parquet file; image paths are relative to its folder.
        table: The rows, one chunk per column, columns as in `SCHEMA` plus `FILE_ROW`.
        images: Path template by modality, with ``{name}`` for the image's name.
        role: ``database`` or ``queries``.
        main: Modality that the set is about, the others being companions of its files; None where nothing says so.
        known: A table and the fingerprint of its rows, where the file tells; of use as long as `table` is that one.
    """

    path: Path
    table: pa.Table
    images: Mapping[str, str]
    role: str
    main: str | None = None
    known: tuple[pa.Table, str] | None = None

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def root(self) -> Path:
        """Folder that the image paths start from."""
        return self.path.parent

    @property
    def longitude(self) -> Floats:
        """Degrees east, float64 [n]; a read-only view of the table, as are all columns."""
        return self.column("longitude")

    @property
    def latitude(self) -> Floats:
        """Degrees north, float64 [n]."""
        return self.column("latitude")

    @property
    def elevation(self) -> Floats:
        """Camera height above sea level in metres, float64 [n]."""
        return self.column("elevation")

    @property
    def yaw(self) -> Floats:
        """Heading of the optical axis in radians clockwise from true north, float64 [n], not wrapped."""
        return self.column("yaw")

    @property
    def pitch(self) -> Floats:
        """Radians, up positive, float64 [n]."""
        return self.column("pitch")

    @property
    def roll(self) -> Floats:
        """Radians, float64 [n]."""
        return self.column("roll")

    @property
    def horizontal_fov(self) -> Floats:
        """Horizontal field of view in radians, float64 [n]."""
        return self.column("horizontal_fov")

    @property
    def place(self) -> NDArray[np.int32]:
        """Number of the place where the image was taken, int32 [n]."""
        return self.column("place")

    @cached_property
    def easting(self) -> Floats:
        """UTM easting in metres, float64 [n]; only catalogs that say it have it."""
        return self._optional("easting")

    @cached_property
    def northing(self) -> Floats:
        """UTM northing in metres, float64 [n]; only catalogs that say it have it."""
        return self._optional("northing")

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have rows, sorted."""
        return tuple(sorted(self.table["split"].unique().to_pylist()))

    def column(self, name: str) -> NDArray[Any]:
        """A numeric column as a NumPy array without a copy."""
        return self.table[name].chunk(0).to_numpy(zero_copy_only=True)

    def _optional(self, name: str) -> Floats:
        if name not in self.table.column_names:
            raise DataError(f"{self.path}: has no column {name}; distance=utm needs it")
        values = self.table[name].cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise DataError(f"{self.describe(bad[0])}: {name} is {values[bad[0]]}; distance=utm needs it")
        return values

    def name(self, row: int) -> str:
        """Name of the image in a row."""
        return self.table["name"][int(row)].as_py()

    def names(self, rows: ArrayLike) -> list[str]:
        """Names of the images in many rows."""
        return self.table["name"].take(pa.array(np.asarray(rows, np.int64).ravel())).to_pylist()

    def describe(self, row: int) -> str:
        """File, row in the file, and name, for messages."""
        return f"{self.path} row {self.table[FILE_ROW][int(row)].as_py()} ({self.name(row)})"

    def split(self, name: str) -> "Catalog":
        """The rows of one split, in file order; without a copy where they follow one another.

        Raises:
            DataError: When the split has no row; names the splits that exist.
        """
        column = self.table["split"].chunk(0)
        code = column.dictionary.index(pa.scalar(name, column.dictionary.type)).as_py()
        chosen = column.indices.to_numpy() == code
        count = int(np.count_nonzero(chosen))
        if not count:
            existing = ", ".join(self.splits) or "none"
            raise DataError(f"{self.path}: split '{name}' has no rows; splits with rows: {existing}")
        if count == len(self):
            return self
        first = int(np.argmax(chosen))
        if chosen[first : first + count].all():
            return replace(self, table=self.table.slice(first, count))
        return self.take(np.flatnonzero(chosen))

    def take(self, rows: ArrayLike) -> "Catalog":
        """The given rows, in the given order."""
        return replace(self, table=one_chunk(self.table.take(pa.array(np.asarray(rows, np.int64)))))

    def image_path(self, modality: str, row: int) -> Path:
        """File of one image.

        Raises:
            DataError: When the catalog has no such modality.
        """
        template = self.template(modality)
        if columns_of(template):
            return Path(self.paths(modality, [row])[0])
        return self.root / file_of(template, self.name(row))

    def paths(self, modality: str, rows: ArrayLike) -> list[str]:
        """Files of many rows, as `image_path` gives them one by one.

        Raises:
            DataError: When the catalog has no such modality, or a row lacks a value that its path is made of.
        """
        template = self.template(modality)
        columns = list(dict.fromkeys(["name", FILE_ROW, *columns_of(template)]))
        chosen = self.table.select(columns).take(pa.array(np.asarray(rows, np.int64).ravel()))
        return joined(self.root, template, chosen, self.path)

    def template(self, modality: str) -> str:
        """Path template of the files of a modality, or of another reading of one, relative to `root` or absolute."""
        files = READINGS[modality].files if modality in READINGS else modality
        if files not in self.images:
            raise DataError(f"{self.path}: no images of modality '{files}'; it has: {', '.join(self.images)}")
        return self.images[files]

    def fingerprint(self) -> str:
        """Hash over names, places and poses of these rows, 32 hexadecimal digits; the same wherever the file lies."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        if self.known is not None and self.known[0] is self.table:
            return self.known[1]
        return fingerprint_of(self.table, self.role)


def catalog_path(root: Path, file: str, split: str) -> Path:
    """Where the catalog of a split lies: ``<root>/<file>`` holds every split, or else ``<root>/<split>/<file>`` one.

    Raises:
        DataError: When there is neither; names the splits that there are, or the role that the data set lacks.
    """
    whole, part = Path(root) / file, Path(root) / split / file
    if whole.is_file() or part.is_file():
        return whole if whole.is_file() else part
    existing = ", ".join(sorted(path.parent.name for path in Path(root).glob(f"*/{file}")))
    if existing:
        raise DataError(f"{part}: no such catalog file; splits that have one: {existing}")
    present = [other.name for other in (Path(root), Path(root) / split) if (other / DATABASE).is_file()]
    if file != DATABASE and present:
        raise DataError(
            f"{root}: this data set is views alone, it has {DATABASE} but no {file}: it can be indexed and searched, "
            f"not trained on or evaluated; choose a data set with {file.removesuffix('.parquet')} (dataset=...)"
        )
    raise DataError(f"{whole}: no such catalog file")


def read_catalog(path: Path) -> Catalog:
    """Read and check a catalog file.

    Raises:
        DataError: When it is missing, is no catalog, lacks a column, or a row has an impossible value or a name of
            another row.
    """
    path = Path(path)
    mapped = open_mapped(path)
    if mapped is None:
        with ExitStack() as stack:
            try:
                file, stamp = stack.enter_context(opened(path))
            except FileNotFoundError:
                raise DataError(f"{path}: no such catalog file") from None
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
            if file.metadata.num_rows >= WORTH_MAPPING:
                mapped = make_mapped(path, file, stamp)
            if mapped is None:
                return _decoded(path, file)
    header = mapped.header
    known = mapped.table, mapped.fingerprint
    return Catalog(path, mapped.table, header["images"], header["role"], header.get("main"), known)


def _decoded(path: Path, file: pq.ParquetFile) -> Catalog:
    """A catalog whose columns are in memory."""
    schema = file.schema_arrow
    header = read_header(path, schema)
    check_header(path, schema, header["role"], header["images"])
    columns = list(checked_columns(path, schema.names, lambda name: parquet_column(path, file, name)))
    require_distinct(path, columns[0][1])
    columns.append((pa.field(FILE_ROW, pa.int64()), pa.array(np.arange(file.metadata.num_rows))))
    table = pa.table([array for _, array in columns], schema=pa.schema([field for field, _ in columns]))
    return Catalog(path, table, header["images"], header["role"], header.get("main"))
