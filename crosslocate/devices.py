"""Which GPUs a run takes where a machine has more than it needs and nobody has said."""

import os
import subprocess

QUERY = ["nvidia-smi", "--query-gpu=index,memory.free", "--format=csv,noheader,nounits"]
PATIENCE = 10.0
"""Seconds to wait for the driver's tool."""
CHOSEN = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
"""Variables by which a person or a scheduler has chosen."""


def take_free_gpus(accelerator: str, devices: object) -> list[int] | None:
    """Let this process, and those that it starts, see only the GPUs with the most free memory.

    Nothing happens where the choice is made already: by a scheduler or a person (`CHOSEN`), by a list of devices, or
    because there are no more than are wanted. Must be called before CUDA is used.

    Args:
        accelerator: ``trainer.accelerator``.
        devices: ``trainer.devices``.

    Returns:
        The GPUs' numbers in the order of the bus, ascending, or None when nothing was chosen.
    """
    if accelerator not in ("auto", "gpu") or any(name in os.environ for name in CHOSEN):
        return None
    wanted = int(devices) if isinstance(devices, int | str) and str(devices).isdecimal() else 0
    free = free_memory() if wanted > 0 else {}
    if len(free) <= wanted:
        return None
    numbers = sorted(sorted(free, key=lambda gpu: (-free[gpu], gpu))[:wanted])
    os.environ |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, numbers))}
    return numbers


def free_memory() -> dict[int, int]:
    """Free memory in MiB by GPU; empty where there is none, or nothing that tells."""
    try:
        listing = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        return {int(number): int(free) for number, free in (line.split(",") for line in listing.splitlines())}
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
