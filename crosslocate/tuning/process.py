"""One trial as a training in a process of its own, judged by what it leaves in its folder."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crosslocate.config.folders import can_go_on
from crosslocate.console import say
from crosslocate.errors import CheckpointError
from crosslocate.runs.history import read_history
from crosslocate.runs.lock import holder, is_running
from crosslocate.runs.record import RunRecord, read_record
from crosslocate.tuning.space import as_overrides, quoted
from crosslocate.tuning.study import Task

LOG = "trial.log"
PRUNED = "pruned"
PATIENCE = 120.0
"""Seconds that a training has to save itself, once it is asked to end."""
PAUSE = 0.2


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with a value, or without one for a reason."""

    value: float | None
    reason: str = ""


class Training:
    """The training of a trial: begun, continued where an earlier process left it, or found finished.

    Args:
        task: The trial.
        fixed: Overrides that all trials share.
        study: Name of the study.
        objective: Name of the metric whose values are reported.
        environment: Variables of the process beside this one's.
    """

    def __init__(
        self, task: Task, fixed: Sequence[str], study: str, objective: str, environment: Mapping[str, str]
    ) -> None:
        self.task, self.folder, self.objective = task, task.folder, objective
        self._fixed, self._study, self._environment = fixed, study, environment
        self._process: subprocess.Popen[bytes] | None = None
        if not is_running(self.folder) and self._finished() is None:
            self._process = self._start()

    def values(self) -> list[tuple[int, float]]:
        """The objective by epochs trained, of the validations so far."""
        try:
            history = read_history(self.folder)
        except ValueError as error:
            raise CheckpointError(f"{self.folder}: history.json is damaged ({error})") from error
        measured = [entry for entry in history if entry["epoch"] >= 0 and self.objective in entry]
        return [(int(entry["epoch"]) + 1, entry[self.objective]) for entry in measured]

    def outcome(self) -> Outcome | None:
        """How the training ended; None while it is at work."""
        status = None if self._process is None else self._process.poll()
        if (self._process is not None and status is None) or is_running(self.folder):
            return None
        if (value := self._finished()) is not None:
            return Outcome(value)
        if self._process is None:  # somebody else's, which did not finish
            self._process = self._start()
            return None
        return Outcome(None, f"{_ended(status)}: {last_words(self.folder / LOG)}")

    def ask(self) -> None:
        """Ask the training to save itself and end; only one on this machine can be asked."""
        self._signal(signal.SIGTERM)

    def end(self, reason: str | None = None) -> None:
        """Wait for a training that was asked to end, and kill it when it takes too long.

        Args:
            reason: What the record of the run says then; None keeps what the training wrote.
        """
        if self._at_work() and self._pid() is None:
            say(f"{self.folder}: waiting for the training there, which is at work on {self._host()}")
        end = time.monotonic() + PATIENCE
        while self._at_work():
            if time.monotonic() > end:
                self._signal(signal.SIGKILL)
            time.sleep(PAUSE)
        record = read_record(self.folder) if reason else None
        if record is not None and record["status"] != "finished":
            RunRecord(self.folder, record).update(status="stopped", reason=reason)

    def command(self) -> list[str]:
        """The command line of the training."""
        program = [sys.executable, "-m", "crosslocate.train"]
        if can_go_on(self.folder):
            return [*program, f"resume={quoted(str(self.folder))}"]
        own = [f"hydra.run.dir={quoted(str(self.folder))}", f"name={quoted(f'{self._study}_{self.task.number}')}"]
        return [*program, *self._fixed, *as_overrides(self.task.values), *own]

    def _start(self) -> "subprocess.Popen[bytes]":
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG).open("ab") as log:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # an interrupt at the terminal reaches this process alone
            )

    def _finished(self) -> float | None:
        record = read_record(self.folder)
        if record is None or record["status"] != "finished" or not record.get("objective"):
            return None
        return float(record["objective"]["value"])

    def _at_work(self) -> bool:
        return (self._process is not None and self._process.poll() is None) or is_running(self.folder)

    def _pid(self) -> int | None:
        """The training's process, if it is one of this machine: numbers of another's mean others here."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        return holder(self.folder).get("pid") if self._host() == socket.gethostname() else None

    def _host(self) -> str:
        return str(holder(self.folder).get("host", "another machine"))

    def _signal(self, number: int) -> None:
        if self._at_work() and (pid := self._pid()) is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def last_words(log: Path) -> str:
    """The last error that a training printed, else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("error: ")


def _ended(status: int | None) -> str:
    if status is not None and status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
