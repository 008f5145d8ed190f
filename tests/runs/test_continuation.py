"""A job of a sweep that is started again goes on, or is left as it is, or refuses."""

import json
import os
import shutil

import pytest
import torch
from running import call

from crosslocate import train
from crosslocate.errors import CheckpointError, ConfigError, DataError
from crosslocate.lit.module import RetrievalModule
from crosslocate.mining.callback import MiningCallback
from crosslocate.runs.fingerprint import config_fingerprint
from crosslocate.runs.record import RunRecord, read_record


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rewritten(folder, **changes):
    RunRecord(folder, {**read_record(folder), **changes}).write()


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def no_training(*_):
    raise AssertionError("a finished training goes on")


def test_the_record_of_a_finished_job(finished_job):
    record, results = read_record(finished_job), json.loads((finished_job / "results.json").read_text())
    assert (record["status"], record["fitted"]) == ("finished", True)
    assert {record["objective"]["name"]: record["objective"]["value"]} == results["objective"]
    assert record["weights"] == results["weights"]
    assert record["sweep"] == {"folder": str(finished_job.parent), "name": finished_job.parent.name, "job": 0}
    assert record["choices"]["modality"] == "depth"
    assert not any(name.startswith("hydra/") for name in record["choices"])
    assert (record["sessions"][0]["from_step"], record["sessions"][0]["to_step"]) == (0, 12)
    assert record["world_size"] == 1


def test_a_finished_job_is_not_run_again(run_job, job, capsys):
    before = files(job)
    assert run_job(job) == read_record(job)["objective"]["value"]
    assert files(job) == before
    assert f"{job} is finished" in capsys.readouterr().err.replace("\n", "")


def test_another_configuration_is_refused_with_the_values_that_changed(run_job, job):
    before = files(job)
    with pytest.raises(ConfigError, match=r"(?s)paths\.run=.*optimizer\.lr: 0\.003 -> 0\.5\n.*seed: 0 -> 1\n"):
        run_job(job, "optimizer.lr=0.5", "seed=1")
    assert files(job) == before


def test_values_that_change_nothing_are_no_other_configuration(run_job, job):
    assert run_job(job, "logger=none", "dataset.workers=1", "name=other") == read_record(job)["objective"]["value"]


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_killed_evaluation_is_finished_without_training(run_job, job, finished_job, monkeypatch, status):
    if status != "running":
        rewritten(job, status=status)
    else:
        rewritten(job, status="running", objective=None)
        (job / "results.json").unlink()
    monkeypatch.setattr(MiningCallback, "plan", no_training)
    monkeypatch.setattr(RetrievalModule, "training_step", no_training)
    objective = run_job(job)
    assert objective == read_record(finished_job)["objective"]["value"]
    old, new = (json.loads((folder / "results.json").read_text()) for folder in (finished_job, job))
    assert new == {**old, "checkpoint": str(job / "checkpoints" / "best.ckpt")}  # the folder has moved since
    assert [session["to_step"] for session in read_record(job)["sessions"]] == [12, 12]


def test_training_that_was_stopped_early_is_not_gone_on_with(run_job, tmp_path, monkeypatch):
    """Its end is known from the record: its last checkpoint is that of any epoch."""
    folder = tmp_path / "sweep" / "0"
    stop = folder / "end.command"
    folder.mkdir(parents=True)
    stop.touch()
    objective = run_job(folder)
    assert read_record(folder)["sessions"][0]["to_step"] == 6
    rewritten(folder, status="running", objective=None)
    monkeypatch.setattr(MiningCallback, "plan", no_training)
    assert run_job(folder) == objective
    assert read_record(folder)["sessions"][1]["to_step"] == 6


def test_a_failed_job_goes_on_in_its_folder_to_the_same_weights(run_job, finished_job, failing_at, tmp_path):
    folder = tmp_path / "sweep" / "0"
    with failing_at(9):
        run_job(folder)
    record = read_record(folder)
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: the roof leaks")
    assert run_job(folder) == read_record(finished_job)["objective"]["value"]
    record = read_record(folder)
    assert record["status"] == "finished"
    assert [(s["status"], s["from_step"], s["to_step"]) for s in record["sessions"]] == [
        ("failed", 0, 9),
        ("finished", 9, 12),
    ]
    assert record["weights"] == read_record(finished_job)["weights"]
    assert same(weights(folder), weights(finished_job))
    histories = [json.loads((path / "history.json").read_text()) for path in (folder, finished_job)]
    assert [entry["epoch"] for entry in histories[0]["epochs"]] == [0, 1]
    assert histories[0]["epochs"][0] == histories[1]["epochs"][0]


