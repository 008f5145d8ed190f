"""The processes of a run: they begin, fail and end with their job."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from running import finish, overrides, start
from torch import distributed

from crosslocate.config import ranks
from crosslocate.config.ranks import FIRST, end_with_job, one_job


def launched(command):
    """What Lightning's launcher is when it has started a process, and that process."""
    process = subprocess.Popen(["/bin/sh", "-c", command])
    launcher = SimpleNamespace(procs=[process])
    end_with_job(launcher)
    return launcher, process


def failing(begin=lambda: None):
    """A job that does something, and fails; what it did."""
    done = []
    with pytest.raises(ValueError, match="why"), one_job(sweeping=False):  # noqa: PT012 - it is the job
        done.append(begin())
        raise ValueError("why")
    return done[0]


def test_other_processes_of_a_job_that_failed_are_gone_and_nobody_watches_them():
    launcher, process = failing(lambda: launched("exec sleep 60"))
    assert process.returncode == -9
    assert launcher.procs == []


def test_other_processes_of_a_job_that_succeeded_end_by_themselves():
    with one_job(sweeping=False):
        launcher, process = launched("sleep 0.3; exit 3")
    assert process.returncode == 3
    assert launcher.procs == []


def test_other_processes_stay_no_longer_than_they_may(monkeypatch):
    monkeypatch.setattr(ranks, "GRACE", 0.1)
    with one_job(sweeping=False):
        _, process = launched("exec sleep 60")
    assert process.returncode == -9


@pytest.fixture
def waits(monkeypatch):
    """Seconds that this process, which is not the first of its run, has waited for that; it does not really."""
    found = []
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.setattr("crosslocate.config.ranks.time.sleep", found.append)
    return found


def test_a_process_that_fails_says_why_leaves_the_others_and_waits_for_the_first(waits, tmp_path, capfd):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    failing()
    assert waits == [ranks.PATIENCE]
    assert "ValueError: why" in capfd.readouterr().err
    assert not distributed.is_initialized()


def test_a_process_that_fails_before_it_met_the_others_does_not_wait(waits):
    failing()
    assert waits == []


@pytest.mark.parametrize(("first", "status"), [("1", 0), ("2", 1)])
def test_the_first_process_may_be_number_1_of_its_container(first, status):
    code = "import os; os.getppid = lambda: 1; from crosslocate.config.ranks import *; end_with_parent()"
    environment = {**os.environ, "LOCAL_RANK": "1", FIRST: first}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == status


def test_other_processes_are_told_who_the_first_is(monkeypatch):
    monkeypatch.delenv(FIRST, raising=False)
    with one_job(sweeping=False):
        assert os.environ[FIRST] == str(os.getpid())
    assert FIRST not in os.environ


def test_a_job_of_two_processes_that_fails_leaves_the_next_one_alone(tiny_dataset, tmp_path):
    arguments = overrides(
        tiny_dataset, tmp_path, "trainer=ddp_cpu", "trainer.devices=2", "optimizer.lr=1e30,0.001", "untrained=false",
        "test=false", f"hydra.sweep.dir={tmp_path}",
    )  # fmt: skip
    output = finish(start("train", "-m", *arguments, cwd=tmp_path), 1)
    records = [json.loads((tmp_path / job / "run.json").read_text()) for job in "01"]
    assert [record["status"] for record in records] == ["failed", "finished"]
    assert records[0]["reason"] in output
    assert "sync_dist=True" not in output  # what is logged is the same in both processes
