"""Drafts: files and folders that others are written as before they appear in their place."""

import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

LEFT = 86_400.0
"""Seconds from its last change on after which a draft of another machine is one that a killed process left."""


def draft_of(path: Path) -> Path:
    """A hidden name beside a file or folder, which no other process or thread takes, on this machine or another."""
    return path.with_name(f"{_stem(path)}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def remove_abandoned(path: Path) -> None:
    """Remove drafts of a file or folder that killed processes left, where that is allowed: they may fill the disk.

    Of this machine's, those whose process is gone; of others', which cannot be asked, those that are old.
    """
    own = re.compile(re.escape(_stem(path)) + r"\.(.+)\.(\d+)\.[0-9a-f]{8}\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if (found := own.fullmatch(entry.name)) and _is_abandoned(entry, found[1], int(found[2])):
                _remove(Path(entry.path))


def _is_abandoned(entry: os.DirEntry[str], host: str, process: int) -> bool:
    if host == socket.gethostname():
        return not _lives(process)
    try:
        return time.time() - entry.stat().st_mtime > LEFT
    except OSError:  # somebody was faster
        return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()


def _stem(path: Path) -> str:
    return f".{path.name.removeprefix('.')}"
