"""Whole studies of trainings on the tiny data set: interrupted and killed ones give what an undisturbed one gives."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from running import TINY, finish, start

from crosslocate.runs.history import read_history
from crosslocate.runs.lock import is_running
from crosslocate.runs.record import read_record
from crosslocate.tuning.loop import run_trials
from crosslocate.tuning.process import Training
from crosslocate.tuning.space import read_space
from crosslocate.tuning.study import Task, Trials

FIXED = [o for o in TINY if not o.startswith("trainer.max_epochs")] + [
    "trainer.max_epochs=2", "test=false", "untrained=false", "callbacks.pictures.successes=[]",
    "callbacks.pictures.failures=[]",
]  # fmt: skip
SPACE = "+space={optimizer.lr: {low: 1e-4, high: 0.1, log: true}, pooling: {choices: [gem, mac]}}"


def fixed(root, folder):
    return [*FIXED, f"dataset.root={root}", f"paths.cache={folder / 'cache'}"]


def study(root, folder, *more):
    """A process that runs a study of two trials in ``folder``."""
    overrides = ",".join(json.dumps(override) for override in fixed(root, folder))
    return start(
        "tune", "study=tiny", "space=own", SPACE, f"fixed=[{overrides}]", "trials=2", "pruner.n_startup_trials=1",
        "pruner.n_warmup_steps=0", f"paths.outputs={folder}", *more, cwd=folder,
    )  # fmt: skip


def rows(folder):
    """The table of a study, without what depends on the clock."""
    with (folder / "tune" / "tiny" / "study.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def wait_for(condition, process):
    end = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def studies(tiny_dataset, tmp_path_factory):
    """Folders of a study that was left alone, and of one that was interrupted, then killed; and what they printed."""
    folders = [tmp_path_factory.mktemp(name) for name in ("undisturbed", "disturbed")]
    undisturbed, process = (study(tiny_dataset, folder) for folder in folders)
    trials = folders[1] / "tune" / "tiny" / "trials"
    wait_for(lambda: (trials / "0" / "history.json").is_file(), process)
    process.send_signal(signal.SIGINT)
    finish(process, 128 + signal.SIGINT)
    assert not is_running(trials / "0")
    left = json.loads((trials / "0" / "run.json").read_text())
    process = study(tiny_dataset, folders[1])
    wait_for(lambda: (trials / "1" / "history.json").is_file(), process)
    process.kill()
    process.communicate()
    outputs = [finish(undisturbed), finish(study(tiny_dataset, folders[1]))]
    return folders, outputs, left


def test_a_disturbed_study_is_the_undisturbed_one(studies):
    folders, *_ = studies
    assert rows(folders[0]) == rows(folders[1])
    assert [row["trial"] for row in rows(folders[0])] == ["0", "1"]


def test_an_interrupted_trial_saved_itself_and_went_on_in_its_folder(studies):
    folders, _, left = studies
    assert (left["status"], left["reason"]) == ("stopped", "terminated")
    record = read_record(folders[1] / "tune" / "tiny" / "trials" / "0")
    assert record["status"] == "finished"
    assert len(record["sessions"]) == 2


def test_the_value_of_a_trial_is_the_objective_of_its_run(studies):
    complete = [row for row in rows(studies[0][0]) if row["state"] == "complete"]
    assert complete
    for row in complete:
        record = read_record(studies[0][0] / "tune" / "tiny" / "trials" / row["trial"])
        assert record["objective"]["value"] == float(row["value"])


def test_a_pruned_trial_ends_early_and_its_record_says_so(tiny_dataset, tmp_path):
    epochs = 5000  # far more than there are between two looks at a trial
    fixed_ = [*fixed(tiny_dataset, tmp_path), f"trainer.max_epochs={epochs}"]
    hopeless = {"_target_": "optuna.pruners.ThresholdPruner", "lower": 2.0}
    sampler = {"_target_": "optuna.samplers.RandomSampler"}
    space = read_space({"optimizer.lr": {"low": 1e-4, "high": 0.1}})
    trials = Trials(tmp_path, "s", InMemoryStorage(), space, sampler, hopeless, 0, {}, {})
    objective = "val/recall@1_20m"
    run_trials(trials, lambda task, _: Training(task, fixed_, "it's", objective, {}), 1, 1, 1, lambda *_: None)
    (trial,) = trials.trials()
    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values) == [1]
    record = read_record(tmp_path / "trials" / "0")
    assert (record["status"], record["reason"], record["name"]) == ("stopped", "pruned", "it's_0")
    assert len(read_history(tmp_path / "trials" / "0")) < epochs


def test_the_best_trial_is_printed_as_a_command_line(studies):
    (folder, _), (output, _), _ = studies
    finished = [row for row in rows(folder) if row["state"] == "complete"]
    best = max(finished, key=lambda row: float(row["value"]))
    (command,) = [line for line in output.splitlines() if line.startswith("python -m crosslocate.train")]
    assert command.endswith(f"optimizer.lr={best['optimizer.lr']} pooling={best['pooling']}")


def test_a_finished_study_runs_nothing_again(studies, tiny_dataset, tmp_path):
    folder = shutil.copytree(studies[0][0] / "tune", tmp_path / "tune").parent
    before = (folder / "tune/tiny/trials/0/trial.log").read_bytes()
    finish(study(tiny_dataset, studies[0][0], f"paths.outputs={folder}"))
    assert (folder / "tune/tiny/trials/0/trial.log").read_bytes() == before


def ended(training):
    while (outcome := training.outcome()) is None:
        time.sleep(0.05)
    return outcome


@pytest.fixture
def task(tmp_path):
    return Task(4, {"optimizer.lr": 0.001}, tmp_path / "a, b" / "4")


def test_a_training_that_fails_says_why(tiny_dataset, tmp_path, task):
    training = Training(task, [*fixed(tiny_dataset, tmp_path), "dataset.root=/nowhere"], "s", "val/recall", {})
    outcome = ended(training)
    assert outcome.value is None
    assert outcome.reason.startswith("ended with status 1: ")
    assert "/nowhere" in outcome.reason


def test_a_training_that_is_killed_says_so(tiny_dataset, tmp_path, task):
    training = Training(task, fixed(tiny_dataset, tmp_path), "s", "val/recall", {"WANDB_MODE": "offline"})
    training._process.send_signal(signal.SIGKILL)
    assert ended(training).reason.startswith("killed by SIGKILL: ")


def test_a_training_of_somebody_else_is_waited_for_and_then_continued(tmp_path, task, monkeypatch):
    """The other one is a process that holds the lock of the folder, and leaves nothing behind."""
    hold = (
        "import sys, time; from crosslocate.runs.lock import held\n"
        "with held(sys.argv[1]): print('held', flush=True); sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [os.sys.executable, "-c", hold, str(task.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert other.stdout.readline() == "held\n"
    training = Training(task, [], "s", "val/recall", {})
    monkeypatch.setattr(training, "command", lambda: [os.sys.executable, "-c", "raise SystemExit(7)"])
    assert training.outcome() is None
    assert training._process is None
    other.communicate("\n")
    assert ended(training).reason == "ended with status 7: it printed nothing"


def test_a_training_on_another_machine_is_waited_for_and_not_signalled(task, monkeypatch, capsys):
    """Its number may be that of any process here."""
    signalled, looks = [], iter([True] * 4)
    task.folder.mkdir(parents=True)
    (task.folder / "run.lock").write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere"}))
    monkeypatch.setattr("crosslocate.tuning.process.is_running", lambda _: next(looks, False))
    monkeypatch.setattr("crosslocate.tuning.process.os.kill", lambda *sent: signalled.append(sent))
    monkeypatch.setattr("crosslocate.tuning.process.PATIENCE", 0.0)
    training = Training(task, [], "s", "val/recall", {})
    training.ask()
    training.end()
    assert signalled == []
    said = " ".join(capsys.readouterr().err.split())
    assert "waiting for the training there, which is at work on elsewhere" in said


def test_a_training_of_this_machine_is_asked_to_end(task, monkeypatch):
    signalled = []
    task.folder.mkdir(parents=True)
    (task.folder / "run.lock").write_text(json.dumps({"pid": 17, "host": socket.gethostname()}))
    monkeypatch.setattr("crosslocate.tuning.process.is_running", lambda _: True)
    monkeypatch.setattr("crosslocate.tuning.process.os.kill", lambda *sent: signalled.append(sent))
    Training(task, [], "s", "val/recall", {}).ask()
    assert signalled == [(17, signal.SIGTERM)]
