"""The state of a sweep on SLURM, of jobs whose folders the record of the sweep names."""

import importlib.util
import sys
from pathlib import Path

import pytest
from synthetic import write_run, write_sweep

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "slurm.py"


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("slurm_status", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "slurm_status", module)  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("places", [None, ["of/seed0", "of/seed1"]])
def test_the_state_of_a_job_is_looked_for_in_its_folder(script, tmp_path, places):
    jobs = [{"seed": 0}, {"seed": 1}]
    write_sweep(tmp_path, jobs, places)
    write_run(tmp_path / (places or ["0"])[0], jobs[0])
    assert [job.state for job in script.status(tmp_path)] == ["finished", "not submitted"]
