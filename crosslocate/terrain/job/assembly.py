"""Completing a data set, and verifying a complete one against what it says of itself."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

from crosslocate import __version__
from crosslocate.console import say
from crosslocate.terrain.elevation.describe import describe_terrain
from crosslocate.terrain.job.chunks import Chunk, cut
from crosslocate.terrain.job.manifest import FORMAT, MANIFEST, read_manifest
from crosslocate.terrain.job.opening import WORK, Job, copy_whole, write_text
from crosslocate.terrain.job.records import FOLDER, Records
from crosslocate.terrain.job.scene import World
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.job.storage import Storage, views_per_chunk

_LIBRARIES = ("numpy", "numba", "opencv-python-headless", "OpenEXR")


def assemble(job: Job) -> dict[str, Any]:
    """Put the catalogs in place and write the manifest of a job whose chunks are all done; may be called again."""
    for role in job.counts:
        copy_whole(job.work / f"{role}.parquet", job.root / f"{role}.parquet", job.drafts)
    job.storage.finish(job.root, job.world, job.images)
    _write(job.root, _manifest(job), job.drafts)
    clear_up(job.root)
    return read_manifest(job.root)


def complete_files(root: Path, storage: Storage, world: World, images: Images, description: Mapping[str, Any]) -> bool:
    """Write again what of a complete data set's own files (`Storage.files`) is missing or of another revision.

    Returns:
        Whether there was something to write.
    """
    manifest = read_manifest(root)
    if not storage.finish(root, world, images) and manifest["rendering"] == description:
        return False
    say(f"{root}: {', '.join(storage.files)} are written anew")
    changed = {"rendering": dict(description), "files": _digests(root, storage.files), "versions": _versions()}
    _write(root, manifest | changed, root)
    return True


def _manifest(job: Job) -> dict[str, Any]:
    records = {role: job.records.digest(chunk for chunk in job.chunks if chunk.role == role) for role in job.counts}
    return {
        "format": FORMAT,
        "rendering": dict(job.description),
        "terrain": describe_terrain(job.world.caster.terrain).to_json(),
        "survey": dict(job.findings),
        "counts": dict(job.counts),
        "views_per_chunk": views_per_chunk(job.storage),
        "catalogs": _digests(job.root, [f"{role}.parquet" for role in job.counts]),
        "files": _digests(job.root, job.storage.files),
        "checksums": {role: digest for role, (digest, _) in records.items()},
        "bytes": {role: size for role, (_, size) in records.items()},
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {"crosslocate": __version__} | {name: version(name) for name in _LIBRARIES}


def _digests(root: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: _sha256(root / name) for name in names}


def _write(root: Path, manifest: Mapping[str, Any], drafts: Path) -> None:
    write_text(root / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n", drafts)


def clear_up(root: Path) -> None:
    """Remove the folder of the work of a complete data set."""
    shutil.rmtree(root / WORK, ignore_errors=True)


def chunks_of(manifest: dict[str, Any]) -> list[Chunk]:
    """The chunks of a complete data set; none where it has no image files."""
    return cut(manifest["counts"], manifest["views_per_chunk"]) if manifest["views_per_chunk"] else []


def faults(root: Path, workers: int = 1) -> list[tuple[list[Chunk], str]]:
    """What of a complete data set is not as its manifest says, all files read: the chunks that it concerns, and a text.

    Raises:
        TerrainError: It is not complete.
    """
    manifest = read_manifest(root)
    found: list[tuple[list[Chunk], str]] = []
    for name, digest in (manifest["catalogs"] | manifest["files"]).items():
        path = root / name
        if not path.is_file() or _sha256(path) != digest:
            found.append(([], f"{path} is missing or has other content than was written"))
    records, chunks = Records(root, root), chunks_of(manifest)
    damaged = [([chunk], fault) for chunk, fault in records.damaged(chunks, contents=True, workers=workers)]
    for role, digest in manifest["checksums"].items():
        those = [chunk for chunk in chunks if chunk.role == role]
        if not damaged and records.digest(those)[0] != digest:
            found.append((those, f"{root / FOLDER / role} holds other records than the manifest speaks of"))
    return found + damaged


def require_whole(root: Path, workers: int) -> bool:
    """Verify a complete data set and say what was found; where something is damaged it is no longer called complete."""
    found = faults(root, workers)
    if not found:
        say(f"{root}: every file is as its checksum says")
        return True
    files = read_manifest(root)["files"]
    (root / MANIFEST).unlink()
    if any(not (root / name).is_file() or _sha256(root / name) != digest for name, digest in files.items()):
        for name in {PurePath(name).parts[0] for name in files}:  # folders are written as a whole
            _remove(root / name)
    for chunks, fault in found:
        say(f"{fault}; it is made again")
        for chunk in chunks:
            Records(root, root).remove(chunk)
    return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
