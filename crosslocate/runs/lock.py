"""One process trains in a folder at a time.

The lock is a POSIX record lock on ``run.lock``: the kernel lets go of it when the process ends, in whatever way, child
processes do not inherit it, and network file systems pass it on to other machines.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crosslocate.config.folders import restarted
from crosslocate.console import say
from crosslocate.errors import ConfigError

FILE = "run.lock"
PATIENCE = 1.0
"""Seconds to try for: somebody who asks `is_running` holds the lock for an instant."""
LEASE = 300.0
"""Seconds to try for in a job that was started again: of a machine that failed, a network file system keeps the locks
for minutes."""
_TAKEN = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold the lock of a run's folder.

    Raises:
        ConfigError: Another process trains there; names it.
    """
    path = _file(folder)
    if path in _held:
        raise _refused(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(descriptor, path)
        _held.add(path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        yield
    finally:
        _held.discard(path)
        os.close(descriptor)


def is_running(folder: str | Path) -> bool:
    """Whether a process, of this or another machine, is at work in a run's folder."""
    path = _file(folder)
    if path in _held:  # closing any descriptor of the file would let go of this process's own lock
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _TAKEN
    finally:
        os.close(descriptor)
    return False


def require_free(folder: str | Path) -> None:
    """Refuse a folder in which a process is at work, and stays.

    Raises:
        ConfigError: Names the process.
    """
    _await(lambda: not is_running(folder), _file(folder))


def holder(folder: str | Path) -> dict[str, Any]:
    """``pid`` and ``host`` of the process that holds, or last held, the lock; empty where that is not known."""
    path = _file(folder)
    if path in _held:
        return _this_process()
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _take(descriptor: int, path: Path) -> None:
    def taken() -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            say(f"{path}: this file system has no locks ({error.strerror}): take care that one process trains here")
        return True

    _await(taken, path)


def _await(free: Callable[[], bool], path: Path) -> None:
    """Wait until a lock is free, for `PATIENCE`; in a job that was started again, for `LEASE`, which is said.

    Raises:
        ConfigError: It is still held; names the process.
    """
    begin = time.monotonic()
    patience, told = LEASE if restarted() else PATIENCE, False
    while not free():
        waited = time.monotonic() - begin
        if waited >= patience:
            raise _refused(path)
        if waited >= PATIENCE and not told:
            say(f"{path} is held by {_who(path)}; if its machine failed, that ends by itself: waiting {patience:.0f} s")
            told = True
        time.sleep(0.05 if waited < PATIENCE else 1.0)


def _refused(path: Path) -> ConfigError:
    allowed = "a folder in which no other process trains"
    return ConfigError("paths.run", str(path.parent), allowed, f"There is {_who(path)}")


def _who(path: Path) -> str:
    known = holder(path.parent)
    return f"process {known.get('pid', '?')} on {known.get('host', '?')}"


def _file(folder: str | Path) -> Path:
    return Path(folder).resolve() / FILE
