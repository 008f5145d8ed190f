"""Drafts: the files that others are written as before they appear in their place."""

import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

LEFT = 86_400.0
"""Seconds from its last change on after which a draft is one that a killed process left."""


def draft_of(path: Path) -> Path:
    """A hidden name beside a file, which no other process or thread takes, on this machine or another."""
    return path.with_name(f"{_stem(path)}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def remove_left(path: Path) -> None:
    """Remove the drafts of a file that killed processes left, where that is allowed."""
    own = re.compile(re.escape(_stem(path)) + r"\.\d+(\.[0-9a-f]{8})?\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if own.fullmatch(entry.name):
                with suppress(OSError):
                    if time.time() - entry.stat().st_mtime > LEFT:
                        Path(entry.path).unlink()


def _stem(path: Path) -> str:
    return f".{path.name.removeprefix('.')}"
