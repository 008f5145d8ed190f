"""The record of a run, ``run.json``: what was run, with what, on what, and how it ended."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from crosslocate.errors import CheckpointError

FILE = "run.json"
FORMAT = 1
STATUSES = ("running", "finished", "failed", "stopped")
"""A run that was killed stays ``running``: `crosslocate.runs.lock.is_running` tells whether anybody still runs it."""
REQUIRED = {"name": str, "status": str, "overrides": list, "fingerprints": dict, "sessions": list, "config": dict}


class RunRecord:
    """The record of one run, for the process that writes it.

    Args:
        folder: Folder of the run.
        content: As in the file; every change is written at once.
    """

    def __init__(self, folder: str | Path, content: Mapping[str, Any]) -> None:
        self.folder, self.content = Path(folder), dict(content)

    def update(self, **changes: Any) -> None:
        """Change entries of the record, and write it."""
        self.content.update(changes)
        self.write()

    def write(self) -> None:
        """Write the file; it appears complete or not at all, and is on the disk when this returns."""
        write_whole(self.folder / FILE, json.dumps(self.content, indent=2, default=str) + "\n")


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """The record of a run; None where there is none.

    Args:
        folder: Folder of the run, or the file itself.

    Raises:
        CheckpointError: The record is damaged or of another format.
    """
    path = Path(folder)
    path = path / FILE if path.is_dir() else path
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged and cannot be read ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} has format {found!r}; this version reads format {FORMAT}")
    wrong = [key for key, kind in REQUIRED.items() if not isinstance(content.get(key), kind)]
    if wrong or content["status"] not in STATUSES:
        raise CheckpointError(f"{path} is damaged: {', '.join(wrong) or 'status'} is missing or of another kind")
    return content


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is the old one or the new one at any moment, also when the machine fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def now() -> str:
    """This moment, with the offset from universal time: ``2026-01-31T12:00:00+01:00``."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
