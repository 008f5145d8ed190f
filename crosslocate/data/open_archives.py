"""The archives that a process has open: found again by their path, renewed when they change, not more than so many."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

from crosslocate.data.archive import Archive, Stamp

MOST_OPEN = 256
"""Archives that stay open. Each has a file descriptor, of which a process has 1,024 on most systems, and an index."""


class OpenArchives:
    """Archives by path, the one used last at the end; any thread may ask, and forked processes go on with their own.

    Args:
        make: Opens an archive.
        most: How many stay open. One that is left out is closed when nobody reads from it any more.
    """

    def __init__(self, make: Callable[[str], Archive], most: int = MOST_OPEN) -> None:
        self._make, self._most = make, most
        self._kept: OrderedDict[str, tuple[Stamp, Archive]] = OrderedDict()
        self._renew_locks()
        os.register_at_fork(after_in_child=self._renew_locks)

    def get(self, path: str, stamp: Stamp) -> Archive:
        """The archive of a path in the state that a stamp describes.

        Threads that ask for the same one at the same time wait for the first of them, which looks for its members.

        Raises:
            DataError: When it cannot be opened.
        """
        with self._lock:
            if (found := self._find(path, stamp)) is not None:
                return found
            door = self._doors.setdefault(path, threading.Lock())
        with door:
            with self._lock:
                found = self._find(path, stamp)
            if found is None:
                found = self._open(path, stamp)
        return found

    def clear(self) -> None:
        """Close all that nobody reads from."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _find(self, path: str, stamp: Stamp) -> Archive | None:
        known, archive = self._kept.get(path, (None, None))
        if archive is None or known != stamp:
            return None
        self._kept.move_to_end(path)
        return archive

    def _open(self, path: str, stamp: Stamp) -> Archive:
        try:
            archive = self._make(path)
            with self._lock:
                self._kept[path] = stamp, archive
                self._kept.move_to_end(path)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        finally:
            self._doors.pop(path, None)
        return archive

    def _renew_locks(self) -> None:
        """A lock that another thread held when this process was forked would never be released in it."""
        self._lock = threading.Lock()
        self._doors: dict[str, threading.Lock] = {}
