"""Writing a dict of lists as a pickled 0-d object array, as old and new versions of NumPy read it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import DataError

_HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
_STATE = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK"
_SCALAR = b"cnumpy.core.multiarray\nscalar\nq\x000"
_FLOAT64 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<" + _STATE + b"\x00tbq\x010"
_OBJECT = b"cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00|" + _STATE + b"?tb"
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01)" + _OBJECT + b"\x89"
_BEFORE, _AFTER = b"h\x00h\x01C\x08", b"\x86R"
"""Around the eight bytes of a float64: call `scalar`, memo 0, with the dtype, memo 1."""
_BATCH = 1000
"""Entries appended to a list at once."""


def write_mapping(path: Path, fields: Mapping[str, Sequence[str] | NDArray[np.float64]]) -> None:
    """Write a dict of lists: of strings, of NumPy's float64 scalars, or of lists of these.

    Pickle protocol 3 and the names of NumPy 1: Python 3.4 and NumPy 1.8 read the file, and so does every later one.
    Equal input gives equal bytes; the file appears complete or not at all.

    Args:
        path: The ``.npy`` file; an existing one is replaced.
        fields: Strings, or float64 [n] or [n, k].

    Raises:
        DataError: When the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(_parts(fields))
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _parts(fields: Mapping[str, Sequence[str] | NDArray[np.float64]]) -> Iterator[bytes]:
    header = _HEADER + b" " * (-(len(_HEADER) + 11) % 64) + b"\n"
    yield b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    yield b"\x80\x03" + _SCALAR + _FLOAT64 + _ARRAY + b"](}("
    for key, values in fields.items():
        yield _text(key) + b"]"
        for start in range(0, len(values), _BATCH):
            batch = values[start : start + _BATCH]
            yield b"(" + (_floats(batch) if isinstance(batch, np.ndarray) else b"".join(map(_text, batch))) + b"e"
    yield b"uetb."


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def _floats(table: NDArray[np.float64]) -> bytes:
    """Opcodes of scalars [n], or of lists of them [n, k]."""
    entries = np.empty((*table.shape, len(_BEFORE) + 8 + len(_AFTER)), np.uint8)
    entries[..., : len(_BEFORE)] = np.frombuffer(_BEFORE, np.uint8)
    entries[..., len(_BEFORE) : -len(_AFTER)] = np.ascontiguousarray(table, "<f8")[..., None].view(np.uint8)
    entries[..., -len(_AFTER) :] = np.frombuffer(_AFTER, np.uint8)
    if table.ndim == 1:
        return entries.tobytes()
    rows = np.empty((len(table), 3 + entries[0].size), np.uint8)
    rows[:, :2], rows[:, -1] = np.frombuffer(b"](", np.uint8), ord("e")
    rows[:, 2:-1] = entries.reshape(len(table), -1)
    return rows.tobytes()
