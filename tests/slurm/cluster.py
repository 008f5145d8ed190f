"""A real cluster to test on: whether there is one, sweeps submitted to it, and what happens to their jobs."""

import functools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from running import overrides

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm.py"
PATIENCE = 900.0
"""Seconds that the jobs of a sweep may take."""

DISTURBANCE = '''
"""What befalls a job in the middle of a round, told from its name."""

import os
import signal
import subprocess
import time

import pytorch_lightning as pl

from crosslocate.errors import DataError
from crosslocate.lit.signals import listener


def wait_for_signal():
    until = time.monotonic() + 120
    while listener().received is None:
        assert time.monotonic() < until, "no signal came"
        time.sleep(0.05)


class Disturbance(pl.Callback):
    def __init__(self, name, step):
        self.name, self.step = name, step

    def on_train_batch_end(self, trainer, *_):
        began_again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        if trainer.global_step == self.step and not began_again:
            getattr(self, self.name)(trainer.is_global_zero)

    def undisturbed(self, first):
        pass

    def failing(self, first):
        raise DataError("query 3 is on the moon")

    def sleeping(self, first):
        print("asleep", flush=True)
        wait_for_signal()

    def preempted(self, first):
        """As an administrator would do it; all processes of the job get the signal, also the one that asks for it."""
        if first:
            job = "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format(**os.environ)
            subprocess.run(["scancel", "--signal=USR2", job], check=False)
        wait_for_signal()

    def outranked(self, first):
        """A job that matters more needs the whole node."""
        node, cores = os.environ["SLURMD_NODENAME"], os.environ["SLURM_CPUS_ON_NODE"]
        command = ["sbatch", "--partition=urgent", f"--nodelist={node}", f"--cpus-per-task={cores}", "--mem=1"]
        clean = {"PATH": os.environ["PATH"]}
        subprocess.run([*command, "--output=/dev/null", "--wrap=true"], check=True, env=clean)
        wait_for_signal()
'''


@functools.cache
def why_not() -> str | None:
    """Why no tests can run on a cluster here; None: they can."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return "SLURM is not installed (.ci/slurm install)"
    said = subprocess.run(["sinfo", "--noheader", "--format=%P"], capture_output=True, text=True)
    if said.returncode or not {"cpu*", "urgent"} <= set(said.stdout.split()):
        return "the test cluster does not answer (.ci/slurm up)"
    return None


def arguments(data: Path, folder: Path, sweep: str, *more: str) -> list[str]:
    """A sweep of short jobs, each with a disturbance after batch 9: of 6 in an epoch and 2 in a round."""
    return overrides(
        data, folder, f"hydra.sweep.dir={folder / sweep}", "trainer=cpu", "test=false", "untrained=false",
        "logger=several", "callbacks.last.every_n_steps=1", "trainer.log_every_n_steps=1", "augmentation=strong",
        "+callbacks.disturbance={_target_:disturbance.Disturbance,name:${name},step:9}",
        "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=30", "hydra.launcher.cpus_per_task=1", *more,
    )  # fmt: skip


def script(*words: str, cwd: Path, code: int = 0) -> str:
    """What ``scripts/slurm.py`` prints; it runs in a session of its own, as in a shell that is closed after it."""
    (cwd / "disturbance.py").write_text(DISTURBANCE)
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", "WANDB_MODE": "offline", "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join([str(cwd), os.environ.get("PYTHONPATH", "")]),
        "CROSSLOCATE_TRUSTED_TARGETS": "disturbance.",
    }  # fmt: skip
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=cwd, env=environment, text=True, capture_output=True,
        start_new_session=True, timeout=PATIENCE,
    )  # fmt: skip
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout + process.stderr


def queue(folder: Path) -> dict[str, str]:
    """States of the jobs of a sweep that SLURM still has, by their names there."""
    arrays = ",".join(sorted({path.name.split("_")[0] for path in (folder / ".submitit").glob("[0-9]*")}))
    command = ["squeue", "--noheader", "--array", f"--jobs={arrays}", "--format=%i %T"]
    said = subprocess.run(command, capture_output=True, text=True)
    return dict(line.split() for line in said.stdout.splitlines())


def await_state(folder: Path, job: str, state: str) -> None:
    """Wait until a job of a sweep is in a state."""
    until = time.monotonic() + PATIENCE
    while queue(folder).get(job) != state:
        assert time.monotonic() < until, f"{job} never was {state}: {queue(folder)}"
        time.sleep(0.2)


def await_end(folder: Path) -> None:
    """Wait until SLURM has none of a sweep's jobs any more."""
    until = time.monotonic() + PATIENCE
    while queue(folder):
        assert time.monotonic() < until, f"still there: {queue(folder)}"
        time.sleep(0.2)


def log(folder: Path, job: int) -> str:
    """What the latest submission of a job has printed so far."""
    logs = sorted(folder.glob(f".submitit/*_{job}/*_0_log.out")) or sorted(folder.glob(".submitit/*/*_0_log.out"))
    return logs[-1].read_text() if logs else ""
