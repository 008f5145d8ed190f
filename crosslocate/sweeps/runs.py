"""The runs in folders of sweeps: what was run, how each ended, what it found. Nothing in their files is executed."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosslocate.errors import CrossLocateError, DataError
from crosslocate.runs.lock import is_running
from crosslocate.runs.record import FILE as RECORD
from crosslocate.runs.record import read_record
from crosslocate.sweeps.record import FILE as SWEEP
from crosslocate.sweeps.record import job_folder, read_sweep

RESULTS = "results.json"
DEEPEST = 4
"""Levels of folders below one that is given in which runs are looked for."""
FINISHED, NOT_STARTED = "finished", "not started"


@dataclass(frozen=True)
class Run:
    """One run, or a job of a sweep that has not begun.

    Args:
        folder: Of the run.
        status: ``finished``, ``running``, ``stopped``, ``failed``, ``killed`` (it ended without saying so) or
            ``not started``.
        reason: Why it is not finished, as far as is known; empty otherwise.
        overrides: Values on its command line, as texts, by key.
        choices: Option by configuration group.
        config: Its configuration, interpolations as they were written.
        seed: Of its draws.
        fingerprints: Of its configuration and of its data.
        objective: Name of the metric by which its best checkpoint was chosen.
        metrics: What was found, by name, as ``test/recall@1_20m``; empty unless finished.
        began: When its latest session began.
    """

    folder: Path
    status: str
    reason: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    objective: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    began: str = ""


@dataclass(frozen=True)
class Found:
    """What folders hold: runs, and files that cannot be read, with the reason."""

    runs: list[Run]
    damaged: list[str]


def find_runs(folders: Sequence[Path]) -> Found:
    """Every run in folders of sweeps, or of runs; each once, in the order of the folders and of the jobs.

    Raises:
        DataError: A folder does not exist.
    """
    runs: dict[Path, Run] = {}
    damaged: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder")
        for place, overrides in _run_folders(folder, damaged):
            if place.resolve() in runs:
                continue
            try:
                runs[place.resolve()] = _read(place, overrides)
            except CrossLocateError as error:
                damaged.append(printable(str(error)))
    return Found(list(runs.values()), damaged)


def printable(text: str) -> str:
    """A text without what could steer a terminal or break a line."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _run_folders(top: Path, damaged: list[str]) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Folders of a sweep's jobs, with the overrides that its record has of them, and others with a record of a run."""
    if (top / RECORD).is_file():
        yield top, {}
        return
    for place, below, files in os.walk(top):
        below[:] = sorted((name for name in below if not name.startswith(".")), key=_by_number)
        here = Path(place)
        if SWEEP in files:
            yield from _announced(here, damaged)
        found = [name for name in below if (here / name / RECORD).is_file()]
        yield from ((here / name, {}) for name in found)
        deep = len(here.relative_to(top).parts) >= DEEPEST
        below[:] = [] if deep else [name for name in below if name not in found]


def _announced(folder: Path, damaged: list[str]) -> list[tuple[Path, Mapping[str, str]]]:
    """Folders of a sweep's jobs, begun or not, with their overrides."""
    try:
        sweep = read_sweep(folder)
    except CrossLocateError as error:
        damaged.append(printable(str(error)))
        return []
    return [(job_folder(folder, job), _pairs(job["overrides"])) for job in sweep["jobs"]] if sweep else []


def _by_number(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _read(folder: Path, announced: Mapping[str, str]) -> Run:
    """A run from its folder; of one that has not begun, what the record of its sweep announced."""
    record = read_record(folder) if (folder / RECORD).is_file() else None
    if record is None:
        return Run(folder, NOT_STARTED, overrides=announced)
    status, reason = str(record["status"]), printable(str(record.get("reason") or ""))
    if status == "running" and not is_running(folder):
        status, reason = "killed", reason or "it ended without saying so"
    objective = record.get("objective")
    sessions = [session for session in record["sessions"] if isinstance(session, dict)]
    return Run(
        folder,
        status,
        reason,
        overrides=_pairs(record["overrides"]),
        choices=record["choices"] if isinstance(record.get("choices"), dict) else {},
        config=record["config"],
        seed=record["seed"] if isinstance(record.get("seed"), int) else None,
        fingerprints=record["fingerprints"],
        objective=printable(str(objective["name"])) if isinstance(objective, dict) and "name" in objective else None,
        metrics=_metrics(folder / RESULTS) if status == FINISHED else {},
        began=str(sessions[-1].get("began", "")) if sessions else "",
    )


def _pairs(overrides: Sequence[Any]) -> dict[str, str]:
    """Overrides by key: ``modality=depth``, ``+key=value``, ``~key``."""
    pairs = (printable(str(override)).lstrip("+~").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs if key}


def _metrics(path: Path) -> dict[str, float]:
    """Metrics of the best checkpoint, and with ``untrained/`` in front those before training.

    Raises:
        DataError: The file is missing or damaged.
    """
    from crosslocate.retrieval.results import metrics

    try:
        evaluations = json.loads(path.read_bytes())["evaluations"]
        found: dict[str, float] = {}
        for named in evaluations.values():
            for position, (name, results) in enumerate(named.items()):
                prefix = "" if position == 0 else f"{name}/"
                found |= {printable(prefix + key): float(value) for key, value in metrics(results).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error})") from error
    return found
