"""What a run ran on: versions of packages, the machine, and the place in a cluster's queue."""

import os
import platform
import socket
import sys
from importlib import metadata
from typing import Any

PACKAGES = (
    "crosslocate",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "faiss-cpu",
    "timm",
    "wandb",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape results, of those that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Host, operating system, processors that this process may use, torch's threads, names of the GPUs that it sees."""
    torch = sys.modules.get("torch")
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": None if torch is None else torch.get_num_threads(),
        "gpus": _gpus(),
    }


def slurm() -> dict[str, Any] | None:
    """``{"job", "restarts"}`` of the SLURM job that this process belongs to; None outside of SLURM."""
    job, array = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_JOB_ID")
    if job is None:
        return None
    if array is not None:
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '?')}"
    return {"job": job, "restarts": int(os.environ.get("SLURM_RESTART_COUNT") or 0)}


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
