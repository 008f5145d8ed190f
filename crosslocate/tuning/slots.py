"""Which GPU each of the trainings that run at once sees."""

import os
from typing import Any

from crosslocate.devices import free_memory


def slot_environments(trainer: Any, jobs: int) -> list[dict[str, str]]:
    """Variables for the processes of each job at once: trainings on one GPU share the machine's GPUs evenly.

    Args:
        trainer: ``trainer`` of the trainings.
        jobs: Trainings at once.
    """
    wanted = trainer.accelerator in ("auto", "gpu") and trainer.devices in (1, "1") and jobs > 1
    given = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.strip()]
    gpus = (given or [str(gpu) for gpu in sorted(free_memory())]) if wanted else []
    if len(gpus) < 2:
        return [{} for _ in range(jobs)]
    order = {} if given else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return [{**order, "CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(jobs)]
