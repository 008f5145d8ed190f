"""Sweeps on SLURM that need no open shell: submit them, see how they are, cancel them, gather what they found.

python scripts/slurm.py submit modality=depth,segments seed=0,1,2 hydra.launcher.partition=gpu
python scripts/slurm.py status outputs/sweep/2026-01-31_12-00-00
python scripts/slurm.py cancel outputs/sweep/2026-01-31_12-00-00 [job ...]
python scripts/slurm.py collect outputs/sweep/2026-01-31_12-00-00

What follows `submit` is what would follow `python -m crosslocate.train -m hydra/launcher=slurm`. It returns when the
jobs are in SLURM's queue. A process stays behind that waits for them, with its log in submit.log in the sweep's folder;
nothing happens to the jobs if it ends. All that is known of a sweep is in its folder and in SLURM.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from crosslocate.config.folders import unused_folder
from crosslocate.errors import CrossLocateError
from crosslocate.runs.record import read_record
from crosslocate.sweeps.record import job_folder, read_sweep

LOG = "submit.log"
HISTORY = "history.json"
PATIENCE = 600.0
"""Seconds that a submission may take."""
SUBMITTED = re.compile(r"(?P<job>\d+)(_(?P<task>\d+))?_submitted\.pkl")
EXPANDED = "%i|%T|%r"
"""Format of squeue: job, state, reason of waiting."""


class SlurmError(CrossLocateError):
    """SLURM is not there, or refused."""


@dataclass(frozen=True)
class Job:
    """How a job of a sweep is.

    Args:
        number: In the sweep.
        slurm: SLURM's name of it, as ``12_3``; None: not submitted.
        overrides: What makes it different from the others.
        state: ``pending``, ``running``, ``waiting to continue``, ``finished``, ``stopped``, ``failed``, ...
        told: More about the state: a reason, how far it is, or what was found.
        queued: Whether SLURM still has it.
    """

    number: int
    slurm: str | None
    overrides: Sequence[str]
    state: str
    told: str
    queued: bool


@dataclass(frozen=True)
class Queue:
    """What SLURM knows of jobs, by their names.

    Args:
        waiting: State and reason of those in the queue or running.
        ended: State of those that are gone, if there is accounting.
    """

    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------- submitting


def submit(overrides: Sequence[str]) -> Path:
    """Start a sweep in a session of its own, and wait until all of its jobs are in SLURM's queue.

    Returns:
        Folder of the sweep.

    Raises:
        SlurmError: There is no SLURM here, or the jobs were not submitted; says why.
    """
    if shutil.which("sbatch") is None:
        raise SlurmError("there is no sbatch here: submit from a machine of the cluster")
    folder = sweep_folder(overrides)
    folder.mkdir(parents=True, exist_ok=True)
    earlier = set(submitted(folder).values())
    ours = [*_unless_given("hydra/launcher=slurm", overrides), f"hydra.sweep.dir={_quoted(folder)}"]
    command = [sys.executable, "-m", "crosslocate.train", "-m", *overrides, *ours]
    with (folder / LOG).open("a") as log:
        begin = log.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    until = time.monotonic() + PATIENCE
    while not _complete(folder, earlier):
        if process.poll() is not None and not _complete(folder, earlier):
            raise SlurmError(f"nothing was submitted; {folder / LOG} says:\n{_since(folder / LOG, begin)}")
        if time.monotonic() > until:
            raise SlurmError(f"nothing was submitted in {PATIENCE:.0f} s; look into {folder / LOG}")
        time.sleep(0.2)
    return folder


def sweep_folder(overrides: Sequence[str]) -> Path:
    """Folder of a sweep: what ``hydra.sweep.dir`` says, else a new one below ``paths.outputs``."""
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    if "hydra.sweep.dir" in given:
        return Path(given["hydra.sweep.dir"].strip("'\"")).expanduser().absolute()
    outputs = Path(given.get("paths.outputs", os.environ.get("CROSSLOCATE_OUTPUTS", "outputs")))
    return Path(unused_folder(str(outputs.absolute() / "sweep" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}")))


def _unless_given(default: str, overrides: Sequence[str]) -> list[str]:
    return [] if any(o.startswith(default.partition("=")[0] + "=") for o in overrides) else [default]


def _quoted(folder: Path) -> str:
    text = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def _complete(folder: Path, earlier: set[str]) -> bool:
    """Whether every job of the sweep was given to SLURM since, with all that it needs to begin."""
    sweep = read_sweep(folder)
    new = {name for name in submitted(folder).values() if name not in earlier}
    return sweep is not None and len(new) >= len(sweep["jobs"])


def _since(log: Path, begin: int) -> str:
    with log.open() as file:
        file.seek(begin)
        return file.read()[-4000:].strip()


# -------------------------------------------------------------------------------------------------------------- status


def status(folder: Path) -> list[Job]:
    """How every job of a sweep is.

    Raises:
        SlurmError: The folder has no sweep.
    """
    sweep = read_sweep(folder)
    if sweep is None:
        raise SlurmError(f"{folder} is not the folder of a sweep: it has no sweep.json")
    names = submitted(folder)
    queue = ask(list(names.values()))
    everywhere = set.intersection(*(set(job["overrides"]) for job in sweep["jobs"])) if sweep["jobs"] else set()
    return [
        described(
            job_folder(folder, job),
            job["number"],
            names.get(job["number"]),
            [o for o in job["overrides"] if o not in everywhere],
            queue,
        )
        for job in sweep["jobs"]
    ]


def submitted(folder: Path) -> dict[int, str]:
    """SLURM's name of the latest submission of every job of a sweep, by the job's number."""
    found = (SUBMITTED.fullmatch(file.name) for file in folder.glob(".submitit/*/*_submitted.pkl"))
    pairs = sorted((int(m["job"]), int(m["task"] or 0), m["task"]) for m in found if m)
    return {number: f"{job}_{number}" if task else str(job) for job, number, task in pairs}


def described(folder: Path, number: int, slurm: str | None, overrides: Sequence[str], queue: Queue) -> Job:
    """How a job is, told from the record of its run and from SLURM's queue."""
    record = read_record(folder)
    queued = slurm in queue.waiting
    if queued:
        state, told = _in_queue(*queue.waiting[str(slurm)], folder, record)
    else:
        state, told = _out_of_queue(queue.ended.get(str(slurm)), record)
    return Job(number, slurm, overrides, state, told, queued)


