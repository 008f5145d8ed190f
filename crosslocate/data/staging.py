"""Staging: copying the images of catalogs to a disk of this machine, once, before they are read many times.

Archives are copied as a whole, decompressed where they have to be; of several over which images are spread, those that
have one of the rows; of folders, the files that the catalogs name. Images that are rendered as they are read stay what
they are. A copy keeps size and time of its source, which is
how a source that changed is told from one that did not.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, compress, islice
from pathlib import Path
from threading import get_ident
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crosslocate.console import say, track
from crosslocate.data import storage
from crosslocate.data.archive import stamp_of
from crosslocate.data.catalog import Catalog
from crosslocate.data.catalog_paths import files, folder_of
from crosslocate.data.completeness import SHOWN, missing_files
from crosslocate.data.decompression import is_compressed, plain_copy, plain_path
from crosslocate.data.live import is_live
from crosslocate.data.locking import locked
from crosslocate.errors import ConfigError, DataError

COPIES_AT_ONCE = 8
"""Files copied at the same time: what small files on a network file system wait for is the network."""
TOGETHER, OF_A_THREAD = 1 << 12, 1 << 6
"""Files that are planned at once, in all and by one thread; memory grows by a byte a file."""
ROOM = 1 << 26
"""Bytes that are left free."""
FRESH, MISSING = -1, -2
"""Instead of the bytes of a file that has to be copied: it needs not, or it is not there."""

T = TypeVar("T")
Copy = tuple[str, str]


def stage(catalogs: Sequence[tuple[Catalog, Sequence[str]]], folder: Path) -> None:
    """Copy what is not yet there, or has changed since; may be interrupted at any time and called again.

    Args:
        catalogs: Catalogs, each with the modalities whose images will be read.
        folder: Where to; on a disk of this machine.

    Raises:
        DataError: When source files are missing, with their number and the first five; when an archive cannot be
            decompressed, or there is not enough room for that.
        ConfigError: When there is not enough room; says how much is needed and how much is free.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock"))  # processes of this machine wait for the one that copies
        except OSError as error:
            allowed = f"a folder to write to ({error.strerror}), or null"
            raise ConfigError("dataset.staging", str(folder), allowed) from None
        sources = _sources(catalogs, folder)
        for archive in sources.compressed:
            plain_copy(archive, folder)
        with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
            due = _due(sources, folder, threads)
            copies = compress(sources.copies(), due)
            done = chain.from_iterable(threads.map(_copy, batch) for batch in _batches(copies, TOGETHER))
            for _ in track(done, "Copying images", int(due.sum())):
                pass


def staged(catalog: Catalog, folder: Path) -> Catalog:
    """The catalog with its images where `stage` copies them to."""
    return replace(catalog, images={name: _staged_template(catalog, name, folder) for name in catalog.images})


def _staged_template(catalog: Catalog, modality: str, folder: Path) -> str:
    if is_live(catalog.template(modality)):
        return catalog.template(modality)
    base, rest = _source(catalog, modality)
    place = _place(base, folder)
    return f"{place}/{rest}" if rest else str(place)


@dataclass(frozen=True)
class _Sources:
    """What the images of catalogs lie in.

    Args:
        files: Source and target of archives, and of the indices beside them.
        compressed: Archives that have to be decompressed.
        folders: Catalogs of the images by source and target of a folder, and template in it.
    """

    files: dict[str, str]
    compressed: set[Path]
    folders: dict[tuple[Path, Path, str], list[Catalog]]

    def copies(self) -> Iterator[Copy]:
        """Source and target of every file, in the same order whenever it is asked for."""
        yield from self.files.items()
        for (base, place, template), catalogs in self.folders.items():
            for name in _relative(catalogs, template):
                yield f"{base}/{name}", f"{place}/{name}"


def _relative(catalogs: Sequence[Catalog], template: str) -> Iterator[str]:
    """What a template stands for in the rows of catalogs, each once: splits may share images."""
    parts: Iterator[pa.Array] = chain.from_iterable(_filled_in(catalog, template) for catalog in catalogs)
    if len(catalogs) > 1:
        different = pa.chunked_array(list(parts), pa.string()).unique()
        parts = (different.slice(start, TOGETHER) for start in range(0, len(different), TOGETHER))
    for part in parts:
        yield from part.to_pylist()


def _filled_in(catalog: Catalog, template: str) -> Iterator[pa.Array]:
    for start in range(0, len(catalog), TOGETHER):
        yield files(catalog.path, template, catalog.table.slice(start, TOGETHER))


