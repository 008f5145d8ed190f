"""The id under which a logger knows a run, kept in the run's folder."""

import os
import secrets
from pathlib import Path

from crosslocate.config.ranks import is_first_process


def kept_run_id(path: Path) -> str | None:
    """The id in a file, which the first process makes up when there is none; None on other processes.

    Args:
        path: The file; it appears complete, and before any server has heard of the id.
    """
    if not is_first_process():
        return None
    known = known_run_id(path)
    if known is None:
        known = secrets.token_hex(6)
        note_run_id(path, known)
    return known


def known_run_id(path: Path) -> str | None:
    """The id in a file; None where there is none, or an empty one."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def note_run_id(path: Path, run_id: str) -> None:
    """Keep an id; the file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_text(f"{run_id}\n", encoding="utf-8")
    draft.replace(path)
