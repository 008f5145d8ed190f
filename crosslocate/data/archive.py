"""Reading single members of ZIP and tar archives, without unpacking, from any process and thread."""

import os
import weakref
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

from crosslocate.console import say
from crosslocate.data.archive_index import ArchiveIndex, BrokenArchiveError, IndexBuilder, Kind
from crosslocate.data.tar_members import scan_tar
from crosslocate.data.zip_members import LOCAL, local_length, scan_zip
from crosslocate.errors import DataError

Stamp = tuple[int, int]
Content = bytes | DataError
"""Of a file; or why it cannot be read."""
Member = tuple[bytes, int | None]
"""A name, and its row in the index."""
Fetch = Callable[[int, int], bytes]
"""Gives so many bytes from an offset on, as `os.pread`: fewer at the end of the file."""

LARGEST_MEMBER = 1 << 28
"""Bytes; an image of an archive that claims to be larger is refused before memory is taken for it."""
WORTH_SAVING = 5_000
"""Members from which on the index is kept on disk; smaller archives are indexed faster than a file is found."""
SLOW, WORTH_SAVING_IF_SLOW = 0.2, 100
"""Seconds of looking for members from which on fewer are worth it: on a network file system, many reads take long."""
WORTH_SAYING = 1 << 30
"""Bytes of an archive from which on a person may have to wait for its index."""
LOCAL_SLACK = 256
"""Bytes that are read beyond a member's name and data, for what its local header has in addition."""
NEAR, TOGETHER = 1 << 15, 1 << 21
"""Bytes between members that are read along rather than left out, and of members that are read at once."""
COMPRESSED_MAGIC = {b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}
REFUSALS = {
    Kind.LINK: "is a link to another file; pack the files themselves (tar --dereference --hard-dereference)",
    Kind.SPARSE: "is stored with holes; pack it without --sparse",
    Kind.ENCRYPTED: "is encrypted; pack it without a password",
    Kind.COMPRESSED: "is compressed by an unsupported method; pack it stored or deflated",
}


