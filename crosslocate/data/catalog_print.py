"""Fingerprints of catalogs: a hash over names, places and poses that is the same wherever a file lies."""

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crosslocate.data.schema import FORMAT, SCHEMA

NUMBERS = tuple(field.name for field in SCHEMA if field.name not in ("name", "split"))
"""Columns that are hashed before the names, in this order."""
_BLOCK, _TOGETHER = 1 << 20, 1 << 14
"""Names between which a line feed is hashed, and those that are joined at once."""


class Fingerprint:
    """Takes the columns of a catalog one after the other.

    Args:
        role: ``database`` or ``queries``.
        rows: How many there are.
    """

    def __init__(self, role: str, rows: int) -> None:
        self._digest = hashlib.blake2b(json.dumps([FORMAT, role, rows]).encode(), digest_size=16)

    def add(self, values: NDArray[Any]) -> None:
        """Take the next column of `NUMBERS`."""
        self._digest.update(values.data)

    def finish(self, names: pa.Array) -> str:
        """The hash, once all of `NUMBERS` are in: 32 hexadecimal digits."""
        for start in range(0, len(names), _BLOCK):
            block = names.slice(start, _BLOCK)
            for begin in range(0, len(block), _TOGETHER):
                part = block.slice(begin, _TOGETHER)
                line = pa.ListArray.from_arrays(pa.array([0, len(part)], pa.int32()), part)
                self._digest.update(b"\n" if begin else b"")
                self._digest.update(pc.binary_join(line, "\n")[0].as_buffer())
        return self._digest.hexdigest()


def fingerprint_of(table: pa.Table, role: str) -> str:
    """The fingerprint of a table with one chunk per column."""
    found = Fingerprint(role, table.num_rows)
    for name in NUMBERS:
        found.add(table[name].chunk(0).to_numpy(zero_copy_only=True))
    return found.finish(table["name"].chunk(0))
