"""Pickled object arrays (``.npy``) that hold a dict, read without running or importing anything that they name."""

import math
import mmap
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crosslocate.errors import DataError
from crosslocate.formats.packed_texts import gathered
from crosslocate.formats.pickle_machine import (
    ARRAY,
    BOOL,
    BUFFER,
    BYTES,
    COLUMN_BITS,
    DICT,
    DTYPE,
    FLOAT,
    FLOATS,
    FORBIDDEN,
    INT,
    LATIN1,
    LENGTH_BITS,
    LIST,
    ROWS,
    SCALAR,
    TEXT,
    TEXTS,
    TUPLE,
)
from crosslocate.formats.pickle_table import KINDS, MESSAGES, Ids, Refusal, Table, interpret
from crosslocate.formats.texts import Texts

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_LONGEST_KEY = 1000
_OBJECTS = re.compile(rb"\{.*'descr': '\|O'.*'shape': \(\s*\).*\}\s*", re.DOTALL)
_DTYPES = re.compile(rb"([biufUSO])(\d{1,9})")
_BLOCK = 1 << 16
"""Strings of an array that become Python objects at once."""


class Mapping:
    """The dict in a pickled 0-d object array; its lists become columns without a Python object for every number.

    Args:
        path: The ``.npy`` file.

    Attributes:
        fields: Number of the value (see `pickle_table`) by key.

    Raises:
        DataError: When the file cannot be read, holds anything but NumPy's arrays, numbers, strings, dicts and lists
            (named in the message), or is no dict.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data, start, self._release = _open(path)
        try:
            table = interpret(self._data, start, self._release)
        except MemoryError:
            raise DataError(f"{path}: has more values than this machine has memory for") from None
        if isinstance(table, Refusal):
            raise DataError(f"{path}: {_reason(table, self._data)}")
        self._table: Table = table
        self.fields = self._mapping(table.root)

    def texts(self, field: str, longest: int = sys.maxsize) -> Sequence[str]:
        """A list of strings; integers become strings. Rows that refer to one string of the file share it.

        Args:
            field: Key in the dict.
            longest: Characters that a string may have.

        Raises:
            DataError: When there is no such field, it holds anything else, or a longer string; names the row.
        """
        value = self._value(field)
        if self._is_plain_array(value):
            array = self._array(value, field)
            if array.shape == (0,):  # NumPy makes numbers of an empty list
                return []
            if array.ndim != 1 or array.dtype.kind not in "Uiu":
                raise self._wrong(field, f"is an array {array.dtype} {array.shape}", "a list of strings")
            return self._array_texts(array, field, longest)
        if (cells := self._packed(value, TEXTS)) is not None:
            found = gathered(self._data, cells, longest, self._release)
            return self._distinct_texts(cells, field, longest) if found is None else found
        ids = self._entries(value, field, "a list of strings")
        self._require(field, ids, np.isin(self._table.kind[ids], (TEXT, INT, SCALAR)), "a string")
        distinct, first, rows = np.unique(ids, return_index=True, return_inverse=True)
        texts = self._distinct(distinct, first, field, longest)
        return [texts[row] for row in rows.tolist()]

    def numbers(self, field: str, columns: int = 0) -> NDArray[np.float64]:
        """A list of numbers as float64 [n], or of lists of ``columns`` numbers as float64 [n, columns].

        Raises:
            DataError: When there is no such field, or it holds anything else; names the row.
        """
        value = self._value(field)
        wanted = f"a list of lists of {columns} numbers" if columns else "a list of numbers"
        if self._is_plain_array(value):
            array = self._array(value, field)
            if array.shape == (0,):  # NumPy forgets the columns of an empty list
                return np.empty((0, columns) if columns else 0)
            if array.dtype.kind not in "iuf" or array.shape[1:] != ((columns,) if columns else ()) or not array.ndim:
                raise self._wrong(field, f"is an array {array.dtype} {array.shape}", wanted)
            return np.array(array, np.float64)
        cells = self._packed(value, ROWS if columns else FLOATS, columns)
        if cells is not None:
            numbers = cells.view(np.float64)
            return numbers.reshape(-1, columns) if columns else numbers
        ids = self._entries(value, field, wanted, columns)
        if not columns:
            return self._scalars(ids, field)
        if ids.ndim == 2:
            return self._scalars(ids.ravel(), field, columns).reshape(ids.shape)
        lists = np.isin(self._table.kind[ids], (LIST, TUPLE))
        if not lists.all():  # rows may be arrays too
            return self._rows(ids, field, columns)
        long = self._table.b[ids] == columns
        if not long.all():
            row = int(np.argmin(long))
            raise self._wrong(f"{field} row {row}", f"has {self._table.b[ids[row]]} entries", f"{columns} numbers")
        return self._scalars(self._table.rows(ids, columns), field, columns).reshape(-1, columns)

    def _packed(self, value: int, kind: int, columns: int = 0) -> NDArray[np.int64] | None:
        """Cells of a list whose entries are all packed, and as that kind; None of any other."""
        table, chunks = self._table, self._table.packed(value)
        if chunks is None or (table.kind[chunks] != kind).any():
            return None
        counts, begins = table.b[chunks], table.a[chunks]
        if kind == ROWS:
            if (counts & ((1 << COLUMN_BITS) - 1) != columns).any():
                return None
            counts = (counts >> COLUMN_BITS) * columns
        parts = [table.cells[begin : begin + count] for begin, count in zip(begins, counts, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _distinct_texts(self, cells: NDArray[np.int64], field: str, longest: int) -> list[str]:
        """Texts of which one is not as it should be, or which many rows share."""
        distinct, first, rows = np.unique(cells, return_index=True, return_inverse=True)
        buffer, texts = memoryview(self._data.data), []
        for cell, row in zip(distinct.tolist(), first.tolist(), strict=True):
            begin, length = cell >> LENGTH_BITS, cell & ((1 << LENGTH_BITS) - 1)
            texts.append(self._text(buffer, begin, length, field, row))
        order = np.argsort(first)
        for k in order[np.array([len(text) for text in texts])[order] > longest].tolist():
            _short([texts[k]], f"{self.path}: {field}", longest, int(first[k]))
        return [texts[k] for k in rows.tolist()]

    def _array_texts(self, array: NDArray[Any], field: str, longest: int) -> Sequence[str]:
        """Strings of an array, in pieces: an object of Python for every one would take too much memory."""
        chunks: list[pa.Array] = []
        for start in range(0, len(array), _BLOCK):
            block = [str(entry) for entry in array[start : start + _BLOCK].tolist()]
            _short(block, f"{self.path}: {field}", longest, start)
            try:
                chunks.append(pa.array(block, pa.string()))
            except UnicodeEncodeError:  # half of a surrogate pair
                return _short([str(entry) for entry in array.tolist()], f"{self.path}: {field}", longest)
            self._release()
        return Texts(pa.chunked_array(chunks, pa.string()))

    def _mapping(self, root: int) -> dict[str, int]:
        table = self._table
        if table.kind[root] == ARRAY and not self._is_plain_array(root):
            entries = self._entries(root, "the file", "a dict")
            root = int(entries[0]) if len(entries) == 1 else root
        if table.kind[root] != DICT:
            raise DataError(f"{self.path}: holds {KINDS[table.kind[root]]}; expected a dict of named lists")
        entries = table.entries(root)
        keys, values = entries[::2], entries[1::2]
        self._require("the dict's keys", keys, table.kind[keys] == TEXT, "a string")
        distinct, first, rows = np.unique(keys, return_index=True, return_inverse=True)
        texts = self._distinct(distinct, first, "keys", _LONGEST_KEY)
        return {texts[key]: int(value) for key, value in zip(rows, values, strict=True)}

    def _distinct(self, ids: Ids, rows: NDArray[np.int64], field: str, longest: int) -> list[str]:
        """Texts of values that differ; ``rows`` says for messages where each is found."""
        buffer, texts, last = memoryview(self._data.data), [], ""
        scalars: dict[tuple[Any, ...], str] = {}
        for value, kind, row in zip(ids.tolist(), self._table.kind[ids].tolist(), rows.tolist(), strict=True):
            if kind == TEXT:
                text = self._text(buffer, int(self._table.a[value]), int(self._table.b[value]), field, row)
            elif kind == INT:
                text = str(self._table.a[value])
            else:
                text = self._text_scalar(value, field, row, scalars)
            last = last if last == text else text  # rows of one place share one string
            if len(last) > longest:
                _short([last], f"{self.path}: {field}", longest, row)
            texts.append(last)
        return texts

    def _value(self, field: str) -> int:
        if field not in self.fields:
            raise DataError(
                f"{self.path}: {field} is missing; present: {', '.join(sorted(self.fields))[:500] or 'none'}"
            )
        return self.fields[field]

    def _entries(self, value: int, field: str, wanted: str, columns: int = 0) -> Ids:
        """Values in a list, a tuple or an object array, [n]; [n, columns] for an object array of two dimensions."""
        table = self._table
        shape: tuple[int, ...] = ()
        if table.kind[value] == ARRAY:
            shape, _, _, data = self._state(value, field)
            if (
                table.kind[data] != LIST
                or table.b[data] != math.prod(shape)
                or (len(shape) > 1 and shape[1:] != (columns,))
            ):
                raise self._wrong(field, f"is an array of objects {shape}", wanted)
            value = data
        if table.kind[value] not in (LIST, TUPLE):
            raise self._wrong(field, f"is {KINDS[table.kind[value]]}", wanted)
        entries = table.entries(value)
        return entries.reshape(shape) if len(shape) > 1 else entries

    def _scalars(self, ids: Ids, field: str, columns: int = 1) -> NDArray[np.float64]:
        kinds, content = self._table.kind[ids], self._table.a[ids]
        self._require(field, ids, np.isin(kinds, (FLOAT, INT, SCALAR)), "a number", columns)
        numbers = np.where(kinds == FLOAT, content.view(np.float64), content.astype(np.float64))
        for i in np.flatnonzero(kinds == SCALAR):
            scalar = self._scalar(int(ids[i]), field, int(i) // columns)
            if scalar.dtype.kind not in "iuf":
                raise self._wrong(f"{field} row {i // columns}", f"is a {scalar.dtype}", "a number")
            numbers[i] = scalar
        return numbers

    def _rows(self, ids: Ids, field: str, columns: int) -> NDArray[np.float64]:
        rows = np.empty((len(ids), columns))
        for row, value in enumerate(ids.tolist()):
            where = f"{field} row {row}"
            if self._is_plain_array(value):
                cells: Any = self._array(value, where)
                if cells.dtype.kind not in "iuf":
                    raise self._wrong(where, f"is an array {cells.dtype}", f"{columns} numbers")
            else:
                cells = self._scalars(self._entries(value, where, f"{columns} numbers"), where)
            if cells.shape != (columns,):
                raise self._wrong(where, f"is of shape {cells.shape}", f"{columns} numbers")
            rows[row] = cells
        return rows

    def _require(self, field: str, ids: Ids, good: NDArray[np.bool_], wanted: str, columns: int = 1) -> None:
        if not good.all():
            bad = int(np.argmin(good))
            raise self._wrong(f"{field} row {bad // columns}", f"is {KINDS[self._table.kind[ids[bad]]]}", wanted)

    def _wrong(self, field: str, found: str, wanted: str) -> DataError:
        return DataError(f"{self.path}: {field} {found}; expected {wanted}")

    def _text(self, buffer: memoryview, start: int, length: int, field: str, row: int) -> str:
        try:
            return str(buffer[start : start + length], "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: {field} row {row} is no UTF-8 text: {error.reason}") from None

    def _text_scalar(self, value: int, field: str, row: int, known: dict[tuple[Any, ...], str]) -> str:
        """A scalar of NumPy, a string or an integer, as a string; many may be made of the same bytes."""
        dtype, data = self._dtype(int(self._table.a[value]), field), int(self._table.b[value])
        key = (dtype, int(self._table.a[data]), int(self._table.b[data]))
        if key not in known:
            scalar = self._scalar(value, field, row)
            if scalar.dtype.kind not in "Uiu":
                raise self._wrong(f"{field} row {row}", f"is a {scalar.dtype}", "a string")
            known[key] = str(scalar)
        return known[key]

    def _is_plain_array(self, value: int) -> bool:
        """Whether a value is an array of numbers or strings, not of objects."""
        kind = self._table.kind[value]
        if kind == BUFFER:
            return True
        return kind == ARRAY and self._dtype(self._state(value, "an array")[1], "an array").kind != "O"

    def _state(self, value: int, field: str) -> tuple[tuple[int, ...], int, bool, int]:
        """Shape, dtype, whether in Fortran's order, and data of an array."""
        table = self._table
        if table.kind[value] == BUFFER:
            data, dtype, dimensions, order = self._list(int(table.a[value]))
            fortran = table.kind[order] == TEXT and self._bytes(order, field) == b"F"
        else:
            if table.a[value] < 0:
                raise DataError(f"{self.path}: {field} is an array without content")
            _, dimensions, dtype, order, data = self._list(int(table.a[value]))
            fortran = bool(table.a[order]) and table.kind[order] in (BOOL, INT)
        sizes = self._list(dimensions) if table.kind[dimensions] == TUPLE and table.b[dimensions] <= 32 else [-1]
        shape = tuple(int(table.a[i]) if i >= 0 and table.kind[i] == INT else -1 for i in sizes)
        if table.kind[dtype] != DTYPE or min(shape, default=0) < 0:
            raise DataError(f"{self.path}: {field} is an array of an impossible shape or dtype")
        return shape, dtype, fortran, data

    def _array(self, value: int, field: str) -> NDArray[Any]:
        shape, dtype_id, fortran, data = self._state(value, field)
        return self._filled(self._dtype(dtype_id, field), shape, fortran, data, field)

    def _filled(self, dtype: np.dtype, shape: tuple[int, ...], fortran: bool, data: int, field: str) -> NDArray[Any]:
        content = self._content(data, field)
        if dtype.kind == "O" or not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(content):
            raise DataError(f"{self.path}: {field} is an array {dtype} {shape} of {len(content)} bytes")
        try:
            flat = content.view(dtype) if len(content) else np.empty(0, dtype)
            array = flat.reshape(shape, order="F" if fortran else "C")
            if dtype.kind == "U" and array.size and flat.view(f"{dtype.byteorder}u4").max() > sys.maxunicode:
                raise ValueError("a code is beyond Unicode")
            return array
        except ValueError as error:
            raise DataError(f"{self.path}: {field} is no array {dtype} {shape}: {error}") from None

    def _scalar(self, value: int, field: str, row: int) -> Any:
        dtype = self._dtype(int(self._table.a[value]), field)
        return self._filled(dtype, (1,), False, int(self._table.b[value]), f"{field} row {row}")[0]

    def _dtype(self, value: int, field: str) -> np.dtype:
        table = self._table
        name, order = self._bytes(int(table.a[value]), field), table.b[value]
        if not (match := _DTYPES.fullmatch(name)) or order not in b"<>|=":
            raise DataError(f"{self.path}: {field} has dtype {name[:40]!r}; numbers and strings only")
        try:
            return np.dtype(("<" if order in b"|=" else chr(order)) + match[0].decode())
        except TypeError as error:
            raise DataError(f"{self.path}: {field}: {error}") from None

    def _list(self, value: int) -> list[int]:
        return self._table.entries(value).tolist()

    def _bytes(self, value: int, field: str) -> bytes:
        return self._content(value, field).tobytes()

    def _content(self, value: int, field: str) -> NDArray[np.uint8]:
        table = self._table
        if table.kind[value] not in (TEXT, BYTES, LATIN1):
            raise self._wrong(field, f"has {KINDS[table.kind[value]]} inside", "bytes")
        start = int(table.a[value])
        content = self._data[start : start + int(table.b[value])]
        if table.kind[value] != LATIN1:
            return content
        try:
            return np.frombuffer(content.tobytes().decode().encode("latin-1"), np.uint8)
        except UnicodeError as error:
            raise DataError(f"{self.path}: {field} is not Latin-1: {error}") from None


