"""Logs of a run that was killed after its last checkpoint have no step twice and none missing; MLflow may fail."""

import json
import os
from types import SimpleNamespace

import pytest
from running import call, overrides

from crosslocate import train
from crosslocate.errors import ConfigError
from crosslocate.lit import mlflow
from crosslocate.lit.csv import csv_logger, log_files, read_log
from crosslocate.lit.guarded import LIMIT
from crosslocate.lit.outcome import FINISHED, finished_runs
from crosslocate.lit.tensorboard import tensorboard_logger
from crosslocate.runs.record import RunRecord, read_record


def log_session(logger, steps, session):
    """As training does: a row by step, and at every third step one of a round."""
    for step in steps:
        if step % 3 == 0:
            logger.log_metrics({"round": float(session)}, step=step)
        logger.log_metrics({"loss": 10.0 * session + step, "epoch": 0}, step=step)
        logger.save()
    logger.finalize("success")


@pytest.mark.parametrize("again", [3, 4, 6])
def test_csv_has_what_counted(tmp_path, again):
    log_session(csv_logger(str(tmp_path), "metrics"), range(6), 0)
    log_session(csv_logger(str(tmp_path), "metrics"), range(again, 8), 1)
    rows = read_log(tmp_path / "metrics")
    losses = {int(row["step"]): float(row["loss"]) for row in rows if "loss" in row}
    assert losses == {step: float(step if step < again else 10 + step) for step in range(8)}
    assert len([row for row in rows if "loss" in row]) == 8
    assert [int(row["step"]) for row in rows if "round" in row] == [0, 3, 6]
    assert [path.name for path in log_files(tmp_path / "metrics")] == ["metrics-1.csv", "metrics.csv"]


def test_csv_keeps_other_figures_of_the_first_step(tmp_path):
    log_session(csv_logger(str(tmp_path), "metrics"), range(6), 0)
    logger = csv_logger(str(tmp_path), "metrics")
    logger.log_metrics({"val/loss": 1.0, "epoch": 0}, step=5)  # a validation that was broken off
    logger.save()
    rows = read_log(tmp_path / "metrics")
    assert [int(row["step"]) for row in rows if "loss" in row] == list(range(6))
    assert rows[-1]["val/loss"] == "1.0"


def test_csv_takes_out_a_row_that_a_kill_cut_short(tmp_path):
    log_session(csv_logger(str(tmp_path), "metrics"), range(4), 0)
    with (tmp_path / "metrics" / "metrics.csv").open("a") as file:
        file.write("0,4.0")
    log_session(csv_logger(str(tmp_path), "metrics"), range(4, 6), 0)
    assert [int(row["step"]) for row in read_log(tmp_path / "metrics") if "loss" in row] == list(range(6))


@pytest.mark.parametrize("again", [3, 4, 6])
def test_tensorboard_shows_what_counted(tmp_path, again):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log_session(tensorboard_logger(str(tmp_path), "tensorboard"), range(6), 0)
    log_session(tensorboard_logger(str(tmp_path), "tensorboard"), range(again, 8), 1)
    accumulator = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    shown = [(event.step, event.value) for event in accumulator.Scalars("loss")]
    assert shown == [(step, float(step if step < again else 10 + step)) for step in range(8)]
    assert [event.step for event in accumulator.Scalars("round")] == [0, 3, 6]


OPTIONS = {"experiment": "test", "name": "run", "group": None, "tags": ["mine"], "checkpoint": False}


def mlflow_logger(folder, store, **changes):
    return mlflow.mlflow_logger(
        str(folder), tracking_uri=store, artifacts=str(folder / "artifacts"), **OPTIONS | changes
    )


def failing_job(folder, store):
    with finished_runs():
        mlflow_logger(folder, store).log_metrics({"val/recall@1_20m": 0.5}, step=3)
        raise ValueError("broken")


