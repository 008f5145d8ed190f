"""What Hydra knows of the job that this process does."""

from pathlib import Path
from typing import Any


def choices_of_this_job() -> dict[str, str]:
    """The option that was chosen of every group of ``conf/``."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    chosen = HydraConfig.get().runtime.choices
    return {str(name): option for name, option in chosen.items() if not str(name).startswith("hydra/")}


def sweep_of_this_job() -> dict[str, Any] | None:
    """``{"folder", "name", "job"}`` of the sweep that this job is of; None for a job of no sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir).absolute()
    return {"folder": str(folder), "name": folder.name, "job": int(hydra.job.num)}