def _in_queue(state: str, reason: str, folder: Path, record: dict[str, Any] | None) -> tuple[str, str]:
    if state == "PENDING":
        begun = record is not None and bool(record["sessions"])
        return ("waiting to continue", _progress(folder, record)) if begun else ("pending", reason.replace("None", ""))
    return state.lower(), _progress(folder, record)


def _out_of_queue(state: str | None, record: dict[str, Any] | None) -> tuple[str, str]:
    if record is None:
        return (state.lower(), "before it began") if state else ("not submitted", "")
    if record["status"] == "finished":
        objective = record.get("objective")
        return "finished", f"{objective['name']} {objective['value']:.4f}" if objective else ""
    if record["status"] == "running":  # nobody told the end
        return "failed", f"ended by SLURM: {(state or 'UNKNOWN').lower()}"
    return record["status"], str(record.get("reason") or "").partition("\n")[0]


def _progress(folder: Path, record: dict[str, Any] | None) -> str:
    try:
        last = json.loads((folder / HISTORY).read_text())["epochs"][-1]
        done = f"epoch {last['epoch'] + 1:.0f}, step {last['step']:.0f}"
    except (OSError, ValueError, LookupError):
        done = "epoch 0"
    starts = len(record["sessions"]) if record else 0
    return done + (f", started {starts} times" if starts > 1 else "")


def ask(names: Sequence[str]) -> Queue:
    """What SLURM knows of jobs."""
    if not names or shutil.which("squeue") is None:
        return Queue()
    arrays = ",".join(sorted({name.partition("_")[0] for name in names}))
    lines = _said("squeue", "--noheader", "--array", f"--jobs={arrays}", f"--format={EXPANDED}")
    waiting = {job: (state, reason) for job, state, reason in (line.split("|", 2) for line in lines)}
    ended = _said("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={arrays}", "--format=JobID,State")
    return Queue(waiting, {job: state.split()[0] for job, state in (line.split("|", 1) for line in ended)})


def _said(*command: str) -> list[str]:
    """The lines that a command prints; none where it fails: squeue does for jobs that are gone for long."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.splitlines() if result.returncode == 0 else []


def table(jobs: Sequence[Job]) -> str:
    """Jobs as lines of text, one below the other."""
    rows = [("job", "slurm", "state", "", "overrides")]
    rows += [(str(j.number), j.slurm or "-", j.state, j.told, " ".join(j.overrides)) for j in jobs]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    )


# --------------------------------------------------------------------------------------------------- cancel and collect


def cancel(folder: Path, numbers: Sequence[int]) -> list[Job]:
    """Take jobs of a sweep from SLURM: those with these numbers, or all; running ones save first.

    Returns:
        The jobs that were cancelled; those that SLURM does not have any more are not among them.

    Raises:
        SlurmError: A number that the sweep does not have, or SLURM refused.
    """
    jobs = {job.number: job for job in status(folder)}
    if unknown := [number for number in numbers if number not in jobs]:
        raise SlurmError(f"{folder} has no job {unknown[0]}; it has {', '.join(map(str, jobs))}")
    wanted = [job for job in jobs.values() if job.queued and (not numbers or job.number in numbers)]
    if wanted:
        result = subprocess.run(["scancel", *(str(job.slurm) for job in wanted)], capture_output=True, text=True)
        if result.returncode:
            raise SlurmError(f"scancel: {result.stderr.strip()}")
    return wanted


def collect(folder: Path) -> int:
    """Print the table of what the runs of a sweep found; the exit status of the report."""
    return subprocess.run([sys.executable, "-m", "crosslocate.report", str(folder)], check=False).returncode


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "submit",
        usage="%(prog)s [--config-dir FOLDER] [override ...]",
        help="start a sweep and return when its jobs are in the queue; overrides as for crosslocate.train -m",
    )
    for name, purpose in (("status", "how every job is"), ("cancel", "stop jobs"), ("collect", "gather the results")):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("folder", type=Path, help="of the sweep")
        if name == "cancel":
            command.add_argument("jobs", type=int, nargs="*", help="their numbers in the sweep; default: all")
    given, rest = parser.parse_known_args(words)
    if given.command != "submit" and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    given.overrides = list(words[1:])
    return given


def main() -> int:
    given = arguments(sys.argv[1:])
    try:
        if given.command == "submit":
            folder = submit(given.overrides)
            print(f"{folder}\n{table(status(folder))}")
        elif given.command == "status":
            print(table(status(given.folder.absolute())))
        elif given.command == "cancel":
            print("cancelled: " + (", ".join(str(job.number) for job in cancel(given.folder, given.jobs)) or "nothing"))
        else:
            return collect(given.folder)
    except CrossLocateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
