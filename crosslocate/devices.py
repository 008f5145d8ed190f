"""Which GPUs a run takes first where a machine has more than it needs and nobody has said."""

import os
import subprocess
import sys

from crosslocate.config.folders import shares_folder

QUERY = ["nvidia-smi", "--query-gpu=index,memory.free", "--format=csv,noheader,nounits"]
PATIENCE = 10.0
"""Seconds to wait for the driver's tool."""
CHOSEN = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
"""Variables by which a person or a scheduler has chosen."""


def take_free_gpus(accelerator: str, devices: object) -> list[int] | None:
    """Order the GPUs for this process, and those that it starts, so that the first ones have the most free memory.

    A number of devices are the first ones then. All stay visible: another job of a sweep, in the same process, may want
    more of them. Nothing happens where the choice is made already: by a scheduler or a person (`CHOSEN`), by a list of
    devices, by another process of the run, or because there are no more than are wanted; nor where CUDA is in use,
    which keeps the order that it found.

    Args:
        accelerator: ``trainer.accelerator``.
        devices: ``trainer.devices``.

    Returns:
        The GPUs' numbers in the order of the bus, the freest first, or None when nothing was chosen.
    """
    if accelerator not in ("auto", "gpu") or any(name in os.environ for name in CHOSEN):
        return None
    if "LOCAL_RANK" in os.environ or shares_folder() or _cuda_is_used():
        return None
    wanted = int(devices) if isinstance(devices, int | str) and str(devices).isdecimal() else 0
    free = free_memory() if wanted > 0 else {}
    if len(free) <= wanted:
        return None
    numbers = sorted(free, key=lambda gpu: (-free[gpu], gpu))
    os.environ |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, numbers))}
    return numbers


def _cuda_is_used() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def free_memory() -> dict[int, int]:
    """Free memory in MiB by GPU; empty where there is none, or nothing that tells."""
    try:
        listing = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        return {int(number): int(free) for number, free in (line.split(",") for line in listing.splitlines())}
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
