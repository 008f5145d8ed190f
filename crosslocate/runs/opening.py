"""What stands in a run's record when it starts, for the first time or again."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crosslocate.runs.continuation import Start
from crosslocate.runs.fingerprint import config_fingerprint, plain
from crosslocate.runs.job import choices_of_this_job, sweep_of_this_job
from crosslocate.runs.machine import machine, slurm, versions
from crosslocate.runs.record import FORMAT, RunRecord, now, write_whole
from crosslocate.runs.source import source_state

RESOLVED = "config_resolved.yaml"
"""File of the configuration with all interpolations resolved."""


def opened_record(start: Start, folder: Path) -> RunRecord:
    """Write the record of a run that starts now, its resolved configuration, and the difference of its source.

    What an earlier start noted of command line, choices and source stays; machine, versions and configuration are those
    of this start. A run that begins again without a checkpoint has nothing of its earlier starts but their list.
    """
    from omegaconf import OmegaConf

    earlier = start.earlier.record or {}
    sessions = [_closed(session) for session in earlier.get("sessions", [])]
    session = _session(start, folder, [(one.get("source") or {}).get("diff") for one in sessions])
    content = dict(earlier) if start.checkpoint and earlier else _lasting(start, session["source"])
    record = RunRecord(folder, {**content, **_present(start), "sessions": [*sessions, session]})
    write_whole(folder / RESOLVED, OmegaConf.to_yaml(start.cfg, resolve=True))
    record.write()
    return record


def _lasting(start: Start, source: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the first start of a run says for all."""
    return {
        "format": FORMAT,
        "name": str(start.cfg.name),
        "status": "running",
        "reason": None,
        "objective": None,
        "argv": list(sys.argv),
        "overrides": list(start.overrides),
        "choices": choices_of_this_job(),
        "sweep": sweep_of_this_job(),
        "source": source,
        "fitted": False,
        "weights": None,
        "data": dict(start.data),
        "wandb": None,
    }


def _present(start: Start) -> dict[str, Any]:
    """What every start says anew."""
    kept = start.cfg.copy()
    kept.name = str(start.cfg.name)  # elsewhere it would be made of other choices
    devices, nodes = start.cfg.trainer.devices, start.cfg.trainer.num_nodes
    return {
        "status": "running",
        "reason": None,
        "objective": None,
        "seed": start.cfg.seed,
        "world_size": devices * nodes if isinstance(devices, int) and devices > 0 else nodes,
        "fingerprints": {"config": config_fingerprint(start.cfg), "data": None},
        "versions": versions(),
        "machine": machine(),
        "slurm": slurm(),
        "config": plain(kept),
    }


def _session(start: Start, folder: Path, differences: Sequence[str | None]) -> dict[str, Any]:
    return {
        "began": now(),
        "ended": None,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "status": "running",
        "reason": None,
        "from_step": start.step,
        "to_step": None,
        "overrides": list(start.overrides),
        "source": _source(folder, differences),
    }


def _closed(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session of before; one that nobody closed was killed."""
    return {**session, "status": "killed"} if session.get("status") == "running" else dict(session)


def _source(folder: Path, differences: Sequence[str | None]) -> dict[str, Any] | None:
    """State of the source; a difference that is not that of the session before has a file of its own.

    Args:
        folder: Of the run.
        differences: Files of the sessions before.
    """
    state = source_state()
    if state is None:
        return None
    known, difference = state
    last = folder / differences[-1] if differences and differences[-1] else None
    if not difference:
        return {**known, "diff": None}
    if last is not None and last.is_file() and last.read_bytes() == difference.encode():
        return {**known, "diff": last.name}
    file = f"source_{len(differences) + 1}.diff" if differences else "source.diff"
    write_whole(folder / file, difference)
    return {**known, "diff": file}
