"""Relations kept on disk: found once for two catalogs and their thresholds, then memory-mapped.

One folder an entry, named after a fingerprint of everything that relations depend on. It holds the four arrays of
`Relations` as .npy files, and ``header.json``: the same things in plain words, and the CRC-32 of each file. An entry
appears whole or not at all, so any number of processes may share the cache. Whatever does not fit its header is found
again. Entries may be deleted at any time.
"""

import hashlib
import json
import logging
import secrets
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from crosslocate.data.catalog import Catalog
from crosslocate.data.distance import PlaceDistance
from crosslocate.data.relations import Csr, Relations, relate

log = logging.getLogger(__name__)

RELATIONS = ("positives", "nonnegatives")
FORMAT = 1
"""Goes up when the files change, and when `relate` finds something else for the same thresholds."""
HEADER = "header.json"
FILES = {f"{relation}_{part}.npy": (relation, part) for relation in RELATIONS for part in ("indptr", "indices")}
WORTHWHILE = 1 << 30
"""Queries x views; fewer are related in less time than their fingerprints take."""
_PIECE = 1 << 20


class RelationCache:
    """Finds relations as `relate` does, or reads those that were found before.

    Args:
        folder: Of the entries; made when the first is kept. None: nothing is kept.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._kept = folder is not None

    def __call__(
        self,
        queries: Catalog,
        database: Catalog,
        *,
        positive_distance: float,
        positive_heading: float | None,
        negative_distance: float,
        model: PlaceDistance,
    ) -> Relations:
        """The relations of two catalogs; arguments and errors as of `relate`.

        The arrays of large ones are read-only maps of files. A cache that cannot be written is said once, in a warning.
        """
        thresholds: dict[str, Any] = {
            "positive_distance": float(positive_distance),
            "positive_heading": None if positive_heading is None else float(positive_heading),
            "negative_distance": float(negative_distance),
        }
        if self.folder is None or len(queries) * len(database) < WORTHWHILE or not _told_by_its_fields(model):
            return relate(queries, database, model=model, **thresholds)
        key = {"format": FORMAT, **thresholds, **_identity(queries, database, model)}
        entry = self.folder / hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=16).hexdigest()
        if (found := _opened(entry, key, len(queries))) is not None:
            return found
        relations = relate(queries, database, model=model, **thresholds)
        if self._kept:
            self._keep(relations, entry, key)
            return _opened(entry, key, len(queries)) or relations
        return relations

    def _keep(self, relations: Relations, entry: Path, key: dict[str, Any]) -> None:
        draft = _beside(entry)
        try:
            draft.mkdir(parents=True)
            sums = {}
            for name, (relation, part) in FILES.items():
                np.save(draft / name, getattr(getattr(relations, relation), part), allow_pickle=False)
                sums[name] = _checksum(draft / name)
            (draft / HEADER).write_text(json.dumps({"key": key, "crc32": sums}, indent=1) + "\n", encoding="utf-8")
            _publish(draft, entry)
        except OSError as error:
            self._kept = False
            log.warning(
                "relations cannot be kept in %s (%s) and are found anew by every run; free space, or set "
                "dataset.relations_cache to a folder that can be written, or to null",
                self.folder, error.strerror or error,
            )  # fmt: skip
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _told_by_its_fields(model: PlaceDistance) -> bool:
    """Whether a distance is a dataclass itself, rather than a class below one that may have settings of its own."""
    return "__dataclass_fields__" in vars(type(model))


def _identity(queries: Catalog, database: Catalog, model: PlaceDistance) -> dict[str, Any]:
    """What relations depend on besides thresholds, as plain values."""
    settings = {field: getattr(model, field) for field in model.__dataclass_fields__}  # type: ignore[attr-defined]
    positions = hashlib.blake2b(digest_size=16)  # which the fingerprints of catalogs cover for some models only
    for catalog in (queries, database):
        for values in model.coordinates(catalog):
            positions.update(np.ascontiguousarray(values).data)
    return {
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "settings": repr(settings),
        "rows": [len(queries), len(database)],
        "catalogs": [queries.fingerprint(), database.fingerprint()],
        "positions": positions.hexdigest(),
    }


def _opened(entry: Path, key: dict[str, Any], queries: int) -> Relations | None:
    """The relations of an entry; None where there is none, or, with a warning, where it was damaged and is removed."""
    try:
        seen = entry.stat().st_ino
    except OSError:  # also where one may not even look
        return None
    try:
        header = json.loads((entry / HEADER).read_text(encoding="utf-8"))
        if header["key"] != key:
            raise ValueError("it says that it belongs to other catalogs or thresholds")
        for name in FILES:
            if _checksum(entry / name) != header["crc32"][name]:
                raise ValueError(f"the checksum of {name} is wrong")
        positives, nonnegatives = (_csr(entry, name, queries) for name in RELATIONS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        log.warning("relations in %s cannot be used (%s); they are found anew", entry, error)
        _discard(entry, seen)
        return None
    return Relations(positives, nonnegatives)


def _csr(entry: Path, name: str, queries: int) -> Csr:
    indptr, indices = (
        np.asarray(np.load(entry / f"{name}_{part}.npy", mmap_mode="r", allow_pickle=False))
        for part in ("indptr", "indices")
    )
    fits = indptr.dtype == np.int64 and indices.dtype == np.int32 and indptr.shape == (queries + 1,)
    if not fits or indices.ndim != 1 or indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise ValueError(f"{name} are no lists of {queries} queries")
    return Csr(indptr, indices)


def _publish(draft: Path, entry: Path) -> None:
    try:
        draft.rename(entry)
    except OSError:
        if not entry.exists():  # else another process was first, with the same
            raise


def _discard(entry: Path, seen: int) -> None:
    """Remove what cannot be used, where that is allowed, unless another process put a new entry in its place."""
    rest = _beside(entry)
    with suppress(OSError):
        if entry.stat().st_ino == seen:
            entry.rename(rest)
            shutil.rmtree(rest)


def _beside(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.{secrets.token_hex(8)}")


def _checksum(file: Path) -> int:
    """CRC-32 of a file, read in pieces, so that none of it stays mapped."""
    total = 0
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            total = zlib.crc32(piece, total)
    return total
