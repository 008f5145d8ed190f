"""Whole runs on the tiny data set: train, evaluate, kill and resume, several processes, sweeps."""

import csv
import json
import shutil
import signal

import pytest
import torch
from running import call, finish, overrides, start

from crosslocate import evaluate, train
from crosslocate.errors import CheckpointError, ConfigError, DataError
from crosslocate.lit.csv import log_files


@pytest.fixture(scope="module")
def run(tiny_dataset, tmp_path_factory):
    """Folder and objective of one training."""
    folder = tmp_path_factory.mktemp("run")
    objective = call(
        train.main, "train", overrides(tiny_dataset, folder, f"paths.run={folder}", "name=run", "mining.negatives=2")
    )
    return folder, objective


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_a_run_leaves_checkpoints_results_plots_and_a_log(run):
    folder, objective = run
    results = results_of(folder)
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert results["objective"] == {"val/recall@1_20m": objective}
    assert set(results["evaluations"]) == {"val", "test"}
    for named in results["evaluations"].values():
        assert set(named) == {"trained", "untrained"}
        first = named["trained"]["recalls"][0]
        assert first["number"] == 1
        assert first["chance"] == pytest.approx(12 / 24)  # one of two places, twelve views each
    assert [entry["epoch"] for entry in results["history"]] == [-1, 0, 1]
    for name in ("recall_over_distance_val", "recall_over_distance_test", "recall_by_epoch", "loss"):
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "metrics" / "metrics.csv").open() as file:
        columns = next(csv.reader(file))
    assert {"train/loss_step", "val/recall@1_20m", "mining/triplets", "mining/violating"} <= set(columns)


def test_checkpoints_load_safely_and_explain_themselves(run):
    content = torch.load(run[0] / "checkpoints" / "best.ckpt", weights_only=True)
    assert content["crosslocate_config"]["mining"]["queries_per_round"] == 4


def test_a_run_leaves_no_descriptors_behind(run):
    assert {p.name for p in run[0].iterdir()} >= {"checkpoints", "metrics", "plots", "results.json", "curves.csv"}
    assert not (run[0] / "descriptors").exists()
    assert not (run[0] / "mining").exists()


def test_the_last_checkpoint_knows_the_best_score(run):
    state = torch.load(run[0] / "checkpoints" / "last.ckpt", weights_only=True)
    (best,) = [s for name, s in state["callbacks"].items() if name.startswith("ModelCheckpoint")]
    assert float(best["best_model_score"]) == pytest.approx(
        max(h["val/recall@1_20m"] for h in results_of(run[0])["history"] if h["epoch"] >= 0)
    )


def test_what_the_test_needs_is_missed_before_training(tiny_dataset, tmp_path):
    root = shutil.copytree(tiny_dataset, tmp_path / "data")
    (root / "queries/photo/p0007_q01.jpg").unlink()  # of the test split
    with pytest.raises(DataError, match=r"p0007_q01\.jpg"):
        call(train.main, "train", overrides(root, tmp_path, f"paths.run={tmp_path / 'run'}", "name=x"))
    assert not (tmp_path / "run" / "metrics").exists()


def test_a_gpu_that_is_not_there_is_missed_before_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    arguments = overrides(tmp_path / "nowhere", tmp_path, "trainer=gpu", f"paths.run={tmp_path / 'run'}", "name=x")
    with pytest.raises(ConfigError, match=r"trainer\.accelerator='gpu'.*no GPU here"):
        call(train.main, "train", arguments)


def test_evaluate_in_the_precision_of_the_training(tiny_dataset, tmp_path):
    arguments = overrides(
        tiny_dataset, tmp_path, f"paths.run={tmp_path / 'run'}", "name=x", "trainer.precision=bf16-mixed"
    )
    call(train.main, "train", arguments)
    again = [f"checkpoint={tmp_path / 'run'}", "trainer=cpu", "trainer.enable_progress_bar=false"]
    call(evaluate.main, "evaluate", [*again, f"paths.run={tmp_path / 'again'}"])
    before, now = (results_of(tmp_path / name)["evaluations"] for name in ("run", "again"))
    assert all(now[split]["trained"] == before[split]["trained"] for split in ("val", "test"))


