"""Some GPUs of several: the freest, unless somebody has chosen."""

import os

import pytest

from crosslocate.devices import free_memory, take_free_gpus


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose ``nvidia-smi`` prints a text."""

    def build(text, status=0):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {status}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return build


def test_the_freest_is_the_first(machine):
    machine("0, 100\\n1, 30000\\n2, 30000\\n")
    assert free_memory() == {0: 100, 1: 30000, 2: 30000}
    assert take_free_gpus("gpu", 1) == [1, 2, 0]
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]) == ("1,2,0", "PCI_BUS_ID")
    assert take_free_gpus("gpu", 1) is None


@pytest.mark.parametrize("devices", [2, "2"])
def test_the_others_stay_for_jobs_of_the_same_process_that_want_more(machine, devices):
    machine("0, 100\\n1, 300\\n2, 300\\n3, 400\\n")
    assert take_free_gpus("auto", devices) == [3, 1, 2, 0]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,1,2,0"


@pytest.mark.parametrize("variable", ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS"])
def test_what_a_scheduler_gave_is_taken(machine, monkeypatch, variable):
    machine("0, 100\\n1, 30000\\n")
    monkeypatch.setenv(variable, "0")
    assert take_free_gpus("gpu", 1) is None


@pytest.mark.parametrize(
    "variables",
    [
        {"LOCAL_RANK": "0"},
        {"WORLD_SIZE": "2"},
        {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"},
    ],
)
def test_processes_that_would_each_choose_take_what_the_machine_says(machine, monkeypatch, variables):
    machine("0, 100\\n1, 30000\\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert take_free_gpus("gpu", 1) is None


def test_the_order_stays_once_cuda_has_taken_it(machine, monkeypatch):
    machine("0, 100\\n1, 30000\\n")
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    assert take_free_gpus("gpu", 1) is None


@pytest.mark.parametrize(
    ("accelerator", "devices"), [("cpu", 1), ("gpu", 2), ("gpu", [0]), ("auto", -1), ("auto", "auto"), ("gpu", "1,")]
)
def test_other_choices_stand(machine, accelerator, devices):
    machine("0, 100\\n1, 30000\\n")
    assert take_free_gpus(accelerator, devices) is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("text", "status"), [("", 0), ("0, 100\\n", 0), ("0, 100\\n1, 200\\n", 9), ("no devices\\n", 0)]
)
def test_where_nothing_can_be_told_nothing_is_chosen(machine, text, status):
    machine(text, status)
    assert take_free_gpus("auto", 1) is None
