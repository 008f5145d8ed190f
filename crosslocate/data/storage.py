"""Where image files lie: in folders, or in ZIP and tar archives, which stand in a path like a folder; or nowhere.

``database_depth.zip/000001_depth.exr`` is the member ``000001_depth.exr`` of the archive ``database_depth.zip``. A tar
archive that gzip compressed as a whole is read from a plain copy, see `crosslocate.data.decompression`. Images that are
rendered when they are read have paths too, see `crosslocate.data.live`.
"""

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from crosslocate.data.archive import Archive, no_random_access, stamp_of
from crosslocate.data.archive_index import ArchiveIndex
from crosslocate.data.decompression import ENDINGS, beginning, is_compressed, plain_copy
from crosslocate.data.live import read_live
from crosslocate.data.open_archives import OpenArchives
from crosslocate.errors import DataError

PLAIN = (".zip", ".tar")
REFUSED = {".tar.bz2": "bzip2", ".tar.xz": "xz", ".tar.zst": "zstandard"}
"""Endings of archives in which no single image can be found."""
ENDING = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz|zst))(?=/|$)", re.IGNORECASE)
BESIDES = (b".", b"__MACOSX/")
"""What some programs put at the top of an archive besides its content."""


def read_bytes(path: Path) -> bytes:
    """Content of a file, which may be a member of an archive, or rendered now.

    Raises:
        DataError: When there is no such file or member, or it cannot be read.
    """
    if (rendered := read_live(path)) is not None:
        return rendered
    archive, member = inside_archive(path)
    if archive is not None and member:
        return archive.read(member)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def names(folder: Path) -> Iterator[str]:
    """Names of the files in a folder, which may be an archive or lie in one; none where there is no such folder.

    They come one by one: there may be millions.

    Raises:
        DataError: When a folder or an archive cannot be read.
    """
    archive, member = inside_archive(folder)
    if archive is not None:
        yield from map(os.fsdecode, archive.index.folder(member + b"/" if member else b""))
        return
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from None


def locate(root: Path, folder: str) -> Path | None:
    """Find a folder of images, unpacked or in an archive.

    Looked for in this order: ``<root>/<folder>``; ``<root>/<folder>.zip`` and ``.tar``; ``<root>.zip`` and ``.tar``
    with the folder in it; then ``.tar.gz`` and ``.tgz`` likewise. In an archive the folder may lie at the top, below
    the name of the root, or below a single folder of any name; an archive of the folder's own may also hold the files
    themselves there. A compressed archive that begins with the folder is not decompressed before its images are read.

    Args:
        root: Folder of a data set.
        folder: Path of the folder in it.

    Returns:
        A path to which names of files can be joined, or None.

    Raises:
        DataError: When an archive is damaged, or the only one found is compressed as a whole, other than by gzip.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 - links stay: the name counts
    own = root / folder
    if own.is_dir():
        return own
    for endings in (PLAIN, ENDINGS):
        for stem in (own, root):
            for ending in endings:
                path = stem.with_name(stem.name + ending)
                if path.is_file() and (inner := _inside(path, root.name, folder, stem == own)) is not None:
                    return path / inner
    for stem in (own, root):
        for ending, method in REFUSED.items():
            if (path := stem.with_name(stem.name + ending)).is_file():
                raise no_random_access(path, method)
    return None


def passed_over(folder: Path) -> Path | None:
    """The archive that is not read since a folder of its name stands beside it; None where there is none."""
    archives = (folder.with_name(folder.name + ending) for ending in (*PLAIN, *ENDINGS, *REFUSED))
    return next((path for path in archives if path.is_file()), None) if folder.name and folder.is_dir() else None


def container(path: Path) -> Path | None:
    """The archive file that a path leads into; None for what lies in folders."""
    found = _find_archive(path)
    return None if found is None else Path(found[0])


def innermost(path: str) -> str | None:
    """The longest part of a path, short of the whole, that is named like an archive; nothing is looked up."""
    ends = [match.end() for match in ENDING.finditer(path) if match.end() < len(path)]
    return path[: ends[-1]] if ends else None


def changed(folder: Path) -> int:
    """When a folder, or the archive that it lies in, was changed last, in nanoseconds; 0 where there is none."""
    try:
        return (container(folder) or Path(folder)).stat().st_mtime_ns
    except OSError:
        return 0


def _inside(path: Path, root: str, folder: str, own: bool) -> str | None:
    """Where in an archive a folder lies; ``own``: the archive is named after it."""
    places = [f"{root}/{folder}/", f"{folder}/", *([f"{Path(folder).name}/"] if own else [])]
    if own and is_compressed(path) and (place := _first(beginning(path), places)) is not None:
        return place
    archive, _ = inside_archive(path)
    assert archive is not None
    kept = (name for name in archive.index.top() if not name.startswith(BESIDES))
    top = [os.fsdecode(name) for name in islice(kept, 2)]
    shell = top[0] if len(top) == 1 and top[0].endswith("/") else ""
    if (place := _first(archive.index, [*places, f"{shell}{folder}/"])) is not None:
        return place
    return shell if own and any(True for _ in archive.index.folder(os.fsencode(shell))) else None


def _first(index: ArchiveIndex, places: list[str]) -> str | None:
    """The first of some folders that an archive has."""
    return next((place for place in places if any(True for _ in index.below(os.fsencode(place)))), None)


def inside_archive(path: Path) -> tuple[Archive | None, bytes]:
    """The archive that a path leads into, opened, and the name in it; None and nothing for what lies in folders.

    Raises:
        DataError: When the archive cannot be opened, or no single member be read from it.
    """
    found = _find_archive(path)
    if found is None:
        return None, b""
    head, status, member = found
    return _archives.get(head, stamp_of(status)), os.fsencode(member)


def _open(head: str) -> Archive:
    path = Path(head)
    if not is_compressed(path):
        return Archive(path)
    copy = plain_copy(path)
    try:
        return Archive(path, copy)
    except DataError:
        copy.unlink(missing_ok=True)  # whoever repairs the archive needs the room
        raise


def _find_archive(path: Path) -> tuple[str, os.stat_result, str] | None:
    """The first part of a path that is an archive file, what the file system says of it, and the rest of the path."""
    text = os.fspath(path)
    for match in ENDING.finditer(text):
        head = text[: match.end()]
        try:
            status = os.stat(head)  # noqa: PTH116 - a hundred thousand times a second
        except OSError:
            return None
        if stat.S_ISREG(status.st_mode):
            if (ending := match[0].lower()) in REFUSED:
                raise no_random_access(Path(head), REFUSED[ending])
            return head, status, text[match.end() + 1 :]
    return None


_archives = OpenArchives(_open)
