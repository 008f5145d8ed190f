"""Where the members of an archive lie: sorted arrays that processes share, however many members there are."""

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crosslocate.drafts import draft_of, remove_abandoned

MAGIC = b"crosslocate archive index 1\n"
HUGE = 1 << 62
"""Sizes above are all the same: far too large."""
RECORD = np.dtype([("offset", "<i8"), ("packed", "<i8"), ("size", "<i8"), ("crc", "<u4"), ("kind", "<u4")])
PACKED = struct.Struct("<qqqII").pack
"""The bytes of a record."""


class BrokenArchiveError(Exception):
    """An archive, or a member, that does not hold what it says; the message has no path yet."""


class Kind(IntEnum):
    """How a member is stored; from `LINK` on it cannot be read."""

    PLAIN = 0  # its bytes lie at the offset
    STORED = 1  # a ZIP header lies at the offset, then its bytes
    DEFLATED = 2  # likewise, compressed
    LINK = 3
    SPARSE = 4
    ENCRYPTED = 5
    COMPRESSED = 6  # by a method that is not supported


class IndexBuilder:
    """Collects members in the order of the archive."""

    def __init__(self) -> None:
        self._names, self._ends, self._records = bytearray(), array("q"), bytearray()

    def add(self, name: bytes, offset: int, packed: int, size: int, crc: int, kind: Kind) -> None:
        """Add a file; folders, and names that lead out of the archive, are left out."""
        name = canonical(name)
        if name:
            self._names += name
            self._ends.append(len(self._names))
            self._records += PACKED(offset, packed, min(size, HUGE), crc, kind)

    def build(self) -> "ArchiveIndex":
        """Sort by name; of members with one name the last comes last. What was collected is given up meanwhile."""
        count, ends = len(self._ends), np.concatenate([[0], np.frombuffer(self._ends, np.int64)])
        names = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(ends), pa.py_buffer(self._names)])
        order = pc.sort_indices(names)  # stable
        _, offsets, blob = pc.take(names, order).buffers()
        del names, ends
        self._names, self._ends = bytearray(), array("q")
        records = np.frombuffer(self._records, RECORD)[order.to_numpy()]
        if not count:
            return ArchiveIndex(records, np.empty(0, np.int64), np.empty(0, np.uint8))
        return ArchiveIndex(records, np.frombuffer(offsets, np.int64, count + 1)[1:], np.frombuffer(blob, np.uint8))


class ArchiveIndex:
    """Members by name. Bytes of memory per member: 40 and its name, shared by all processes when loaded from a file.

    Args:
        records: [n] of `RECORD`, in the order of the names.
        ends: Where each name ends in ``blob``, int64 [n].
        blob: The names, one behind the other, uint8.
    """

    def __init__(self, records: NDArray[np.void], ends: NDArray[np.int64], blob: NDArray[np.uint8]) -> None:
        self.records, self._ends, self._blob = records, ends, blob
        self._stops, self._text = ends.data, blob.data  # single numbers come faster out of these

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, row: int) -> bytes:
        """Name of a member."""
        return bytes(self._text[self._stops[row - 1] if row else 0 : self._stops[row]])

    def find(self, name: bytes) -> int | None:
        """Row of a member; of several with one name the last in the archive, as unpacking would leave."""
        row = bisect_right(range(len(self)), name, key=self.name) - 1
        return row if row >= 0 and self.name(row) == name else None

    def folder(self, prefix: bytes) -> Iterator[bytes]:
        """Names of the files directly in a folder (``b""`` or ending in a slash), without that prefix."""
        for name in self.below(prefix):
            if b"/" not in (rest := name[len(prefix) :]):
                yield rest

    def below(self, prefix: bytes) -> Iterator[bytes]:
        """Names that begin with a prefix, sorted."""
        row = bisect_left(range(len(self)), prefix, key=self.name)
        while row < len(self) and (name := self.name(row)).startswith(prefix):
            yield name
            row += 1

    def top(self) -> Iterator[bytes]:
        """What lies at the top of the archive: names of files, and of folders with a slash behind."""
        row = 0
        while row < len(self):
            head, slash, _ = self.name(row).partition(b"/")
            yield head + slash
            following = head + (b"0" if slash else b"\0")  # "0" comes right after the slash
            row = bisect_left(range(len(self)), following, row, key=self.name)

    def save(self, path: Path, stamp: tuple[int, int]) -> None:
        """Write to a file, which appears complete or not at all.

        Raises:
            OSError: When it cannot be written.
        """
        temporary = draft_of(path)
        remove_abandoned(path)
        try:
            with temporary.open("wb") as file:
                file.write(MAGIC.ljust(32))
                file.write(np.array([*stamp, len(self), len(self._blob)], "<i8").tobytes())
                for part in (self.records, self._ends, self._blob):
                    part.tofile(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, stamp: tuple[int, int]) -> "ArchiveIndex | None":
        """Map a saved index; None when there is none of an archive with this stamp, or it is damaged."""
        try:
            data = np.memmap(path, np.uint8, "r").view(np.ndarray)
        except (OSError, ValueError):
            return None
        if len(data) < 64 or bytes(data[:32]) != MAGIC.ljust(32):
            return None
        size, time, count, letters = data[32:64].view("<i8").tolist()
        begins = np.cumsum([64, count * RECORD.itemsize, count * 8, letters]).tolist()
        if (size, time) != stamp or min(count, letters) < 0 or begins[-1] != len(data):
            return None
        parts = [data[begin:end] for begin, end in pairwise(begins)]
        return cls(parts[0].view(RECORD), parts[1].view("<i8"), parts[2])


def canonical(name: bytes) -> bytes:
    """A member's name with plain slashes between plain parts; empty for folders and names that lead out (``..``)."""
    if name[:1] not in b"./" and b"/." not in name and b"//" not in name and not name.endswith(b"/"):
        return name
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    return b"" if b".." in parts or name.endswith((b"/", b"/.")) else b"/".join(parts)
