"""Writing catalog files, from rows that come in batches."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crosslocate.data.catalog_mapped import WORTH_MAPPING, discard_mapped, make_mapped, opened, parquet_column, taken
from crosslocate.data.catalog_names import Hashes, first_duplicate, hashes
from crosslocate.data.catalog_paths import FILE_ROW
from crosslocate.data.schema import METADATA_KEY, SCHEMA, check_header, checked_columns, make_header
from crosslocate.drafts import draft_of, remove_abandoned
from crosslocate.errors import DataError, UnwritableError

ROW_GROUP = 1 << 20
"""Rows that are held in memory, and that a group of rows in the file has."""


class CatalogWriter:
    """A catalog file that is being written: a context manager, at whose end the file appears, complete or not at all.

    Equal rows give equal bytes, however they are split into batches.

    Args:
        path: Parquet file to write; an existing one is replaced.
        role: ``database`` or ``queries``.
        images: Path template by modality, relative to the folder of ``path`` or absolute.
        main: Modality of ``images`` that the others are companions of; None: not said.

    Raises:
        DataError: When role or main modality are not allowed.
    """

    def __init__(self, path: Path, role: str, images: Mapping[str, str], main: str | None = None) -> None:
        self.path, self._role, self._images = Path(path), role, dict(images)
        self._header = make_header(self.path, role, images, main)
        self._temporary = draft_of(self.path)
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []
        self._hashes: list[Hashes] = []
        self.rows = self._written = 0

    def __enter__(self) -> "CatalogWriter":
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Put the file in its place, or, after an error, leave everything as it was."""
        try:
            if kind is None:
                self._finish()
        finally:
            with suppress(OSError):  # of a full disk, which has been told
                if self._writer is not None:
                    self._writer.close()
            with suppress(OSError):
                self._temporary.unlink()

    def append(self, columns: Mapping[str, Any]) -> None:
        """Add rows: arrays or lists by column name, those of `SCHEMA` and any others, the same in every batch.

        Raises:
            DataError: When a column is missing or was not in the batches before, or a value cannot be stored or used;
                names row and value.
            UnwritableError: When the file cannot be written.
        """
        table = pa.table({name: _array(values) for name, values in columns.items()})
        if self._schema is None:
            check_header(self.path, table.schema, self._role, self._images)
        elif missing := [name for name in self._schema.names if name not in table.column_names]:
            raise DataError(f"{self.path}: columns missing from row {self.rows} on: {', '.join(missing)}")
        elif further := [name for name in table.column_names if name not in (*self._schema.names, FILE_ROW)]:
            raise DataError(
                f"{self.path}: columns from row {self.rows} on that the rows before do not have: {', '.join(further)}; "
                f"all batches have the same columns: {', '.join(self._schema.names)}"
            )
        checked = list(checked_columns(self.path, table.column_names, table.column, self.rows))
        table = pa.table([array for _, array in checked], schema=pa.schema([field for field, _ in checked]))
        if self._schema is None:
            self._schema = table.schema.with_metadata({METADATA_KEY: self._header})
        self._waiting.append(self._alike(table))
        self._hashes.append(hashes(checked[0][1]))
        self.rows += table.num_rows
        if self.rows - self._written >= ROW_GROUP:
            self._flush(ROW_GROUP)

    def _alike(self, table: pa.Table) -> pa.Table:
        """A batch with the types of the first one, and the split as plain strings, since batches differ in theirs."""
        assert self._schema is not None
        try:
            types = {field.name: field.type for field in self._schema} | {"split": pa.string()}
            return pa.table({name: table[name].cast(types[name]) for name in self._schema.names})
        except pa.ArrowException as error:
            raise DataError(f"{self.path}: columns differ in type from row {self.rows} on: {error}") from None

    def _flush(self, least: int) -> None:
        """Write whole groups of rows, as long as there are at least that many rows."""
        table = pa.concat_tables(self._waiting)
        start = 0
        while len(table) - start >= least and (len(table) > start or self._writer is None):
            self._write(table.slice(start, ROW_GROUP))
            start += ROW_GROUP
        self._waiting = [table.slice(min(start, len(table)))]
        self._written += min(start, len(table))

    def _write(self, rows: pa.Table) -> None:
        assert self._schema is not None
        columns = [rows[name].combine_chunks() for name in self._schema.names]
        place = self._schema.get_field_index("split")
        columns[place] = columns[place].dictionary_encode()
        try:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                remove_abandoned(self.path)
                self._writer = pq.ParquetWriter(self._temporary, self._schema)
            self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=ROW_GROUP)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _finish(self) -> None:
        if self._schema is None:
            self.append({field.name: pa.array([], field.type) for field in SCHEMA})
        self._flush(0)
        assert self._writer is not None
        try:
            self._writer.close()
            self._require_distinct()
            self._temporary.replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        discard_mapped(self.path)  # a clock may be too coarse to tell the new file from the old one
        if self.rows >= WORTH_MAPPING:
            with opened(self.path) as (file, stamp):
                make_mapped(self.path, file, stamp)

    def _require_distinct(self) -> None:
        def names_of(rows: np.ndarray) -> list[str]:
            with pq.ParquetFile(self._temporary) as file:
                return parquet_column(self._temporary, file, "name").take(pa.array(rows)).to_pylist()

        if (found := first_duplicate(np.concatenate(self._hashes), names_of)) is not None:
            raise taken(self.path, names_of(np.array(found[:1]))[0], *found)


def write_catalog(
    path: Path, columns: Mapping[str, Any], role: str, images: Mapping[str, str], main: str | None = None
) -> None:
    """Write a catalog file; it appears complete or not at all, and equal input gives equal bytes.

    Args:
        path: Parquet file to write; an existing one is replaced.
        columns: Arrays or lists by column name: those of `SCHEMA`, and any others.
        role: ``database`` or ``queries``.
        images: Path template by modality, relative to the folder of ``path``.
        main: Modality of ``images`` that the others are companions of; None: not said.

    Raises:
        DataError: When a column is missing or a value cannot be stored or used.
        UnwritableError: When the file cannot be written.
    """
    with CatalogWriter(path, role, images, main) as writer:
        writer.append(columns)


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)


def _unwritable(path: Path, error: OSError) -> UnwritableError:
    return UnwritableError(
        f"the catalog {path} cannot be written ({error.strerror or error}); choose another folder: "
        "output=<folder>, or paths.cache=<folder> for CrossLocate's named data sets"
    )
