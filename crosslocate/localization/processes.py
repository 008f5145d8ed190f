"""Building an index with several processes on this machine: each makes its share, one watches over them."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

from crosslocate.config.app import said
from crosslocate.config.ranks import end_with
from crosslocate.console import track
from crosslocate.errors import CrossLocateError, RunStopped, StoreError
from crosslocate.lit.signals import Listener, deferring, listening
from crosslocate.memory import explained_memory
from crosslocate.retrieval.grid import WHOLE, Shard, unfinished
from crosslocate.retrieval.store import DescriptorStore

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LOOK = 0.2
"""Seconds between two looks at what the processes have done."""
PATIENCE = 120.0
"""Seconds that processes which were asked to stop have for the batch they are at."""
OPENED, RESULT, ERROR = "opened", "result", "error"
"""What processes tell: the folder of the store once it is there, what they give at the end, and what went wrong."""

Opened = Callable[[Path], None]


class Work(Protocol[T_co]):
    """Makes a share of an index on a device, and says when its store is there; a function of a module."""

    def __call__(self, config: Any, shard: Shard, device: str, opened: Opened, *, visible: bool) -> T_co:
        """Do it."""
        ...


@dataclass(eq=False)
class Worker:
    """One process, and what it has told so far."""

    process: BaseProcess
    messages: Any
    shard: Shard
    told: dict[str, Any] = field(default_factory=dict)

    def listen(self) -> None:
        """Take what the process has told."""
        try:
            while self.messages.poll():
                name, value = self.messages.recv()
                self.told[name] = value
        except (EOFError, OSError):  # it has ended
            return

    @property
    def failed(self) -> bool:
        """Whether it has ended otherwise than it should."""
        return self.process.exitcode not in (None, 0)

    @property
    def end(self) -> str:
        """How it ended, as a clause."""
        if ERROR in self.told:
            return str(self.told[ERROR])
        code = self.process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        how += ", as a machine does that has too little memory" if -code == signal.SIGKILL else ""
        return f"it {how}; what was embedded is kept, and the same command continues"


class Crew:
    """Processes that share work, until all have ended."""

    def __init__(self, workers: Sequence[Worker], heard: Listener | None) -> None:
        self.workers, self._heard = workers, heard
        self.lost: Worker | None = None
        self._deadline: float | None = None

    def looks(self) -> Iterator[None]:
        """Look after the processes; gives its turn to the caller after each look, the last one when all have ended."""
        while alive := [worker for worker in self.workers if worker.process.is_alive()]:
            multiprocessing.connection.wait([worker.process.sentinel for worker in alive], LOOK)
            self._listen()
            if self.lost is not None or (self._heard is not None and self._heard.received is not None):
                self._stop(alive)
            yield
        self._listen()
        yield

    def _listen(self) -> None:
        """Take what the processes have told, and note the first that has failed."""
        for worker in self.workers:
            worker.listen()
        if self.lost is None:
            self.lost = next((worker for worker in self.workers if worker.failed), None)

    def _stop(self, alive: Sequence[Worker]) -> None:
        """Ask the processes once to finish their batch, and end those that do not."""
        if self._deadline is None:
            self._deadline = time.monotonic() + PATIENCE
            for worker in alive:
                worker.process.terminate()
        elif time.monotonic() > self._deadline:
            self.end()

    def end(self) -> None:
        """End every process at once; the store is made for that."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()

    @property
    def folder(self) -> Path | None:
        """Folder of the store, as soon as a process has told it."""
        return next((worker.told[OPENED] for worker in self.workers if OPENED in worker.told), None)


def in_processes(work: Work[T], config: Any, shard: Shard, devices: Sequence[str], opened: Opened) -> list[T]:
    """Make a share with one process a device, and wait for them.

    When one of them dies, or a signal asks this process to stop, the others finish their batch and end. All end with
    this process, whatever ends it.

    Args:
        work: Called in each process.
        config: First argument of it; plain values.
        shard: To be divided among the processes.
        devices: One for each process.
        opened: Is given the folder of the store once it is there.

    Returns:
        What each process gives.

    Raises:
        StoreError: A process has failed or died: says which, and how.
        RunStopped: A signal asked to stop.
    """
    with deferring() as heard:
        crew = Crew([_started(work, config, shard.part(k, len(devices)), d) for k, d in enumerate(devices)], heard)
        try:
            _watch(crew, opened)
        finally:
            crew.end()
        if heard is not None and heard.received is not None:
            raise heard.follow(heard.received)
    if crew.lost is not None:
        raise StoreError(f"process {crew.lost.shard}: {crew.lost.end}")
    return [worker.told[RESULT] for worker in crew.workers]


def _started(work: Work[Any], config: Any, shard: Shard, device: str) -> Worker:
    context = multiprocessing.get_context("spawn")  # CUDA cannot be used in what is forked
    messages, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_process, args=(work, config, shard, device, os.getpid(), theirs))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: until it listens, Ctrl-C is for its parent
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.close()
    return Worker(process, messages, shard)


def _watch(crew: Crew, opened: Opened) -> None:
    """Wait for the processes, and show how many batches are done."""
    looks = crew.looks()
    folder = next((crew.folder for _ in looks if crew.folder is not None), None)
    if folder is None:
        return
    opened(folder)
    store = DescriptorStore.open(folder)
    batches = -(-len(store) // store.header.batch)
    for _ in track(_done(store, batches, looks), "Indexing views", batches):
        pass


def _done(store: DescriptorStore, batches: int, looks: Iterator[None]) -> Iterator[int]:
    """Batches as they are done, by whomever."""
    seen = 0
    for _ in looks:
        done = batches - len(unfinished(store, store.header.batch, WHOLE))
        yield from range(seen, done)
        seen = max(seen, done)


def _process(work: Work[Any], config: Any, shard: Shard, device: str, parent: int, messages: Any) -> None:
    """The whole life of one process."""
    os.environ["LOCAL_RANK"] = str(shard.number + 1)  # its parent is the first process
    end_with(parent)

    def opened(folder: Path) -> None:
        messages.send((OPENED, folder))

    try:
        with listening(), explained_memory(config):
            messages.send((RESULT, work(config, shard, device, opened, visible=False)))
    except RunStopped as stopped:
        sys.exit(128 + stopped.signal)
    except (CrossLocateError, OSError) as error:
        messages.send((ERROR, said(error) or str(error)))
        sys.exit(1)
    except Exception as error:
        traceback.print_exception(error)
        messages.send((ERROR, f"{type(error).__name__}: {error}".partition("\n")[0]))
        sys.exit(1)
