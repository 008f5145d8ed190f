"""What was written of a chunk: a small file with size and SHA-256 of all its files, whose presence says it is done.

Records stay with the finished data set, in ``checksums/<role>/<number>.json``. They hold nothing but what was written,
so that the same images give the same records, whoever rendered them and however often it was interrupted.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crosslocate.drafts import draft_of
from crosslocate.terrain.job.chunks import Chunk

FOLDER = "checksums"
Written = dict[str, tuple[int, str]]
"""Size in bytes and SHA-256 of files, by path relative to the data set."""


def settle(draft: Path, path: Path) -> tuple[int, str]:
    """Make a finished draft safe on the disk and put it in its place; returns its size and SHA-256."""
    with draft.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        os.fsync(file.fileno())
    draft.replace(path)
    return size, digest


class Records:
    """The records of a data set.

    Args:
        root: Folder of the data set.
        drafts: A folder on the same file system for drafts of records.
    """

    def __init__(self, root: Path, drafts: Path) -> None:
        self._root, self._drafts = Path(root), drafts

    def path(self, chunk: Chunk) -> Path:
        """File of a record."""
        return self._root / FOLDER / chunk.role / f"{chunk.label}.json"

    def write(self, chunk: Chunk, written: Mapping[str, tuple[int, str]]) -> None:
        """Say that all files of a chunk are in place; the record appears whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        path = self.path(chunk)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(self._drafts / f"{chunk.role}-{chunk.label}")
        try:
            draft.write_text(json.dumps({"views": len(chunk), "files": written}, sort_keys=True, indent=0) + "\n")
            settle(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def read(self, chunk: Chunk) -> Written | None:
        """What was written of a chunk; None where it is not done, or the record is damaged."""
        try:
            record = json.loads(self.path(chunk).read_text())
            files = {path: (int(size), str(digest)) for path, (size, digest) in record["files"].items()}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return files if record.get("views") == len(chunk) else None

    def remove(self, chunk: Chunk) -> None:
        """Say that a chunk is not done."""
        self.path(chunk).unlink(missing_ok=True)

    def done(self, chunks: Iterable[Chunk]) -> set[Chunk]:
        """Those that have a record: one look at each folder."""
        present: dict[str, set[str]] = {}
        found = set()
        for chunk in chunks:
            if chunk.role not in present:
                folder = self._root / FOLDER / chunk.role
                present[chunk.role] = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            if f"{chunk.label}.json" in present[chunk.role]:
                found.add(chunk)
        return found

    def damaged(self, chunks: Iterable[Chunk], *, contents: bool, workers: int) -> Iterator[tuple[Chunk, str]]:
        """Chunks among those with a record whose files are not what it says, and what is wrong with the first one.

        Args:
            chunks: Which to look at.
            contents: Read all files and compare checksums; else sizes are compared.
            workers: Threads.
        """
        chunks = list(chunks)
        with ThreadPoolExecutor(workers) as pool:
            for chunk, fault in zip(chunks, pool.map(lambda c: self._fault(c, contents), chunks), strict=True):
                if fault is not None:
                    yield chunk, fault

    def _fault(self, chunk: Chunk, contents: bool) -> str | None:
        written = self.read(chunk)
        if written is None:
            return f"{self.path(chunk)} is damaged"
        for name, (size, digest) in written.items():
            path = self._root / name
            try:
                found = path.stat().st_size
                if found != size:
                    return f"{path} has {found} bytes, not {size}"
                if contents:
                    with path.open("rb") as file:
                        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                            return f"{path} has other content than was written"
            except FileNotFoundError:
                return f"{path} is missing"
            except OSError as error:
                return f"{path} cannot be read: {error.strerror}"
        return None

    def digest(self, chunks: Iterable[Chunk]) -> tuple[str, int]:
        """SHA-256 over the records of some chunks in their order, and the bytes of all their files."""
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(self.path(chunk).read_bytes())
            size += sum(length for length, _ in (self.read(chunk) or {}).values())
        return digest.hexdigest(), size