def _sources(catalogs: Iterable[tuple[Catalog, Sequence[str]]], folder: Path) -> _Sources:
    found = _Sources({}, set(), {})
    for catalog, modalities in catalogs:
        for modality in modalities:
            if is_live(catalog.template(modality)):
                continue
            base, rest = _source(catalog, modality)
            place = _place(base, folder)
            if storage.container(base) is not None:
                _add_archive(found, base, place)
            elif shards := _shards(catalog, base, rest):
                for shard in shards:
                    _add_archive(found, base / shard, place / shard, folder)
            else:
                found.folders.setdefault((base, place, rest), []).append(catalog)
    return found


def _add_archive(found: _Sources, archive: Path, place: Path, shards_into: Path | None = None) -> None:
    if archive.is_file() and is_compressed(archive):
        if shards_into is not None:
            allowed = f"null, or shards that are not compressed as a whole ({archive} is)"
            raise ConfigError("dataset.staging", str(shards_into), allowed)
        found.compressed.add(archive)
        return
    index = archive.with_name(f".{archive.name}.index")
    found.files[str(archive)] = str(place)
    if index.is_file():
        found.files[str(index)] = str(place.with_name(index.name))


def _shards(catalog: Catalog, base: Path, template: str) -> list[str]:
    """The archives below a folder that the rows of a catalog are spread over; none where they are plain files."""
    shard = storage.innermost(template)
    if shard is None:
        return []
    different = dict.fromkeys(name for part in _filled_in(catalog, shard) for name in part.unique().to_pylist())
    return list(different) if any(storage.container(base / name) for name in different) else []


def _source(catalog: Catalog, modality: str) -> tuple[Path, str]:
    """The archive, or the folder, that a modality's files lie in, and their template from there on."""
    template = os.path.abspath(catalog.root / catalog.template(modality))  # noqa: PTH100 - links are not followed
    archive = storage.container(Path(template))
    if archive is not None:
        return archive, template[len(str(archive)) + 1 :]
    fixed = folder_of(template)
    return Path(fixed), template[len(fixed) + 1 :]


def _place(base: Path, folder: Path) -> Path:
    """Where an archive or a folder is copied to."""
    if storage.container(base) is not None and is_compressed(base):
        return plain_path(base, folder)
    return folder / hashlib.blake2b(os.fsencode(base), digest_size=6).hexdigest() / base.name


def _due(sources: _Sources, folder: Path, threads: ThreadPoolExecutor) -> NDArray[np.bool_]:
    """Which of the copies have to be made: those whose target is missing or is not of the source's size and time."""
    due, needed, missing, shown = [np.zeros(0, bool)], 0, 0, list[str]()
    for batch in _batches(sources.copies(), TOGETHER):
        pieces = list(_batches(batch, OF_A_THREAD))
        sizes = np.fromiter(chain.from_iterable(threads.map(_bytes_due, pieces)), np.int64, len(batch))
        absent = np.flatnonzero(sizes == MISSING).tolist()
        missing += len(absent)
        shown += [batch[k][0] for k in absent[: SHOWN - len(shown)]]
        due.append(sizes >= 0)
        needed += int(sizes[sizes >= 0].sum())
    if missing:
        raise missing_files(missing, shown, map(Path, shown))
    flags = np.concatenate(due)
    if flags.any():
        _require_room(int(flags.sum()), needed, folder)
    return flags


def _bytes_due(copies: Sequence[Copy]) -> list[int]:
    """The size of each file that has to be copied; `FRESH` and `MISSING` instead of others'."""
    return [_bytes_of(source, target) for source, target in copies]


def _bytes_of(source: str, target: str) -> int:
    try:
        now = stamp_of(os.stat(source))  # noqa: PTH116 - millions of times
    except OSError:
        return MISSING
    try:
        return FRESH if stamp_of(os.stat(target)) == now else now[0]  # noqa: PTH116
    except OSError:
        return now[0]


def _require_room(count: int, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + ROOM > free:
        allowed = f"a folder with {needed + ROOM:,} bytes free ({free:,} are), or null"
        raise ConfigError("dataset.staging", str(folder), allowed)
    say(f"{count:,} files, {needed / 1e9:.2f} GB, are copied to {folder}")


def _copy(copy: Copy) -> None:
    """Copy one file with its time; it appears complete or not at all."""
    source, target = map(Path, copy)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{get_ident()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        status = source.stat()
        shutil.copyfile(source, temporary)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"{source} cannot be copied to {target}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