def _open(path: Path) -> tuple[NDArray[np.uint8], int, Callable[[], None]]:
    """The bytes of a file, mapped; where its pickle begins; and what gives the pages that were read back."""
    try:
        with path.open("rb") as file:
            begin = file.read(12)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if begin else None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not begin.startswith(_MAGIC) or len(begin) < 12 or begin[6] not in (1, 2, 3):
        raise DataError(f"{path}: no NumPy file (.npy)")
    size = 2 if begin[6] == 1 else 4
    start = 8 + size + int.from_bytes(begin[8 : 8 + size], "little")
    assert mapped is not None
    data = np.frombuffer(mapped, np.uint8)
    if start > min(len(data), _LONGEST_HEADER):
        raise DataError(f"{path}: the header is cut off or too long")
    header = data[8 + size : start].tobytes()
    if not _OBJECTS.fullmatch(header):
        raise DataError(f"{path}: {header.strip().decode('latin-1')[:200]}; expected one object, pickled ('|O')")
    return data, start, lambda: mapped.madvise(mmap.MADV_DONTNEED)


def _reason(refusal: Refusal, data: NDArray[np.uint8]) -> str:
    if refusal.status == FORBIDDEN:
        return (
            f"names {refusal.name!r}, which is not admitted (byte {refusal.position}); only arrays, numbers, strings, "
            f"dicts and lists are read"
        )
    byte = f"0x{data[refusal.position]:02x} " if refusal.position < len(data) else ""
    return f"{MESSAGES[refusal.status]} (byte {refusal.position}{', ' + byte.strip() if byte else ''})"


def _short(texts: list[str], where: str, longest: int, row: int = 0) -> list[str]:
    """The texts, none of which is longer than that."""
    for i, text in enumerate(texts):
        if len(text) > longest:
            raise DataError(
                f"{where} row {row + i} has {len(text)} characters ({text[:40]!r}...); at most {longest} are read"
            )
    return texts
