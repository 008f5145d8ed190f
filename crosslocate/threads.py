"""How many threads numerical libraries may take in this process, and how it gives memory back."""

import ctypes
import os

KEPT_BYTES = 1 << 30
"""Blocks up to this size are kept by the allocator when they are freed."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def limit_threads(count: int | None) -> int:
    """Limit the threads of torch and of libraries that read OMP_NUM_THREADS; returns the number in force.

    Threads that wait give their core back (OMP_WAIT_POLICY=PASSIVE): on a machine that does other work, spinning
    threads slow a run down several times. The policy counts only when set before torch is first imported.

    Args:
        count: Number of threads; None leaves the choice to torch.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
