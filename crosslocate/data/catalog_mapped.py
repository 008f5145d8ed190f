"""The mapped form of a large catalog: a file beside the Parquet file that is read without being decoded.

It holds, for every column, an uncompressed Arrow IPC file with one batch, each beginning at a multiple of 64 bytes;
then a footer in JSON (where these are, what the Parquet file's header says, the fingerprint, and size and time of the
Parquet file that it was made from), and the footer's length and checksum. Column by column, so that making it takes the
memory of one column and of the names. Everything in it has been checked; what is opened is not checked again.
"""

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crosslocate.console import say
from crosslocate.data.catalog_names import first_duplicate, hashes
from crosslocate.data.catalog_paths import FILE_ROW
from crosslocate.data.catalog_print import NUMBERS, Fingerprint
from crosslocate.data.schema import check_header, checked_columns, read_header
from crosslocate.drafts import draft_of, remove_abandoned
from crosslocate.errors import DataError

WORTH_MAPPING = 1 << 18
"""Rows from which on a catalog gets a mapped form; smaller ones are decoded in less time than a page is turned."""
MAGIC = b"crosslocate mapped catalog 1\n".ljust(32)
_TRAILER = struct.Struct("<QQ")
_ALIGNED = 64
_EDGE = 4096
"""Bytes at both ends of a column's file, which say what lies between, that a checksum is kept of."""

Stamp = tuple[int, int]


class Mapped(NamedTuple):
    """An opened mapped form: the rows with `FILE_ROW`, the header, and the fingerprint of all rows."""

    table: pa.Table
    header: dict[str, Any]
    fingerprint: str


def open_mapped(path: Path) -> Mapped | None:
    """The mapped form of a Parquet file; None when there is none of the file as it is now, or it is damaged."""
    try:
        stamp = _stamp(path)
    except OSError:
        return None
    found = (_load(file, stamp) for file in _places(path))
    return next((mapped for mapped in found if mapped is not None), None)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[pq.ParquetFile, Stamp]]:
    """Open a Parquet file; with size and time of the file that is read, whatever the path leads to later."""
    with path.open("rb") as source:
        stamp = _stamp(source.fileno())
        yield pq.ParquetFile(source), stamp


def make_mapped(path: Path, file: pq.ParquetFile, stamp: Stamp) -> Mapped | None:
    """Check a Parquet file and make its mapped form; processes of this machine wait for the one that does.

    Where the file has been replaced since it was opened, its mapped form is used here and not kept.

    Args:
        path: Of the file.
        file: The file as `opened`.
        stamp: Its size and time.

    Returns:
        None when there is no place where it can be written.

    Raises:
        DataError: When the file cannot be used as a catalog.
    """
    reasons = []
    with _locked(path):
        for place in _places(path):
            if (made := _load(place, stamp)) is not None:
                return made
            try:
                return _write(place, path, file, stamp)
            except OSError as error:
                reasons.append(f"{place.parent}: {error.strerror or error}")
    say(f"{path} is decoded into memory: its mapped form cannot be written ({'; '.join(reasons)})")
    return None


def discard_mapped(path: Path) -> None:
    """Remove the mapped form of a Parquet file, if there is one."""
    for place in _places(path):
        with contextlib.suppress(OSError):
            place.unlink()


