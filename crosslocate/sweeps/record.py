"""The record of a sweep, ``sweep.json``: the command line and the jobs that it stands for."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crosslocate.errors import SweepError, UnwritableError
from crosslocate.runs.fingerprint import config_differences
from crosslocate.runs.record import now, read_record, write_whole
from crosslocate.sweeps.check import Checked
from crosslocate.sweeps.loader import without_hydra

FILE = "sweep.json"
FORMAT = 1
_SHOWN = 5


def read_sweep(folder: str | Path) -> dict[str, Any] | None:
    """The record of the sweep in a folder; None where there is none.

    Raises:
        SweepError: It is damaged or of another format.
    """
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise SweepError(f"{path} is damaged and cannot be read ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise SweepError(f"{path} has format {found!r}; this version reads format {FORMAT}")
    if not (_texts(content.get("argv")) and isinstance(content.get("jobs"), list) and all(map(_job, content["jobs"]))):
        raise SweepError(f"{path} is damaged: argv or jobs is missing or of another kind")
    return content


def job_folder(folder: Path, job: Mapping[str, Any]) -> Path:
    """Folder of a job's run.

    Args:
        folder: Folder of the sweep.
        job: One of the jobs in its record.
    """
    return folder / job.get("folder", str(job["number"]))


def record_sweep(folder: Path, overrides: Sequence[str], found: Sequence[Checked]) -> None:
    """Write the record of a sweep that is about to start, unless the same sweep is there already.

    Args:
        folder: Folder of the sweep.
        overrides: Those of the command line, with all values of each.
        found: Its jobs, all of which can run.

    Raises:
        SweepError: The folder has another sweep, or the configuration of a job has changed since.
        UnwritableError: The file cannot be written.
    """
    jobs = [_entry(folder, checked) for checked in found]
    old = read_sweep(folder)
    if old is not None:
        _require_same(folder, old["jobs"], jobs, found)
        return
    content = {
        "format": FORMAT,
        "name": folder.name,
        "created": now(),
        "cwd": str(Path.cwd()),
        "argv": sys.argv,
        "overrides": list(overrides),
        "jobs": jobs,
    }
    try:
        write_whole(folder / FILE, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise UnwritableError(f"{folder / FILE} cannot be written: {error.strerror or error}") from error


def _entry(folder: Path, checked: Checked) -> dict[str, Any]:
    """What the record says of a job: its folder from that of the sweep, or absolute where it is elsewhere."""
    place = Path(checked.folder)
    return {
        "number": checked.job.number,
        "folder": str(place.relative_to(folder) if place.is_relative_to(folder) else place),
        "overrides": list(checked.job.overrides),
        "fingerprint": checked.fingerprint,
    }


def _require_same(folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], found: Sequence[Checked]) -> None:
    if [job["overrides"] for job in old] != [job["overrides"] for job in new]:
        raise SweepError(
            f"hydra.sweep.dir={folder} is not allowed; allowed: a folder without another sweep. There is one of "
            f"{len(old)} jobs, the first of which is {' '.join(old[0]['overrides']) if old else 'missing'}"
        )
    for before, job in zip(old, new, strict=True):
        if job_folder(folder, before) != job_folder(folder, job):
            raise SweepError(
                f"hydra.sweep.dir={folder} is not allowed with another hydra.sweep.subdir or paths.run: its job "
                f"{job['number']} is in {job_folder(folder, before)}, and would be in {job_folder(folder, job)}"
            )
    known = [job["fingerprint"] for job in old]
    changed = [checked for checked, before in zip(found, known, strict=True) if checked.fingerprint != before]
    if changed:
        numbers = ", ".join(str(checked.job.number) for checked in changed[:_SHOWN])
        more = ", ..." if len(changed) > _SHOWN else ""
        raise SweepError(
            f"hydra.sweep.dir={folder} is not allowed: the configuration of {len(changed)} of its {len(new)} jobs "
            f"(number {numbers}{more}) has changed since the sweep began{_differences(changed)}. Take the change back, "
            "or begin a new sweep in another folder"
        )


def _differences(changed: Sequence[Checked]) -> str:
    """What has changed, where a job has left a record to compare with."""
    for checked in changed:
        record = read_record(checked.folder)
        if record is not None:
            found = config_differences(record["config"], without_hydra(checked.composed))
            pairs = [f"{key} from {old!r} to {new!r}" for key, (old, new) in found.items()]
            return f": {', '.join(pairs[:_SHOWN])}{', ...' if len(pairs) > _SHOWN else ''}"
    return ""


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _job(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("number"), int)
        and isinstance(value.get("folder", ""), str)
        and "\0" not in value.get("folder", "")
        and isinstance(value.get("fingerprint"), str)
        and _texts(value.get("overrides"))
    )
