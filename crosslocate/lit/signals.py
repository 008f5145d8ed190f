"""Signals that ask a run to stop: noted while it trains, and followed once its state is safe."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from crosslocate.config.ranks import is_first_process
from crosslocate.errors import RunStopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What a run listens to, the weakest first: of two that come before it has stopped, the later here counts."""
END_OF_TIME = 600.0
"""Seconds before the end of a job's time in which a warning means that the time is over."""
WORKER_GRACE = 30
"""Seconds that a worker process goes on for after it was asked to end: its run may need it to reach its boundary."""

Handler = Callable[[int, FrameType | None], Any] | int | None


class Listener:
    """Handles the signals of one job.

    While `defer` is in force, the first signal is noted in ``received`` and nothing else happens: whoever trains looks
    there at its boundaries. At other times, and when Ctrl-C comes a second time, RunStopped is raised at once. While
    the run is being closed after that, another Ctrl-C does what it did before, and other signals do nothing: they often
    come more than once.

    Attributes:
        received: The signal that asks to stop, if any.
        previous: What handled every signal before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.previous: dict[int, Handler] = {}
        self._deferring = self._raised = False
        self._process = os.getpid()

    def install(self) -> None:
        """Handle the signals from now on; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self.previous = {signum: signal.getsignal(signum) for signum in SIGNALS}
            for signum in SIGNALS:
                signal.signal(signum, self._handle)

    def remove(self) -> None:
        """Let the signals be handled as before."""
        for signum, handler in self.previous.items():
            if handler is not None:
                signal.signal(signum, handler)

    def defer(self) -> None:
        """Note signals from now on."""
        self._deferring = True

    def act(self) -> None:
        """Act on signals from now on.

        Raises:
            RunStopped: One has been noted, and it was not followed.
        """
        self._deferring = False
        if self.received is not None and not self._raised:
            self._stop(self.received)

    def give_up(self) -> None:
        """Act on signals from now on, and forget what was noted: the run ends for another reason."""
        self._deferring, self.received = False, None

    def follow(self, signum: int) -> RunStopped:
        """What to raise now that ``signum``, here or in another process of the run, is followed."""
        self.received, self._deferring, self._raised = signum, False, True
        return RunStopped(signum, reason(signum, os.environ, time.time()))

    def _stop(self, signum: int) -> None:
        raise self.follow(signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            _outlive(signum)
        elif self._raised:
            previous = self.previous.get(signum)
            if signum == signal.SIGINT and callable(previous):
                previous(signum, frame)
        elif not self._deferring or signum == self.received == signal.SIGINT:
            self._stop(signum)
        else:
            self._note(signum)

    def _note(self, signum: int) -> None:
        self.received = stronger(self.received, signum)
        if is_first_process():
            again = "; Ctrl-C again ends at once" if signum == signal.SIGINT else ""
            text = f"{signal.Signals(signum).name}: stopping after this batch{again}\n"
            os.write(2, text.encode())  # print is not safe here: it may have been interrupted in the middle


_listeners: list[Listener] = []


@contextmanager
def listening() -> Iterator[Listener]:
    """Surround a job: signals that ask to stop end it with RunStopped, once its state is safe."""
    listener = Listener()
    listener.install()
    _listeners.append(listener)
    try:
        yield listener
    finally:
        _listeners.remove(listener)
        listener.remove()


def own_signals(trainer: Any) -> None:
    """Keep a Lightning trainer from handling signals itself.

    Its handler for SIGTERM talks to other processes from wherever the program is, and for that it makes every step wait
    for the device.
    """
    trainer._signal_connector.register_signal_handlers = _nothing
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing


def listener() -> Listener | None:
    """Who listens for the job of the moment."""
    return _listeners[-1] if _listeners else None


@contextmanager
def deferring() -> Iterator[Listener | None]:
    """Surround work that looks for signals itself, at its boundaries: they are noted, where anybody listens to them.

    Raises:
        RunStopped: At the end, when one was noted that the work did not follow.
    """
    heard = listener()
    if heard is None:
        yield None
        return
    heard.defer()
    try:
        yield heard
    except BaseException:
        heard.give_up()
        raise
    heard.act()


def stronger(one: int | None, other: int) -> int:
    """The signal that counts of two: one that asks for another start of the job, before one that only ends it."""
    return other if one is None else max(one, other, key=SIGNALS.index)


def reason(signum: int, environment: Mapping[str, str], now: float) -> str:
    """Why a run is asked to stop.

    Args:
        signum: The signal.
        environment: Variables of the process; SLURM's tell when the job's time ends.
        now: Seconds since 1970.
    """
    if signum == signal.SIGINT:
        return "interrupted"
    if signum == signal.SIGTERM:
        return "terminated"
    end = environment.get("SLURM_JOB_END_TIME", "")
    return "timed out" if end.isdecimal() and int(end) - now < END_OF_TIME else "preempted"


def _nothing() -> None:
    pass


def _outlive(signum: int) -> None:
    """In a process that reads images for the run: go on, since signals may reach all processes of a job."""
    if signum == signal.SIGTERM:
        signal.alarm(WORKER_GRACE)  # it may be the run that ends its workers