def test_a_corrupt_image_met_by_a_worker_is_one_short_message(tiny_dataset, tmp_path):
    root = shutil.copytree(tiny_dataset, tmp_path / "data")
    (root / "queries/photo/p0001_q01.jpg").write_bytes(b"not a picture")
    arguments = overrides(root, tmp_path, "dataset.workers=1", "untrained=false", "test=false")
    output = finish(start("train", *arguments, cwd=tmp_path), 1)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "p0001_q01.jpg" in line
    assert "row 4" in line
    assert "Traceback" not in output


def test_evaluate_gives_the_numbers_of_the_training(run, tmp_path):
    folder, objective = run
    arguments = [f"checkpoint={folder}", "trainer=cpu", "trainer.enable_progress_bar=false", f"paths.run={tmp_path}"]
    measured = call(evaluate.main, "evaluate", arguments)
    assert measured == objective
    before, now = results_of(folder)["evaluations"], results_of(tmp_path)["evaluations"]
    for split in ("val", "test"):
        assert now[split]["trained"] == before[split]["trained"]
    kinds = {file.name.split("_")[0] for file in (tmp_path / "pictures").glob("*.png")}
    assert kinds
    assert kinds <= {"successes", "failures"}


def test_evaluate_takes_other_thresholds_and_refuses_other_keys(run, tmp_path):
    base = [f"checkpoint={run[0]}", "trainer=cpu", "trainer.enable_progress_bar=false", f"paths.run={tmp_path}"]
    call(evaluate.main, "evaluate", [*base, "splits=[test]", "overrides=['evaluation.distances=[20,4000]']"])
    records = results_of(tmp_path)["evaluations"]["test"]["trained"]["recalls"]
    far = next(r for r in records if r["distance_m"] == 4000 and r["number"] == 1 and r["heading_deg"] is None)
    assert far["recall"] == 1.0  # both places of the split are within 4 km
    with pytest.raises(ConfigError, match=r"evaluation\.distance="):
        call(evaluate.main, "evaluate", [*base, "overrides=['evaluation.distance=20']"])


def test_evaluate_changes_groups_of_the_run_and_measures_the_training_set(run, tmp_path):
    base = [f"checkpoint={run[0]}", "trainer=cpu", "trainer.enable_progress_bar=false", f"paths.run={tmp_path}"]
    changes = ["evaluation/chance=drawn", "evaluation.threshold=strict", "evaluation.distances=[20,4000]"]
    call(evaluate.main, "evaluate", [*base, "splits=[train,val]", "distance=vincenty", *changes])
    found = {split: named["trained"] for split, named in results_of(tmp_path)["evaluations"].items()}
    assert [found[split]["queries"] for split in ("train", "val")] == [12, 6]
    for split, results in found.items():
        assert (results["threshold"], results["chance_by"]["draws"], results["split"]) == ("strict", 11, split)
        assert (results["numbers"], results["distances_m"]) == ([1, 5, 100], [20, 4000])  # the run's, and the new ones
        lines = (tmp_path / f"matches_{split}.csv").read_text().splitlines()
        assert len(lines) == 1 + 10 * results["queries"]
    call(evaluate.main, "evaluate", [*base, "splits=[val]", "evaluation.numbers=[1]"])
    assert results_of(tmp_path)["evaluations"]["val"]["trained"]["threshold"] == "inclusive"


def test_a_checkpoint_of_another_architecture_is_refused(run, tmp_path):
    arguments = [
        f"checkpoint={run[0]}", "trainer=cpu", f"paths.run={tmp_path}", "overrides=['network.descriptor_size=8']",
    ]  # fmt: skip
    with pytest.raises(CheckpointError, match=r"projection\.weight \(16, .* instead of \(8, "):
        call(evaluate.main, "evaluate", arguments)


