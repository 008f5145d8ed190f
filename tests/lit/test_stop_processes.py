"""Stops of runs in processes of their own: of several that share a run, and of many that are killed in a row."""

import importlib.util
import json
import signal
import sys
from pathlib import Path

import pytest
from tiny_scenes import build_dataset

SCRIPT = Path(__file__).parents[2] / "scripts" / "stress_kills.py"


@pytest.fixture(scope="module")
def stress():
    """The script that kills trainings."""
    spec = importlib.util.spec_from_file_location("stress_kills", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stress_kills"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def two_processes(stress, tmp_path_factory):
    """A trial of two processes, and the outcome of a run of it that nobody disturbed."""
    folder = tmp_path_factory.mktemp("two")
    build_dataset(folder / "scenes")
    trial = stress.Trial(folder, 2)
    return trial, stress.undisturbed(trial)[0]


@pytest.mark.slow
def test_one_of_two_processes_is_asked_to_stop_and_both_do(stress, two_processes):
    trial, reference = two_processes
    run = trial.folder / "run"
    aims = ["validation:5:SIGUSR2:1", "extraction:3:SIGTERM:1"]
    for restarts, aim in enumerate(aims):
        signum = signal.Signals[aim.split(":")[2]]
        assert stress.ended(trial.start(run, restarts, aim)) == 128 + signum, run.with_suffix(".log").read_text()
        assert stress.faults_after_kill(run, "validation", signum.name, 128 + signum) == []
        record = json.loads((run / "run.json").read_text())
        assert record["status"] == "stopped"
        assert record["reason"] == {"SIGUSR2": "preempted", "SIGTERM": "terminated"}[signum.name]
    assert stress.ended(trial.start(run, len(aims))) == 0
    assert stress.differences(run, reference) == []


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "kills"), [(1, 4), (2, 3)])
def test_kills_lose_nothing(stress, tmp_path, ranks, kills):
    findings = stress.stress(tmp_path, kills, seed=5, ranks=ranks)
    assert findings.faults == []
    assert findings.kills.total() == kills
