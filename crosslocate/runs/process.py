"""What a process must know of its run before it imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosslocate.config.folders import resumed_folder
from crosslocate.runs.record import read_record


@dataclass(frozen=True)
class ProcessSettings:
    """Threads of this process and devices of its run, as in the configuration that it is going to run with.

    Attributes:
        threads: ``threads``.
        accelerator: ``trainer.accelerator``.
        devices: ``trainer.devices``.
    """

    threads: int | None
    accelerator: str
    devices: Any


def process_settings(cfg: Any, overrides: Sequence[str]) -> ProcessSettings:
    """Settings of a run that may go on with, or repeat, another one's configuration: that of the other's record.

    Args:
        cfg: What was composed now.
        overrides: The command line, as Hydra's ``overrides.task``; what it says goes first.

    Raises:
        CheckpointError: The record is damaged.
    """
    old = _recorded(cfg)
    said = {override.partition("=")[0].lstrip("+") for override in overrides}

    def value(key: str, recorded: Any, composed: Any) -> Any:
        return composed if old is None or key in said or key.partition(".")[0] in said else recorded

    trainer = (old or {}).get("trainer", {})
    return ProcessSettings(
        value("threads", (old or {}).get("threads"), cfg.threads),
        value("trainer.accelerator", trainer.get("accelerator"), cfg.trainer.accelerator),
        value("trainer.devices", trainer.get("devices"), cfg.trainer.devices),
    )


def _recorded(cfg: Any) -> dict[str, Any] | None:
    """The configuration of the run that is resumed or repeated; None where there is none, or no record of it."""
    home = resumed_folder(cfg.resume) if cfg.resume is not None else None
    place = Path(cfg.reproduce).expanduser() if cfg.reproduce is not None else home
    record = None if place is None else read_record(place)
    return None if record is None else dict(record["config"])
