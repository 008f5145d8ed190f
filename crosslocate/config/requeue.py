"""How a process leaves after its run was stopped: back into the queue of its cluster, or to the shell."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from crosslocate.config.ranks import PATIENCE, is_first_process
from crosslocate.errors import RunStopped

REQUEUING = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a cluster sends when it takes a job's place away or when the job's time is over."""


def leave(stopped: RunStopped, folder: str = "") -> NoReturn:
    """End the process of a stopped run; to be called when everything is closed.

    A job that submitit started is handed on to submitit, and any other job of SLURM is put back into the queue with
    ``scontrol``, where the signal was one of `REQUEUING`, or another by which SLURM takes the job's place away: a job
    that ends in the time that it has left then, SLURM takes for one that failed. All else, also what is cancelled, ends
    with the status of a process that a signal ended, 128 + its number. Only the first process of a run does so; the
    others wait for it to end, so that none takes the first with it.

    Args:
        stopped: Why the run was stopped.
        folder: Of the run, to say how to resume it.

    Raises:
        Exception: Whatever submitit says when it does not put a job back.
    """
    if not is_first_process():
        time.sleep(PATIENCE)
    else:
        job = slurm_job(os.environ)
        if stopped.signal in REQUEUING:
            put_back(stopped.signal, job)
        elif stopped.signal == signal.SIGTERM and job is not None and loses_its_place(job):
            put_back(signal.SIGUSR2, job)
    if is_first_process() and folder:
        print(f"{stopped}; to go on: resume={folder}", file=sys.stderr)
    sys.exit(128 + stopped.signal)


def put_back(signum: int, job: str | None) -> None:
    """Put this job back into the queue, as submitit does at one of `REQUEUING` where it started the job."""
    handler = submitit_handler(signum)
    if handler is not None:
        handler(signum, None)
    elif job is not None:
        requeue(job)


def loses_its_place(job: str) -> bool:
    """Whether SLURM is taking the place of a job away, and has left it some time; False for one that is cancelled."""
    try:
        said = subprocess.run(["scontrol", "show", "job", job], check=True, timeout=60, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError):
        return False
    facts = dict(word.split("=", 1) for word in said.stdout.split() if "=" in word)
    return facts.get("JobState") == "RUNNING" and facts.get("PreemptTime", "None") != "None"


def submitit_handler(signum: int) -> Any:
    """What submitit does at a signal that it listens to, where it started this job; else None."""
    from crosslocate.lit.signals import listener

    current = listener()
    handler: Any = signal.getsignal(signum) if current is None else current.previous.get(signum)
    ours = "SUBMITIT_EXECUTOR" in os.environ and callable(handler)
    owner = type(getattr(handler, "__self__", None)).__module__
    return handler if ours and owner.startswith("submitit.") else None


def slurm_job(environment: Mapping[str, str]) -> str | None:
    """Number of the SLURM job, as ``scontrol`` wants it, that a process runs in; None outside SLURM."""
    if array := environment.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def requeue(job: str) -> None:
    """Put a SLURM job back into the queue; says so when that fails, and what to do then."""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        print(f"job {job} could not be put back into the queue ({said}); submit it again", file=sys.stderr)