def parquet_column(path: Path, file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    """A column of a Parquet file.

    Raises:
        DataError: When it cannot be decoded.
    """
    try:
        return file.read([name], use_threads=False)[name]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: column {name}: {error}") from error


def require_distinct(path: Path, names: pa.Array) -> None:
    """Check that no two rows have the same name.

    Raises:
        DataError: When they do; names both rows.
    """
    found = first_duplicate(hashes(names), lambda rows: names.take(pa.array(rows)).to_pylist())
    if found is not None:
        raise taken(path, names[found[0]].as_py(), *found)


def taken(path: Path, name: str, row: int, first: int) -> DataError:
    """The error for a name that two rows have."""
    return DataError(f"{path} row {row}: name '{name}' is taken by row {first}; names are unique")


def _stamp(file: Path | int) -> Stamp:
    """Size and time of a file, by its path or opened."""
    status = os.stat(file)  # noqa: PTH116 - of a number too
    return status.st_size, status.st_mtime_ns


def _places(path: Path) -> list[Path]:
    """Where the mapped form may be kept: beside the Parquet file, or in the cache folder."""
    places = [path.with_name(f".{path.name}.arrow")]
    if folder := os.environ.get("CROSSLOCATE_CACHE"):
        whole = hashlib.blake2b(os.fsencode(path.absolute()), digest_size=8).hexdigest()
        places.append(Path(folder) / "catalogs" / f"{path.stem}-{whole}.arrow")
    return places


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the Parquet file's lock, where its file system has locks for files that are read."""
    with path.open("rb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)


def _write(place: Path, path: Path, file: pq.ParquetFile, stamp: Stamp) -> Mapped | None:
    """Write the mapped form and open it; it appears complete or not at all."""
    temporary = draft_of(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(place)
    try:
        with temporary.open("wb") as out:
            out.write(MAGIC)
            footer = json.dumps(_columns(out, path, file) | {"stamp": stamp}, sort_keys=True).encode()
            out.write(footer + _TRAILER.pack(len(footer), zlib.crc32(footer)) + MAGIC)
            out.flush()
            os.fsync(out.fileno())
        made = _load(temporary, stamp)
        if _stamp(path) == stamp:
            temporary.replace(place)
        return made
    finally:
        temporary.unlink(missing_ok=True)


def _columns(out: BinaryIO, path: Path, file: pq.ParquetFile) -> dict[str, Any]:
    """Check and write all columns; returns the footer, but for the stamp."""
    schema, rows = file.schema_arrow, file.metadata.num_rows
    header = read_header(path, schema)
    check_header(path, schema, header["role"], header["images"])
    fingerprint, names, written = Fingerprint(header["role"], rows), None, []
    for field, array in checked_columns(path, schema.names, lambda name: parquet_column(path, file, name)):
        if field.name == "name":
            require_distinct(path, names := array)
        elif field.name in NUMBERS:
            fingerprint.add(array.to_numpy())
        written.append(_segment(out, field, array))
        del array
    written.append(_segment(out, pa.field(FILE_ROW, pa.int64()), pa.array(np.arange(rows))))
    return {
        "header": header,
        "rows": rows,
        "columns": written,
        "fingerprint": fingerprint.finish(names),
        "end": out.tell(),
    }


def _segment(out: BinaryIO, field: pa.Field, array: pa.Array) -> list[int]:
    """Write a column; returns where it begins and ends, and the checksum of its edges."""
    out.write(bytes(-out.tell() % _ALIGNED))
    begin = out.tell()
    schema = pa.schema([field])
    with pa.ipc.new_file(out, schema) as writer:
        writer.write_batch(pa.record_batch([array], schema=schema))
    out.flush()
    with open(out.name, "rb") as written:  # noqa: PTH123 - a temporary file's name
        return [begin, out.tell(), _edges(written.fileno(), begin, out.tell())]


def _edges(file: int, begin: int, end: int) -> int:
    size = min(_EDGE, end - begin)
    return zlib.crc32(os.pread(file, size, end - size), zlib.crc32(os.pread(file, size, begin)))


def _load(place: Path, stamp: Stamp) -> Mapped | None:
    """Map a file; None when it is not there, of another Parquet file or state, or not whole."""
    try:
        with place.open("rb") as file:
            footer = _footer(file.fileno())
            if footer is None or tuple(footer["stamp"]) != stamp:
                return None
            for begin, end, checksum in footer["columns"]:
                if _edges(file.fileno(), begin, end) != checksum:
                    return None
            content = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        tables = [
            pa.ipc.open_file(pa.BufferReader(content.slice(begin, end - begin))).read_all()
            for begin, end, _ in footer["columns"]
        ]
    except (OSError, pa.ArrowException, ValueError, KeyError):
        return None
    fields = pa.schema([table.schema.field(0) for table in tables])
    table = pa.table([table.column(0) for table in tables], schema=fields)
    return Mapped(table, footer["header"], footer["fingerprint"])


def _footer(file: int) -> dict[str, Any] | None:
    """The footer of an open file; None when it is damaged or the file not as long as it says."""
    size = os.fstat(file).st_size
    tail = len(MAGIC) + _TRAILER.size
    if size < len(MAGIC) + tail or os.pread(file, len(MAGIC), 0) != MAGIC:
        return None
    trailer = os.pread(file, tail, size - tail)
    length, checksum = _TRAILER.unpack(trailer[: _TRAILER.size])
    if trailer[_TRAILER.size :] != MAGIC or length > size - tail:
        return None
    data = os.pread(file, length, size - tail - length)
    if zlib.crc32(data) != checksum:
        return None
    footer: dict[str, Any] = json.loads(data)
    return footer if footer["end"] + length + tail == size else None
