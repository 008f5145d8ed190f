"""Reading files ahead of their use, several at the same time, where a single one takes long to come."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crosslocate.data.archive import Content
from crosslocate.data.requests import Request, read_one, requests

SLOW = 0.0005
"""Seconds of a read from which on others are worth a thread. A file that the system has in memory takes a tenth."""
WINDOW = 64
"""Files whose reads are planned together."""
MOST_BYTES = 1 << 26
"""Bytes that may wait to be used before no further read begins."""


class ReadAhead:
    """Reads files in the order that they are used in, and, where reading is slow, others while one is being used.

    What comes is the same in any case, and in the same order. Every batch begins with a file that is read when it is
    needed; from the first that took longer than `SLOW` on, threads read those that follow. Archives are opened in the
    same way. Threads are made at first use, by every process for itself. No more wait to be used than ``reads`` reads
    give, of one file or of archive members of at most 2 MiB together, and none begins while `MOST_BYTES` wait.

    Args:
        reads: Reads under way or waiting at the same time; 0 reads every file when it is needed.
    """

    def __init__(self, reads: int) -> None:
        self.reads = reads
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    def contents(self, paths: Sequence[Path]) -> Generator[Content, None, None]:
        """The content of every path in turn, or why it cannot be read; close the iterator to leave early."""
        if not self.reads:
            yield from map(read_one, paths)
            return
        arrivals = _Arrivals(self._planned(paths), self.reads, self._pool)
        try:
            for place in range(len(paths)):
                yield arrivals.take(place)
        finally:
            arrivals.cancel()

    def _planned(self, paths: Sequence[Path]) -> Iterator[Request]:
        for start in range(0, len(paths), WINDOW):
            for request in requests(paths[start : start + WINDOW], self._together):
                yield Request([start + place for place in request.places], request.read)

    def _together(self, work: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        """Results in order; from the first that takes longer than `SLOW` on, by threads."""
        remaining = deque(values)
        while remaining:
            begin = time.perf_counter()
            result = work(remaining.popleft())
            slow = time.perf_counter() - begin > SLOW
            yield result
            if slow and len(remaining) > 1:
                yield from self._pool().map(work, remaining)
                return

    def _pool(self) -> ThreadPoolExecutor:
        """The threads of this process: those of the process that it was forked from do not run here."""
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = os.getpid(), ThreadPoolExecutor(self.reads, thread_name_prefix="read-ahead")
        return self._threads[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_threads": None}


class _Arrivals:
    """What was asked for and has not been used."""

    def __init__(self, planned: Iterator[Request], reads: int, pool: Callable[[], ThreadPoolExecutor]) -> None:
        self._planned, self._reads, self._pool = planned, reads, pool
        self._arrived: dict[int, Content] = {}
        self._under_way: deque[tuple[Request, Future[Sequence[Content]]]] = deque()
        self._slow = False

    def take(self, place: int) -> Content:
        """The content of a path; places are taken in ascending order."""
        while place not in self._arrived:
            self._begin()
            if self._under_way:
                request, future = self._under_way.popleft()
                contents = future.result()
            else:
                request, contents = self._directly()
            self._arrived.update(zip(request.places, contents, strict=True))
        self._begin()
        return self._arrived.pop(place)

    def cancel(self) -> None:
        """Begin no read any more."""
        for _, future in self._under_way:
            future.cancel()

    def _directly(self) -> tuple[Request, Sequence[Content]]:
        begin = time.perf_counter()
        request = next(self._planned)
        contents = request.read()
        self._slow = time.perf_counter() - begin > SLOW
        return request, contents

    def _begin(self) -> None:
        """Hand further reads to the threads."""
        while self._slow and len(self._under_way) < self._reads and self._waiting() < MOST_BYTES:
            request = next(self._planned, None)
            if request is None:
                return
            self._under_way.append((request, self._pool().submit(request.read)))

    def _waiting(self) -> int:
        done = (future.result() for _, future in self._under_way if future.done() and future.exception() is None)
        return _bytes(self._arrived.values()) + sum(map(_bytes, done))


def _bytes(contents: Iterable[Content]) -> int:
    return sum(len(content) for content in contents if isinstance(content, bytes))
