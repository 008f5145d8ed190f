"""How a job starts when its folder already holds an earlier start of it: of a sweep that is run again, or requeued."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosslocate.config.folders import can_go_on, has_checkpoint, may_continue
from crosslocate.config.ranks import is_first_process
from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.runs.fingerprint import config_differences, config_fingerprint
from crosslocate.runs.record import read_record

SWEEP = "sweep.json"
SHOWN = 20
"""Changed keys that an error lists."""


@dataclass(frozen=True)
class Earlier:
    """What a job finds of itself.

    Attributes:
        record: The record of the run; None where nothing was begun.
        objective: What was measured, when the run is finished.
        trained: Whether there is a checkpoint to go on from.
    """

    record: Mapping[str, Any] | None = None
    objective: float | None = None
    trained: bool = False

    @property
    def fitted(self) -> bool:
        """Whether training came to its end and only the evaluation is missing."""
        return self.record is not None and bool(self.record.get("fitted"))


@dataclass(frozen=True)
class Start:
    """How a run starts.

    Attributes:
        cfg: The configuration to train with.
        checkpoint: Where to go on from; None for a new run.
        step: Optimizer steps that the checkpoint has behind it.
        earlier: What was found of this run.
        overrides: The command line, as Hydra's ``overrides.task``.
        data: What the data set was made of when the run began (`fingerprint.data_parts`); empty for a new run.
    """

    cfg: Any
    checkpoint: Path | None = None
    step: int = 0
    earlier: Earlier = field(default_factory=Earlier)
    overrides: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)


def find_earlier(cfg: Any, folder: Path) -> Earlier:
    """What a job that may be continued finds in its folder; nothing for any other job.

    Args:
        cfg: What was composed now.
        folder: Of the run.

    Raises:
        ConfigError: What is there was run with another configuration; names the keys.
        CheckpointError: The record is damaged.
    """
    trained = can_go_on(folder)
    if not may_continue():  # the first process has refused a folder with checkpoints, unless it goes on with them
        return Earlier(trained=trained and not is_first_process())
    record = read_record(folder)
    if record is None:
        if has_checkpoint(folder):
            raise ConfigError("paths.run", str(folder), "a folder without the checkpoints of another run")
        return Earlier()
    require_same_config(record, cfg, folder)
    objective = record.get("objective")
    if record["status"] == "finished" and isinstance(objective, Mapping):
        return Earlier(record, float(objective["value"]), trained)
    return Earlier(record, None, trained)


def require_same_config(record: Mapping[str, Any], cfg: Any, folder: Path) -> None:
    """Refuse to go on with a run under another configuration.

    Raises:
        ConfigError: Lists the keys that changed, with their old and new values.
    """
    if record["fingerprints"].get("config") == config_fingerprint(cfg):
        return
    changes = config_differences(record["config"], cfg)
    raise ConfigError(
        "paths.run",
        str(folder),
        "a folder of a run of the same configuration",
        f"What is there was run with other values:\n{change_table(changes)}\n"
        "Begin in another folder (hydra.sweep.dir=..., hydra.run.dir=...), or bring the values back",
    )


def require_as_submitted(cfg: Any, sweep: Mapping[str, Any] | None) -> None:
    """Refuse a job of a sweep whose configuration is not the one that was checked when the sweep was submitted.

    Args:
        cfg: What was composed now.
        sweep: ``{"folder", "name", "job"}``; None for a job of no sweep.

    Raises:
        ConfigError: Files of ``conf/`` were changed between submission and start.
        CheckpointError: The notes of the sweep are damaged.
    """
    path = Path(sweep["folder"]) / SWEEP if sweep else None
    if path is None or sweep is None or not path.is_file():
        return
    try:
        jobs = {job["number"]: job for job in json.loads(path.read_bytes())["jobs"]}
        noted = jobs.get(sweep["job"], {}).get("fingerprint")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged and cannot be read ({error})") from error
    if noted is not None and noted != config_fingerprint(cfg):
        raise ConfigError(
            "hydra.sweep.dir",
            sweep["folder"],
            f"the configuration that job {sweep['job']} was submitted with (fingerprint {noted})",
            "The YAML files were changed since: bring them back, or submit a new sweep",
        )


def change_table(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Changed keys, one a line: the key, the old value and the new one."""
    lines = [f"  {key}: {_short(old)} -> {_short(new)}" for key, (old, new) in list(changes.items())[:SHOWN]]
    if len(changes) > SHOWN:
        lines.append(f"  and {len(changes) - SHOWN} more")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
