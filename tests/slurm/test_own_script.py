"""A training in a job script of one's own, as docs/runs.md has it, on a real SLURM."""

import os
import subprocess
import sys
import time

import pytest
from cluster import DISTURBANCE, PATIENCE, why_not
from running import overrides

from crosslocate.runs.record import read_record

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


def await_end(job):
    until = time.monotonic() + PATIENCE
    while subprocess.run(["squeue", "--noheader", f"--jobs={job}"], capture_output=True, text=True).stdout.strip():
        assert time.monotonic() < until, f"job {job} does not end"
        time.sleep(0.2)


def test_a_job_that_is_told_by_sigterm_goes_back_into_the_queue_and_on_in_its_folder(tiny_dataset, tmp_path):
    """SLURM sends that, and time to follow it, where the job has not asked for another signal."""
    (tmp_path / "disturbance.py").write_text(DISTURBANCE)
    arguments = overrides(
        tiny_dataset, tmp_path, "trainer=cpu", "test=false", "untrained=false", "name=outranked",
        "callbacks.last.every_n_steps=1", f"paths.outputs={tmp_path}",
        "+callbacks.disturbance={_target_:disturbance.Disturbance,name:${name},step:9}",
    )  # fmt: skip
    words = " ".join(f"'{word}'" for word in arguments)
    (tmp_path / "job.sh").write_text(f"#!/bin/bash\nsrun {sys.executable} -m crosslocate.train {words}\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path), "CROSSLOCATE_TRUSTED_TARGETS": "disturbance.",
    }  # fmt: skip
    log = tmp_path / "job.log"
    command = ["sbatch", "--parsable", "--requeue", "--open-mode=append", f"--output={log}", "--ntasks=1", "--mem=1024"]
    command += [f"--cpus-per-task={os.cpu_count()}", str(tmp_path / "job.sh")]
    job = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    number = job.stdout.strip()
    await_end(number)
    (folder,) = (tmp_path / "train").iterdir()
    assert folder.name == f"slurm_{number}_0"
    record = read_record(folder)
    assert record["status"] == "finished", log.read_text()
    assert [(s["status"], s["from_step"], s["to_step"]) for s in record["sessions"]] == [
        ("stopped", 0, 9),
        ("finished", 9, 12),
    ]
    assert record["sessions"][0]["reason"] == "terminated"
    assert record["slurm"]["restarts"] == 1
    assert "SIGTERM: stopping after this batch" in log.read_text()
