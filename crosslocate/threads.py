"""How many threads numerical libraries may take in this process."""

import os


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