def test_mlflow_is_told_how_a_run_ended_and_goes_on_with_it(tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = f"sqlite:///{tmp_path}/store/mlflow.db"
    with pytest.raises(ValueError, match="broken"):
        failing_job(tmp_path, store)
    identity = (tmp_path / "mlflow" / "run_id").read_text().strip()
    found = client(store).get_run(identity)
    assert (found.info.status, found.data.tags["reason"]) == ("FAILED", "ValueError: broken")
    with finished_runs():
        mlflow_logger(tmp_path, store).log_metrics({"val/recall@1_20m": 0.75}, step=6)
        assert client(store).get_run(identity).info.status == "RUNNING"
    found = client(store).get_run(identity)
    assert found.info.status == "FINISHED"
    history = client(store).get_metric_history(identity, "val/recall_at_1_20m")
    assert [(point.step, point.value) for point in history] == [(3, 0.5), (6, 0.75)]
    (tmp_path / "mlflow" / "run_id").write_text("0" * 32)  # as of another store
    with finished_runs():
        mlflow_logger(tmp_path, store).log_metrics({"x": 1.0}, step=0)
    assert client(store).get_run((tmp_path / "mlflow" / "run_id").read_text().strip()).data.metrics == {"x": 1.0}
    assert "MLFLOW_TRACKING_URI" not in os.environ


def job_that_mlflow_refuses(folder, store):
    with finished_runs():
        logger = mlflow_logger(folder, store)
        logger.log_metrics({"x": 1.0}, step=0)
        for step in range(1, 4):
            logger.log_metrics({"x": b"no number"}, step=step)
        logger.log_metrics({"x": 2.0}, step=4)


def test_an_mlflow_that_was_given_up_is_told_all_the_same_how_the_run_ended(tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.warns(UserWarning, match="nothing more is sent to it"):
        job_that_mlflow_refuses(tmp_path, store)
    found = client(store).get_run((tmp_path / "mlflow" / "run_id").read_text().strip())
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"x": 1.0})


def test_an_mlflow_that_was_given_up_does_not_hold_up_the_end(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    retries = []
    logger = mlflow_logger(tmp_path, "http://127.0.0.1:9")
    logger._mlflow_client = SimpleNamespace(set_terminated=lambda *_: retries.append(os.environ.get(mlflow.RETRIES)))
    logger.close(FINISHED)
    logger.failures = LIMIT
    logger.close(FINISHED)
    assert retries == [None, "0"]
    assert mlflow.RETRIES not in os.environ


def test_mlflow_runs_of_a_sweep_are_a_group_unless_another_is_given(tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    content = {
        "format": 1, "name": "run", "status": "running", "overrides": [], "sessions": [], "config": {}, "choices": {},
        "sweep": {"folder": "/sweeps/margins", "name": "margins", "job": 2}, "fingerprints": {"config": "abc"},
    }  # fmt: skip
    store = f"sqlite:///{tmp_path}/mlflow.db"
    for folder, asked, expected in ((tmp_path / "0", None, "margins"), (tmp_path / "1", "study", "study")):
        folder.mkdir()
        RunRecord(folder, content).write()
        with finished_runs():
            mlflow_logger(folder, store, group=asked).log_metrics({"x": 1.0}, step=0)
        found = client(store).get_run((folder / "mlflow" / "run_id").read_text().strip())
        assert found.data.tags["group"] == expected


def test_an_mlflow_that_cannot_be_reached_ends_no_run(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "store").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="cannot be opened"):
        logger = mlflow_logger(tmp_path, f"sqlite:///{tmp_path}/store/mlflow.db")
    logger.log_metrics({"x": 1.0}, step=0)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("mlflow.tracking_uri=http://127.0.0.1:9", "RunMlflowLogger cannot begin: MlflowException: "),
        ("mlflow.tracking_uri=sqlite:///${paths.run}/wandb/mlflow.db", "MLflow's store sqlite:.* cannot be opened"),
        ("wandb.offline=true", "RunWandbLogger cannot begin: (NotADirectory|FileExists)Error: "),
    ],
)
def test_a_training_whose_logger_cannot_begin_goes_on(tiny_dataset, tmp_path, monkeypatch, trouble, message):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "wandb").write_text("a file where a folder should be")
    more = [
        f"logger={trouble.partition('.')[0]}", f"logger.{trouble}", "name=run", "trainer.max_epochs=1",
        "untrained=false", "test=false", f"paths.outputs={tmp_path}/out", f"paths.run={folder}",
    ]  # fmt: skip
    with pytest.warns(UserWarning, match=message) as said:
        objective = call(train.main, "train", overrides(tiny_dataset, tmp_path, *more))
    results = json.loads((folder / "results.json").read_text())
    assert results["objective"] == {"val/recall@1_20m": objective}
    assert read_record(folder)["status"] == "finished"
    texts = [str(warning.message) for warning in said]
    assert len([text for text in texts if "RunMlflow" in text or "RunWandb" in text or "MLflow's" in text]) == 1


def test_a_logger_that_is_not_installed_says_what_to_install(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'mlflow'")

    monkeypatch.setattr(mlflow, "RunMlflowLogger", missing)
    with pytest.raises(ConfigError, match=r"crosslocate\[mlflow\]"):
        mlflow_logger(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
