"""Keeps the processes of a multi-device job inside that job, also when it is one of a sweep.

Lightning starts rank 1 and up by running the command line again. Within a sweep that command line would start the
sweep again, in another directory, and the variables of one job's ranks would leak into the next job. Where a launcher
runs a job in a process of its own, the command line is the launcher's, and says nothing of the job at all.
"""

import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crosslocate.errors import CrossLocateError

FIRST = "CROSSLOCATE_FIRST_PROCESS"
"""Variable by which the processes that the first one of a run starts know its number."""
RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", FIRST)
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SUBMITIT_LOCAL_GLOBALID")
"""What starters of processes (torchrun, Lightning, srun, submitit) call the number of one."""
PATIENCE = 120.0
"""Seconds for which other processes of a run wait for the first, which has more to close, and ends them."""
GRACE = 30.0
"""Seconds that the first process gives others to end by themselves when nothing went wrong."""
_PR_SET_PDEATHSIG = 1
_launchers: list[Any] = []


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
    if int(os.environ.get("LOCAL_RANK") or 0) == 0:
        os.environ[FIRST] = str(os.getpid())
    if sweeping:
        _point_ranks_at_this_job()
    failed = True
    try:
        yield
        failed = False
    except Exception as error:
        _let_first_process_close(error)
        raise
    finally:
        sys.argv, main.__spec__ = argv, spec
        if failed:  # they may wait for this process, and it for them
            _end_ranks(0.0)
        _leave_process_group()
        _end_ranks(GRACE)
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
    if int(os.environ.get("LOCAL_RANK") or 0) != 0:
        end_with(int(os.environ.get(FIRST, os.getppid())))


def end_with(parent: int) -> None:
    """Let the kernel kill this process when the process that started it, of number ``parent``, ends. Linux only."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it ended before that
        sys.exit(1)


def end_with_job(launcher: Any) -> None:
    """Have the processes that a launcher of Lightning starts end with the job that surrounds them.

    Args:
        launcher: Has the processes in ``procs``, a list that Lightning's observer of them looks at too: it ends this
            process when one of them has failed.
    """
    _launchers.append(launcher)


def _end_ranks(grace: float) -> None:
    """End the processes of this job, and Lightning's observer of them, which would end the sweep's next job too."""
    ranks: list[subprocess.Popen[Any]] = []
    for launcher in _launchers:
        ranks += launcher.procs
        launcher.procs.clear()
    _launchers.clear()
    end = time.monotonic() + grace
    for rank in ranks:
        try:
            rank.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            rank.kill()
            rank.wait()


def _let_first_process_close(error: Exception) -> None:
    """In another process than the first: say what went wrong, and stay until the first has closed the run.

    Where one process leaves, what started it ends the others at once. The first fails by itself when it is left out of
    what the processes do together; those that never met have nothing to wait for.
    """
    if is_first_process() or not _in_process_group():
        return
    if isinstance(error, CrossLocateError):
        print(f"error: {error}", file=sys.stderr, flush=True)
    else:
        traceback.print_exception(error)
    _leave_process_group()
    time.sleep(PATIENCE)


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


def _in_process_group() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def _leave_process_group() -> None:
    if _in_process_group():
        sys.modules["torch.distributed"].destroy_process_group()
