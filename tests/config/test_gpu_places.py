"""Jobs that are started all at once on one machine share its GPUs, or its processors, between them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from crosslocate.config import places
from crosslocate.config.places import Wish, hand_on_gpus, take_place, wait_for, wished_gpus, wished_share
from crosslocate.errors import RunStopped
from crosslocate.lit.signals import listening

GPUS = "0, 100\n1, 900\n2, 300\n3, 200\n"
JOB = """
import os, sys, time
from omegaconf import OmegaConf
from crosslocate.config import places
places.PAUSE = 0.05
hydra = OmegaConf.create({"sweep": {"dir": sys.argv[1]}, "launcher": {"cpus_per_task": int(sys.argv[4])}})
places.take_place(hydra, sys.argv[2], int(sys.argv[3]))
seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
print("begin", seen, file=open(sys.argv[1] + "/log", "a"), flush=True)
time.sleep(0.3)
print("end", seen, file=open(sys.argv[1] + "/log", "a"), flush=True)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with four GPUs, within a job that submitit started there."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{GPUS}'\n")
    tool.chmod(0o755)
    for name in ("CUDA_DEVICE_ORDER", "CROSSLOCATE_GPUS", "RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(places, "PAUSE", 0.02)
    monkeypatch.setattr(places, "_kept", [])
    return tmp_path


def hydra(folder, processors=1):
    return OmegaConf.create({"sweep": {"dir": str(folder)}, "launcher": {"cpus_per_task": processors}})


def most_at_once(lines):
    """How many jobs were at work at the same time, and whether two of them saw the same GPU."""
    at_work, most, shared = [], 0, False
    for what, *seen in map(str.split, lines):
        gpus = set(seen[0].split(",")) if seen else set()
        if what == "end":
            at_work.remove(gpus)
            continue
        shared = shared or any(gpus & others for others in at_work)
        at_work.append(gpus)
        most = max(most, len(at_work))
    return most, shared


def jobs(folder, number, accelerator, devices, processors):
    """What jobs that start at once write down."""
    command = [sys.executable, "-c", JOB, str(folder), accelerator, str(devices), str(processors)]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) for _ in range(number)]
    assert [job.wait(60) for job in started] == [0] * number
    lines = (folder / "log").read_text().splitlines()
    assert len(lines) == 2 * number
    return lines


@pytest.mark.parametrize(("devices", "most"), [(1, 4), (2, 2), (3, 1)])
def test_no_two_jobs_at_work_see_the_same_gpu(machine, devices, most):
    lines = jobs(machine, 5, "auto", devices, 1)
    assert most_at_once(lines)[0] <= most
    assert not most_at_once(lines)[1]
    assert all(len(line.split()[1].split(",")) == devices for line in lines)


def test_without_gpus_processors_bound_the_jobs_at_once(machine):
    lines = jobs(machine, 3, "cpu", 1, 10_000)
    assert most_at_once(lines)[0] == 1


def test_a_job_sees_the_freest_gpu_and_the_next_one_another(machine):
    take_place(hydra(machine), "gpu", 1)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]) == ("1", "PCI_BUS_ID")
    take_place(hydra(machine), "gpu", 2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    take_place(hydra(machine), "gpu", 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_jobs_share_the_gpus_that_their_sweep_was_given(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab/1")
    hand_on_gpus()
    seen = set()
    for _ in range(2):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # as submitit does
        take_place(hydra(machine), "gpu", 1)
        seen.add(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == {"3", "GPU-ab/1"}


def test_a_sweep_that_was_given_nothing_hands_nothing_on(machine, monkeypatch):
    monkeypatch.setenv("CROSSLOCATE_GPUS", "3")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    hand_on_gpus()
    assert "CROSSLOCATE_GPUS" not in os.environ


@pytest.mark.parametrize(("name", "value"), [("SUBMITIT_EXECUTOR", "slurm"), ("LOCAL_RANK", "1")])
def test_other_processes_keep_what_they_see(machine, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    take_place(hydra(machine), "gpu", 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert not (machine / ".submitit").exists()


@pytest.mark.parametrize(
    ("devices", "wish"),
    [
        ("auto", Wish(("0", "1", "2", "3"), 4)),
        (-1, Wish(("0", "1", "2", "3"), 4)),
        ([2, 0], Wish(("2", "0"), 2)),
        ([9], Wish((), 1)),
        (2, Wish(("1", "2", "3", "0"), 2, narrows=True)),
    ],
)
@pytest.mark.usefixtures("machine")
def test_what_devices_mean(devices, wish):
    assert wished_gpus(["0", "1", "2", "3"], devices) == wish


def test_gpus_that_a_machine_does_not_have_are_not_waited_for(machine):
    take_place(hydra(machine), "gpu", 5)
    take_place(hydra(machine), "gpu", [7])
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(("processors", "at_once"), [(1, 12), (5, 2), (100, 1)])
def test_shares_of_processors(monkeypatch, processors, at_once):
    monkeypatch.setattr(places.os, "sched_getaffinity", lambda _: range(12))
    assert len(wished_share(processors).names) == at_once


def test_a_job_that_waits_says_so_and_can_be_stopped(machine, capsys):
    held = wait_for(machine, Wish(("a",), 1))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(RunStopped), listening():
        wait_for(machine, Wish(("a",), 1))
    assert "waiting for 1 of the places a" in capsys.readouterr().err
    held["a"].close()
    assert list(wait_for(machine, Wish(("a",), 1))) == ["a"]