def test_a_moved_run_keeps_its_best_checkpoint_from_worse_epochs(job, tmp_path):
    path = job / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    (best,) = (state for state in content["callbacks"].values() if "best_model_score" in state)
    for kept in (best["best_k_models"], best):
        kept.update({name: torch.tensor(2.0) for name in kept if "score" in name or "/" in name})
    best["kth_value"] = torch.tensor(2.0)
    torch.save(content, path)
    before = (job / "checkpoints" / "best.ckpt").read_bytes()
    places = [f"paths.run={job}", f"paths.cache={tmp_path}", "name=x"]
    call(train.main, "train", [f"resume={job}", "trainer.max_epochs=3", *places])
    assert read_record(job)["sessions"][1]["to_step"] == 18
    assert (job / "checkpoints" / "best.ckpt").read_bytes() == before


def test_a_job_without_a_checkpoint_begins_again(run_job, finished_job, failing_at, tmp_path):
    folder = tmp_path / "sweep" / "0"
    with failing_at(0):
        run_job(folder)
    shutil.rmtree(folder / "checkpoints")
    run_job(folder)
    record = read_record(folder)
    assert [(s["status"], s["from_step"]) for s in record["sessions"]] == [("failed", 0), ("finished", 0)]
    assert record["weights"] == read_record(finished_job)["weights"]


def test_a_damaged_last_checkpoint_of_a_finished_training_is_trained_to_again(run_job, job, finished_job):
    rewritten(job, status="running", objective=None)
    last = job / "checkpoints" / "last.ckpt"
    os.truncate(last, last.stat().st_size // 2)
    run_job(job)
    assert same(weights(job), weights(finished_job))
    assert read_record(job)["weights"] == read_record(finished_job)["weights"]


def test_checkpoints_without_a_record_are_somebody_elses(run_job, job):
    (job / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"paths\.run=.*checkpoints of another run"):
        run_job(job)


def test_a_damaged_record_is_named(run_job, job):
    (job / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"run\.json is damaged"):
        run_job(job)


def test_a_job_that_is_not_the_one_submitted_is_refused(run_job, tmp_path):
    folder = tmp_path / "sweep" / "0"
    folder.mkdir(parents=True)
    notes = {"format": 1, "jobs": [{"number": 0, "overrides": [], "fingerprint": "0" * 32}]}
    (folder.parent / "sweep.json").write_text(json.dumps(notes))
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.dir=.*job 0 was submitted with.*YAML files were changed"):
        run_job(folder)
    assert not list(folder.iterdir())


def without_a_view(root, folder):
    """A copy of a data set whose validation database has a view less."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    copy = shutil.copytree(root, folder)
    table = pq.read_table(copy / "database.parquet")
    row = pc.index(pc.cast(table["split"], "string"), "val").as_py()
    keep = [k for k in range(table.num_rows) if k != row]
    pq.write_table(table.take(keep).replace_schema_metadata(table.schema.metadata), copy / "database.parquet")
    return copy


@pytest.mark.parametrize("how", ["again", "resume"])
def test_a_run_does_not_go_on_with_other_data(run_job, job, tiny_dataset, tmp_path, how):
    other = without_a_view(tiny_dataset, tmp_path / "data")
    config = read_record(job)["config"]
    config["dataset"]["root"] = str(other)
    prints = {"config": config_fingerprint(config), "data": "x"}
    rewritten(job, status="stopped", objective=None, config=config, fingerprints=prints)
    before = (job / "checkpoints" / "last.ckpt").read_bytes()
    match = r"(?s)the data set is not the one that the run .* began with:\n  val/database: \w+ -> \w+\nBring"
    resume = [f"resume={job}", f"dataset.root={other}", f"paths.run={job}", f"paths.cache={tmp_path}", "name=x"]
    starts = {"again": lambda: run_job(job, root=other), "resume": lambda: call(train.main, "train", resume)}
    with pytest.raises(DataError, match=match):
        starts[how]()
    assert read_record(job)["status"] == "failed"
    assert (job / "checkpoints" / "last.ckpt").read_bytes() == before
