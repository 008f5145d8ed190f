"""Writes descriptors to a store in a thread, while the next ones are made."""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from crosslocate.retrieval.store import DescriptorStore

AHEAD = 4
"""Batches that may wait to be written; whoever brings more waits for the thread."""

Arrival = Callable[[], NDArray[Any]]
"""Waits for descriptors [n, D] and gives them."""


class RowWriter:
    """Takes batches of descriptors to come, and writes each when it has come.

    Used as a context: leaving it, for whatever reason, waits until everything taken is written, and flushes the store.
    The thread begins with the first batch, after processes that read images were forked.

    Args:
        store: Where the descriptors go.

    Attributes:
        written: Descriptors written so far.
        seconds: Time spent writing, without that for which the thread waited for descriptors.
    """

    def __init__(self, store: DescriptorStore) -> None:
        self.written, self.seconds = 0, 0.0
        self._store = store
        self._queue: queue.Queue[tuple[NDArray[Any], Arrival] | None] = queue.Queue(AHEAD)
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def put(self, rows: NDArray[Any], arrival: Arrival) -> None:
        """Have the descriptors of rows [n] of the store written.

        Raises:
            Exception: Whatever went wrong with an earlier batch.
        """
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="descriptors", daemon=True)
            self._thread.start()
        self._queue.put((rows, arrival))

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        if error is None:
            self._raise()
        try:
            begin = time.perf_counter()
            self._store.flush()
            self.seconds += time.perf_counter() - begin
        except Exception:
            if error is None:
                raise

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (taken := self._queue.get()) is not None:
            if self._error is not None:
                continue  # whoever puts must not wait for a thread that has given up
            try:
                rows, arrival = taken
                descriptors = arrival()
                begin = time.perf_counter()
                self._store.write(rows, descriptors)
                self.seconds += time.perf_counter() - begin
                self.written += len(descriptors)
            except Exception as error:
                self._error = error
