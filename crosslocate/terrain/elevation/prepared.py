"""Prepared terrains: a folder that holds the arrays of a terrain, which are mapped into memory and not read.

``posts.f32`` and ``tops.f32`` are the flat arrays (little-endian float32; see `sheets`). ``header.json`` says where the
layers lie, how large the files are and what their SHA-256 is, and what was found when the terrain was made; it carries
a SHA-256 of itself. A folder appears under its name when it is complete, and is never changed again.
"""

import hashlib
import json
import mmap
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from crosslocate.drafts import draft_of, remove_abandoned
from crosslocate.errors import TerrainError, UnwritableError
from crosslocate.terrain.elevation.describe import describe_terrain
from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS, Sheets, plan_sheets
from crosslocate.terrain.elevation.summary import TerrainSummary, size_text
from crosslocate.terrain.elevation.terrain import Terrain

FORMAT = 2
HEADER, POSTS, TOPS = "header.json", "posts.f32", "tops.f32"

NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""A private mapping larger than the memory is allowed; newer Pythons have a name for it."""

Array = NDArray[np.float32]


def is_prepared(folder: Path) -> bool:
    """Whether a folder looks like a prepared terrain."""
    return (folder / HEADER).is_file() and (folder / POSTS).is_file()


def save_terrain(terrain: Terrain, folder: Path | str) -> Path:
    """Write a terrain into a folder; one that is there and holds the same terrain stays.

    The files of a terrain that was prepared already are linked where the file system allows it, else copied.

    Raises:
        UnwritableError: The folder holds something else, or cannot be written.
        TerrainError: The terrain comes from a prepared one that is damaged.
    """
    folder = Path(folder)
    if folder.exists():
        if is_prepared(folder) and load_terrain(folder).fingerprint() == terrain.fingerprint():
            return folder
        raise UnwritableError(f"{folder} is there already, and is not the prepared form of this terrain")
    places = [(dem.transform, dem.crs) for dem in terrain.layers]
    with drafted(folder) as draft:
        if terrain.folder is not None:
            for name in (POSTS, TOPS):
                _link(terrain.folder / name, draft / name)
        else:
            for name, array in ((POSTS, terrain.posts), (TOPS, terrain.tops)):
                np.asarray(array, "<f4").tofile(draft / name)
        write_header(draft, places, terrain.sheets, describe_terrain(terrain))
        if terrain.folder is not None and _sums_of(draft) != _sums_of(terrain.folder):
            require_undamaged(terrain.folder)
    return folder


def load_terrain(folder: Path | str, *, verify: bool = False) -> Terrain:
    """Map a prepared terrain. Its posts are read when they are looked at, and memory is given back when it is short.

    Args:
        folder: Where it is.
        verify: Read all of it first, and compare checksums.

    Raises:
        TerrainError: It is incomplete, damaged, or of another version; says what to do.
    """
    folder = Path(folder)
    if verify:
        require_undamaged(folder)
    content = _read_header(folder)
    sheets = plan_sheets([(layer["rows"], layer["columns"]) for layer in content["summary"]["layers"]])
    if content["block_levels"] != BLOCK_LEVELS or (content["posts"], content["tops"]) != (sheets.posts, sheets.tops):
        raise TerrainError(f"prepared terrain {folder} has another arrangement of posts; remove it, it is made again")
    arrays = [_mapped(folder / name, count) for name, count in ((POSTS, sheets.posts), (TOPS, sheets.tops))]
    places = [(Affine(*place["transform"]), str(place["crs"])) for place in content["places"]]
    summary = TerrainSummary.from_json(content["summary"], str(folder))
    return Terrain.mapped(places, arrays[0], arrays[1], sheets, summary, folder.absolute())


def require_undamaged(folder: Path) -> None:
    """Read all of a prepared terrain and compare it with its checksums.

    Raises:
        TerrainError: A file is missing, or has other content than was written.
    """
    for name, digest in _read_header(folder)["checksums"].items():
        try:
            found = _sha256(folder / name)
        except OSError as error:
            raise _damage(folder, f"{name}: {error.strerror}") from None
        if found != digest:
            raise _damage(folder, f"{name} has other content than was written")


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """A draft of a prepared terrain to write into, which takes the folder's name when the block ends without an error.

    Raises:
        UnwritableError: It cannot be written.
    """
    draft = draft_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        draft.mkdir()
        yield draft
        for path in (*draft.iterdir(), draft):
            _to_disk(path)
        draft.rename(folder)
        _to_disk(folder.parent)
    except OSError as error:
        raise UnwritableError(f"the prepared terrain {folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_arrays(draft: Path, sheets: Sheets) -> Iterator[tuple[Array, Array, Callable[[], None]]]:
    """The two arrays of a terrain, mapped from new files of a draft, and a function that takes them out of memory.

    Raises:
        UnwritableError: The disk has no room for them.
    """
    need, free = 4 * (sheets.posts + sheets.tops), shutil.disk_usage(draft).free
    if need > free:
        raise UnwritableError(
            f"the prepared terrain takes {size_text(need)}, and {draft.parent} has {size_text(free)} left; give a "
            "smaller terrain.elevation.region or halo, or another terrain.elevation.cache"
        )
    maps = []
    try:
        for name, count in ((POSTS, sheets.posts), (TOPS, sheets.tops)):
            with (draft / name).open("w+b") as file:
                file.truncate(4 * count)
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, 4 * count)  # a full disk is an error now, not a signal later
                maps.append(mmap.mmap(file.fileno(), 4 * count))

        def release() -> None:
            for mapped in maps:
                mapped.madvise(mmap.MADV_DONTNEED)  # a shared mapping: what was written stays, in the file

        posts, tops = (np.frombuffer(mapped, "<f4") for mapped in maps)
        yield posts, tops, release
        for mapped in maps:
            mapped.flush()
    finally:
        for mapped in maps:
            with suppress(BufferError):  # views that an error's traceback still holds
                mapped.close()


def write_header(draft: Path, places: list[tuple[Affine, str]], sheets: Sheets, summary: TerrainSummary) -> None:
    """Write what `load_terrain` needs beside the arrays."""
    content = {
        "format": FORMAT,
        "block_levels": BLOCK_LEVELS,
        "posts": sheets.posts,
        "tops": sheets.tops,
        "checksums": _checksums(draft),
        "places": [{"transform": list(transform)[:6], "crs": crs} for transform, crs in places],
        "summary": replace(summary, folder=None).to_json(),
    }
    (draft / HEADER).write_text(json.dumps({"sha256": _digest(content), "content": content}, indent=1))


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header = json.loads(path.read_text())
        content: dict[str, Any] = header["content"]
        whole = header["sha256"] == _digest(content)
    except FileNotFoundError:
        raise TerrainError(f"{folder} is no prepared terrain: it has no {HEADER}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TerrainError(f"the prepared terrain {folder} is damaged: {path.name}: {error!r}; remove it") from error
    if not whole:
        raise TerrainError(f"the prepared terrain {folder} is damaged: the checksum of {HEADER} is wrong; remove it")
    if content["format"] != FORMAT:
        raise TerrainError(
            f"the prepared terrain {folder} has format {content['format']}, this version reads {FORMAT}; remove it, it "
            "is made again"
        )
    return content


def _damage(folder: Path, what: str) -> TerrainError:
    return TerrainError(f"the prepared terrain {folder} is damaged: {what}; remove it, it is made again")


def _sums_of(folder: Path) -> dict[str, str]:
    """What a header says of the arrays."""
    return dict(_read_header(folder)["checksums"])


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the arrays of a folder."""
    return {name: _sha256(folder / name) for name in (POSTS, TOPS)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _mapped(path: Path, count: int) -> Array:
    """An array mapped from a file; compiled code takes it like one in memory because it could be written to.

    What were written would stay private to the process, so the file is safe.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != 4 * count:
                raise TerrainError(
                    f"the prepared terrain {path.parent} is damaged: {path.name} has {size} bytes, not {4 * count}; "
                    "remove it"
                )
            flags, access = mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            return np.frombuffer(mmap.mmap(file.fileno(), 4 * count, flags=flags, prot=access), "<f4")
    except OSError as error:
        raise TerrainError(f"the prepared terrain {path.parent} cannot be read: {error}") from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