def test_a_checkpoint_of_another_version_is_refused(run, tmp_path):
    content = torch.load(run[0] / "checkpoints" / "best.ckpt", weights_only=True)
    del content["crosslocate_config"]["dataset"]["mirror"]
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=r"(?s)old\.ckpt: nothing can be built.*another version.*mirror"):
        call(evaluate.main, "evaluate", [f"checkpoint={tmp_path / 'old.ckpt'}", f"paths.run={tmp_path}"])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04cposix\nsystem\n."])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "bad.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.ckpt is not a readable checkpoint"):
        call(evaluate.main, "evaluate", [f"checkpoint={tmp_path / 'bad.ckpt'}", f"paths.run={tmp_path}"])


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none\.ckpt"):
        call(evaluate.main, "evaluate", [f"checkpoint={tmp_path / 'none.ckpt'}", f"paths.run={tmp_path}"])


@pytest.mark.parametrize("override", ["backbone=resnet18", "debug=fast"])
def test_resume_refuses_another_group(run, tmp_path, override):
    key, value = override.split("=")
    with pytest.raises(ConfigError, match=f"{key}='{value}'"):
        call(train.main, "train", [f"resume={run[0]}", override, f"paths.run={tmp_path}", "name=x"])


KILLER = """
import os, signal
import pytorch_lightning as pl

class Killer(pl.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_killed_in_the_middle_of_a_round_ends_with_the_same_weights(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSLOCATE_TRUSTED_TARGETS", "killer.")
    (tmp_path / "killer.py").write_text(KILLER)
    arguments = overrides(
        tiny_dataset, tmp_path, "dataset.workers=1", "callbacks.last.every_n_steps=1", "test=false", "untrained=false",
        "augmentation=strong", "trainer.log_every_n_steps=1",
    )  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # 6 steps an epoch, 2 a round: step 9 is the middle of a round
    kill = "+callbacks.killer={_target_:killer.Killer,step:10}"
    undisturbed = start("train", *arguments, f"hydra.run.dir={whole}", cwd=tmp_path)
    finish(start("train", *arguments, kill, f"hydra.run.dir={killed}", cwd=tmp_path, path=tmp_path), -signal.SIGKILL)
    finish(undisturbed)
    state = torch.load(killed / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 9
    finish(start("train", f"resume={killed}", "+callbacks.killer.step=-1", cwd=tmp_path, path=tmp_path))
    first, second = weights(whole), weights(killed)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [list(csv.DictReader(path.open())) for path in log_files(killed / "metrics")]
    before, after = ({int(row["step"]) for row in rows if row["train/loss_step"]} for rows in logs)
    assert before | after == set(range(12))  # nothing that was logged is lost
    assert after == {8, 9, 10, 11}  # what is saved with step 9 has the row of step 8, which may not be in the log yet
    began, resumed = (killed / folder / "overrides.yaml" for folder in (".hydra", ".hydra_resumed"))
    assert began.read_text() == (whole / ".hydra" / "overrides.yaml").read_text() + f"- {kill}\n"
    assert "resume=" in resumed.read_text()
    assert (killed / "results.json").is_file()


def test_two_processes_give_the_recalls_of_one(run, tmp_path):
    folder, _ = run
    arguments = [f"checkpoint={folder}", "trainer=ddp_cpu", "trainer.enable_progress_bar=false"]
    folders = [f"paths.cache={folder / 'cache'}", f"hydra.run.dir={tmp_path / 'two'}"]
    finish(start("evaluate", *arguments, *folders, cwd=tmp_path))
    one, two = results_of(folder)["evaluations"], results_of(tmp_path / "two")["evaluations"]
    for split in ("val", "test"):
        assert one[split]["trained"]["recalls"] == two[split]["trained"]["recalls"]
        assert one[split]["trained"]["median_error_m"] == two[split]["trained"]["median_error_m"]
    assert [p.name for p in tmp_path.iterdir()] == ["two"]  # one directory, whatever the number of processes
