"""How many files are read with few reads: files of folders one by one, members of an archive with their neighbours."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crosslocate.data import storage
from crosslocate.data.archive import Archive, Content
from crosslocate.errors import DataError


@dataclass(frozen=True)
class Request:
    """Files that are read in one go.

    Args:
        places: Which of the paths asked for they are, ascending.
        read: Gives their contents, in that order; of what cannot be read, the error.
    """

    places: Sequence[int]
    read: Callable[[], Sequence[Content]]


def requests(paths: Sequence[Path], together: Callable[..., Iterable[Any]] = map) -> list[Request]:
    """The reads that some files take, that of the first path first. Archives are opened, and nothing read from them.

    Args:
        paths: Files, which may be members of archives.
        together: Opens several archives: `map`, or the same, with threads where that is worth it.
    """
    found, inside = list[Request](), dict[str, list[int]]()
    for place, path in enumerate(paths):
        archive = storage.innermost(os.fspath(path))
        if archive is None:
            found.append(_single(place, path))
        else:
            inside.setdefault(archive, []).append(place)
    for places, opened in zip(inside.values(), together(_opened, inside), strict=True):
        if opened is None:
            found += [_single(place, paths[place]) for place in places]
        else:
            found += _members(paths, places, *opened)
    return sorted(found, key=lambda request: request.places[0])


def read_one(path: Path) -> Content:
    """Content of a file, or why it cannot be read."""
    try:
        return storage.read_bytes(path)
    except DataError as error:
        return error


def _single(place: int, path: Path) -> Request:
    return Request((place,), lambda: (read_one(path),))


def _opened(path: str) -> tuple[Archive, str] | None:
    """The archive that a path leads into, and its own path; None where there is none, or it cannot be opened."""
    try:
        archive, member = storage.inside_archive(Path(path))
    except DataError:
        return None  # whoever reads from it hears why
    return None if archive is None else (archive, path[: len(path) - len(os.fsdecode(member))].rstrip("/"))


def _members(paths: Sequence[Path], places: Sequence[int], archive: Archive, head: str) -> list[Request]:
    names = [os.fsencode(os.fspath(paths[place])[len(head) + 1 :]) for place in places]
    members = [(name, archive.index.find(name)) for name in names]
    return [
        Request([places[k] for k in group], partial(archive.read_together, [members[k] for k in group]))
        for group in archive.neighbours(members)
    ]
