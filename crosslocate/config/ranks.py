"""Keeps the processes of a multi-device job inside that job, also when it is one of a sweep.

Lightning starts rank 1 and up by running the command line again. Within a sweep that command line would start the
sweep again, in another directory, and the variables of one job's ranks would leak into the next job. Where a launcher
runs a job in a process of its own, the command line is the launcher's, and says nothing of the job at all.
"""

import ctypes
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SUBMITIT_LOCAL_GLOBALID")
"""What starters of processes (torchrun, Lightning, srun, submitit) call the number of one."""
_PR_SET_PDEATHSIG = 1


@contextmanager
def one_job(sweeping: bool) -> Iterator[None]:
    """Surround one job: its ranks start with this job's own overrides, in its own directory, and leave nothing behind.

    Args:
        sweeping: Whether the job is one of a sweep (``-m``), run by the process that began the sweep or by one that a
            launcher started.
    """
    end_with_parent()
    argv, main = sys.argv[:], sys.modules["__main__"]
    spec = main.__spec__
    environment = {name: os.environ.get(name) for name in RANK_VARIABLES}
    if sweeping:
        _point_ranks_at_this_job()
    try:
        yield
    finally:
        sys.argv, main.__spec__ = argv, spec
        _leave_process_group()
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def is_first_process() -> bool:
    """Whether this is the only or the first process of a run, before or without Lightning's knowing."""
    return all(int(os.environ.get(name) or 0) == 0 for name in RANKS)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, if Lightning started it as one of a run's ranks.

    Of a run whose first process was killed, nobody must be left who writes into its folder: it may be resumed. Linux
    only; elsewhere such a process ends when it next needs the others.
    """
    if int(os.environ.get("LOCAL_RANK") or 0) == 0 or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() == 1:  # it ended before that
        sys.exit(1)


def _point_ranks_at_this_job() -> None:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict, read_write

    hydra = HydraConfig.get()
    sys.argv = [sys.argv[0], *hydra.overrides.task]
    entry_point = importlib.util.find_spec(f"crosslocate.{hydra.job.config_name}")
    if entry_point is not None:
        sys.modules["__main__"].__spec__ = entry_point
    node: Any = HydraConfig.instance().cfg
    if node is not None:
        with read_write(node.hydra.run), open_dict(node.hydra.run):
            node.hydra.run.dir = hydra.runtime.output_dir


def _leave_process_group() -> None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
