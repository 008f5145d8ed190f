"""How many threads numerical libraries may take in this process, and how it gives memory back."""

import ctypes
import os

SPIN_COUNT = "20000"
"""Turns of the waiting loop of GNU OpenMP before a thread sleeps (some tens of microseconds)."""
KEPT_BYTES = 1 << 30
"""Blocks up to this size are kept by the allocator when they are freed."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def limit_threads(count: int | None) -> int:
    """Limit the threads of torch and of libraries that read OMP_NUM_THREADS; returns the number in force.

    Threads that wait for others spin for some microseconds and then give their core back: a step of a small network is
    hundreds of short parallel regions, and sleeping at each end costs a quarter of the time, while spinning for long
    takes cores from other programs. This counts only when set before torch is first imported.

    Args:
        count: Number of threads; None leaves the choice to torch.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)
    import torch

    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def keep_freed_memory() -> None:
    """Let glibc's allocator reuse freed blocks instead of returning each to the kernel.

    Every intermediate tensor of a training step is some megabytes large; by default each costs fresh pages, zeroed by
    the kernel. Does nothing where there is no ``mallopt``.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
