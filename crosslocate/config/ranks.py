"""Keeps the processes of a multi-device job inside that job, also when it is one of a sweep.

Lightning starts rank 1 and up by running the command line again. Within a sweep that command line would start the
sweep again, in another directory, and the variables of one job's ranks would leak into the next job.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def one_job(sweeping: bool) -> Iterator[None]:
    """Surround one job: its ranks start with this job's own overrides, in its own directory, and leave nothing behind.

    Args:
        sweeping: Whether the job is one of a sweep in this process (``-m`` with a launcher that runs jobs here).
    """
    argv = sys.argv[:]
    environment = {name: os.environ.get(name) for name in RANK_VARIABLES}
    if sweeping:
        _point_ranks_at_this_job()
    try:
        yield
    finally:
        sys.argv = argv
        _leave_process_group()
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _point_ranks_at_this_job() -> None:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict, read_write

    hydra = HydraConfig.get()
    sys.argv = [sys.argv[0], *hydra.overrides.task]
    node: Any = HydraConfig.instance().cfg
    if node is not None:
        with read_write(node.hydra.run), open_dict(node.hydra.run):
            node.hydra.run.dir = hydra.runtime.output_dir


def _leave_process_group() -> None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
