"""Names for what is being written; they say which process writes it, so that no draft stays for ever."""

import glob
import os
import secrets
import shutil
import socket
from pathlib import Path


def draft_of(path: Path) -> Path:
    """A new hidden name beside ``path``, for a file or a folder that this process writes and then renames."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}")


def remove_abandoned(path: Path) -> None:
    """Remove drafts of ``path`` by processes of this machine that were killed: they may fill the disk."""
    for draft in path.parent.glob(glob.escape(f".{path.name}.{socket.gethostname()}.") + "*.*"):
        process = draft.name.split(".")[-2]
        if process.isdecimal() and not _lives(int(process)):
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
