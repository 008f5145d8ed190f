"""Ending on Ctrl-C and on SIGTERM with a line: what is finished is kept, and a later start goes on from there."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to end. No error: it passes ``except Exception``.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ending_when_asked() -> Iterator[None]:
    """End the process with 130 after Ctrl-C and with 143 after SIGTERM, when what the block has opened is closed.

    For the main thread.
    """

    def stop(number: int, _: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # nothing interrupts the clearing up
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Interrupted as asked:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(128 + asked.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
