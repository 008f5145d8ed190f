"""What a job asks of a scheduler, told from what its trainer uses."""

from collections.abc import Sequence
from typing import Any


def gpus(accelerator: str, devices: Any) -> int | None:
    """GPUs of a node that a job needs; the resolver ``gpus`` of the launchers' configuration.

    Args:
        accelerator: ``trainer.accelerator``; with ``auto`` a GPU is asked for.
        devices: ``trainer.devices``: how many, or which.

    Returns:
        A number, or None where the processor trains.
    """
    if accelerator == "cpu":
        return None
    return len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else int(devices)