class Archive:
    """One archive file, open for reading. Forked processes may go on using it: reads carry their own offset.

    Args:
        path: The archive: ZIP when its name ends so, else tar.
        copy: A plain copy of it, which is read instead; None: it is itself plain.

    Raises:
        DataError: When it cannot be opened or indexed.
    """

    def __init__(self, path: Path, copy: Path | None = None) -> None:
        self.path, self._opened = path, copy or path
        try:
            self._file = os.open(self._opened, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        weakref.finalize(self, os.close, self._file)
        self.stamp = stamp_of(os.fstat(self._file))
        self.index = self._saved() or self._build()

    def read(self, name: bytes) -> bytes:
        """Content of a member.

        Raises:
            DataError: When there is none of this name, or it cannot be read; names archive and member.
        """
        content = self._content(name, self.index.find(name), partial(os.pread, self._file))
        if isinstance(content, DataError):
            raise content
        return content

    def neighbours(self, members: Sequence[Member]) -> list[list[int]]:
        """Positions of members, in groups that lie close enough to each other to be read at once."""
        extents = sorted((*self._extent(*member), k) for k, member in enumerate(members))
        groups: list[list[int]] = []
        begin = end = -1
        for start, stop, k in extents:
            if groups and start - end <= NEAR and max(end, stop) - begin <= TOGETHER:
                groups[-1].append(k)
                end = max(end, stop)
            else:
                groups.append([k])
                begin, end = start, stop
        return [sorted(group) for group in groups]

    def read_together(self, members: Sequence[Member]) -> list[Content]:
        """Contents of members, by one read from the file that covers them all."""
        extents = [self._extent(*member) for member in members]
        begin, end = min(start for start, _ in extents), max(stop for _, stop in extents)
        fetch: Fetch = partial(os.pread, self._file)
        with suppress(OSError):  # which of them it concerns is found out by reading them one by one
            fetch = _Block(self._file, begin, os.pread(self._file, end - begin, begin))
        return [self._content(*member, fetch) for member in members]

    def _content(self, name: bytes, row: int | None, fetch: Fetch) -> Content:
        if row is None:
            return DataError(f"{self.path}: no member {os.fsdecode(name)}")
        try:
            return self._read(row, len(name), fetch)
        except (BrokenArchiveError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return DataError(f"{self.path}: member {os.fsdecode(name)} {reason}")

    def _extent(self, name: bytes, row: int | None) -> tuple[int, int]:
        """Where a member begins and ends in the file; nothing at its beginning for what cannot be read."""
        if row is None:
            return 0, 0
        offset, packed, size, _, kind = self.index.records[row].item()
        if kind in REFUSALS or offset < 0 or not 0 <= max(size, packed) <= LARGEST_MEMBER:
            return 0, 0
        return offset, offset + (size if kind == Kind.PLAIN else _guess(len(name)) + packed)

    def _read(self, row: int, name_length: int, fetch: Fetch) -> bytes:
        offset, packed, size, crc, kind = self.index.records[row].item()
        if kind in REFUSALS:
            raise BrokenArchiveError(REFUSALS[kind])
        if not 0 <= max(size, packed) <= LARGEST_MEMBER:
            raise BrokenArchiveError(f"would have {size} bytes; at most {LARGEST_MEMBER} are read")
        if kind == Kind.PLAIN:
            data = fetch(size, offset)
        else:
            data = _zip_data(fetch, offset, packed, name_length)
            if kind == Kind.DEFLATED:
                data = _inflate(data, size)
        if len(data) != size:
            raise BrokenArchiveError(f"has {len(data)} bytes instead of {size}")
        if kind != Kind.PLAIN and zlib.crc32(data) != crc:
            raise BrokenArchiveError("is damaged: its checksum differs")
        return data

    def _build(self) -> ArchiveIndex:
        head, scan = os.pread(self._file, 2, 0), scan_zip if self.path.suffix.lower() == ".zip" else scan_tar
        if head in COMPRESSED_MAGIC and scan is scan_tar:
            raise no_random_access(self.path, COMPRESSED_MAGIC[head])
        if self.stamp[0] >= WORTH_SAYING:
            say(f"{self.path}: looking for its images, once")
        builder, begin = IndexBuilder(), monotonic()
        try:
            scan(self._file, self.stamp[0], builder)
        except BrokenArchiveError as error:
            raise DataError(f"{self.path}: {error}") from None
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}") from None
        index = builder.build()
        if len(index) >= (WORTH_SAVING if monotonic() - begin < SLOW else WORTH_SAVING_IF_SLOW):
            self._save(index)
        return self._saved() or index

    def _index_files(self) -> list[Path]:
        """Where the index may be kept: beside the archive, or in the cache folder."""
        path = self._opened
        files = [path.with_name(f".{path.name}.index")]
        if folder := os.environ.get("CROSSLOCATE_CACHE"):
            files.append(Path(folder) / "archives" / f"{path.name}-{zlib.crc32(os.fsencode(path)):08x}.index")
        return files

    def _saved(self) -> ArchiveIndex | None:
        found = (ArchiveIndex.load(file, self.stamp) for file in self._index_files())
        return next((index for index in found if index is not None), None)

    def _save(self, index: ArchiveIndex) -> None:
        for file in self._index_files():
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                index.save(file, self.stamp)
            except OSError:
                continue
            return


def stamp_of(status: os.stat_result) -> Stamp:
    """What tells one state of a file from another: size, and time of the last change in nanoseconds."""
    return status.st_size, status.st_mtime_ns


def no_random_access(path: Path, method: str) -> DataError:
    """The error for an archive that is compressed as a whole."""
    return DataError(
        f"{path}: compressed as a whole ({method}), so no single image can be read from it; "
        f"unpack it, or decompress it to a plain .tar, or pack it as .tar.gz or .zip"
    )


class _Block:
    """Bytes of a file that are in memory already; what lies beside them is read.

    Args:
        file: The open file.
        begin: Where they begin in it.
        data: The bytes.
    """

    def __init__(self, file: int, begin: int, data: bytes) -> None:
        self._file, self._begin, self._data = file, begin, data

    def __call__(self, length: int, offset: int) -> bytes:
        place = offset - self._begin
        if place >= 0 and place + length <= len(self._data):
            return self._data[place : place + length]
        return os.pread(self._file, length, offset)


def _guess(name_length: int) -> int:
    """Bytes that the local header of a ZIP member has at most, as a rule."""
    return LOCAL.size + name_length + LOCAL_SLACK


def _zip_data(fetch: Fetch, offset: int, packed: int, name_length: int) -> bytes:
    guess = _guess(name_length)
    data = fetch(guess + packed, offset)
    begin = local_length(data)
    if begin > guess:
        return fetch(packed, offset + begin)
    return data[begin : begin + packed]


def _inflate(data: bytes, size: int) -> bytes:
    """Decompress to at most ``size`` bytes; one more shows that there would be more."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise BrokenArchiveError(f"cannot be decompressed: {error}") from None
