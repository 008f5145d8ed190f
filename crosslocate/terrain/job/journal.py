"""The diary of a rendering that may be killed at any moment: which files were finished, and what was in them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from crosslocate.terrain.job.manifest import require_same

Checksums = dict[str, int]
"""CRC-32 of a view's files, by modality."""


class Journal:
    """An append-only file of JSON lines: first the description of the job, then one line for each finished view.

    A line is written after the files it speaks of are in place. A last line cut short by a kill is dropped. A second
    start with another description is refused, since its images would not go together with those already there.

    Args:
        path: The journal file; created when missing.
        description: Everything that the images depend on, as plain JSON values.

    Raises:
        TerrainError: The journal belongs to another job; the message names what differs.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self.path = path
        self.finished: dict[str, Checksums] = {}
        lines = list(self._whole_lines())
        if lines:
            require_same(path, lines[0], description)
            self.finished = {line["view"]: line["files"] for line in lines[1:]}
        else:
            lines = [dict(description)]
        scratch = path.with_suffix(".new")
        scratch.write_text("".join(json.dumps(line) + "\n" for line in lines))
        scratch.replace(path)
        self._file: TextIO = path.open("a")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def record(self, view: str, files: Checksums) -> None:
        """Note that all files of a view are in place."""
        self.finished[view] = files
        self._file.write(json.dumps({"view": view, "files": files}) + "\n")
        self._file.flush()

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
