"""What a run that was stopped and continued leaves in its folder and in every logger: once, and without gaps."""

import json
import os
import re
import signal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from running import call, overrides
from wandb_records import read_runs

from crosslocate import train
from crosslocate.errors import RunStopped
from crosslocate.lit.csv import read_log
from crosslocate.lit.module import RetrievalModule
from crosslocate.retrieval.results import find
from crosslocate.runs.history import read_history
from crosslocate.runs.record import read_record

SPEC = spec_from_file_location("dashboard", Path(__file__).parents[2] / "scripts" / "wandb_dashboard.py")
wandb_dashboard = module_from_spec(SPEC)
SPEC.loader.exec_module(wandb_dashboard)

RECALL = "val/recall@1_20m"
STEPS = list(range(12))
"""Two epochs of six."""


def stop_once(self, batch, batch_idx):
    """Ask for a stop in the middle of the second epoch, as a cancelled job is."""
    if self.global_step == 8 and not hasattr(stop_once, "done"):
        stop_once.done = True
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def run(tiny_dataset, tmp_path_factory):
    """Folder and objective of one training with every logger, stopped by a signal and continued in its folder."""
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("record")
    more = [
        "name=run", "logger=all", "logger.wandb.offline=true", "logger.wandb.checkpoint=best",
        "logger.mlflow.checkpoint=true", "untrained=false", "callbacks.pictures.rows=3", f"paths.outputs={folder}/out",
        f"paths.run={folder}", "trainer.log_every_n_steps=1",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_SILENT", "true")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(RetrievalModule, "on_train_batch_start", stop_once)
        with pytest.raises(RunStopped):
            call(train.main, "train", overrides(tiny_dataset, folder, *more))
        objective = call(
            train.main, "train", [f"resume={folder}", f"paths.run={folder}", f"paths.outputs={folder}/out"]
        )
    return folder, objective


@pytest.fixture(scope="module")
def events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run[0] / "tensorboard"), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def test_the_history_file_has_losses_and_recalls_of_every_epoch(run):
    folder, _ = run
    epochs = read_history(folder)
    assert [entry["epoch"] for entry in epochs] == [0, 1]
    results = json.loads((folder / "results.json").read_text())
    for entry, validation in zip(epochs, results["history"], strict=True):
        assert {name: entry[name] for name in validation} == validation
        assert {"train/loss", "val/loss", RECALL, "val/chance@1_20m"} <= set(entry)
    losses = [float(row["train/loss_epoch"]) for row in read_log(folder / "metrics") if "train/loss_epoch" in row]
    assert [entry["train/loss"] for entry in epochs] == pytest.approx(losses, rel=1e-6)


def test_the_folder_has_plots_and_mosaics(run):
    folder, _ = run
    plots = {file.stem for file in (folder / "plots").glob("*.png")}
    assert plots >= {
        "loss", "loss_by_epoch", "recall_by_epoch", "recall_over_distance", "recall_over_distance_val",
        "recall_over_distance_test", "hits_val", "hits_test",
    }  # fmt: skip
    pictures = {file.stem for file in (folder / "pictures").glob("*.png")}
    assert "batch_epoch_2" in pictures
    kinds = {name.split("_")[0] for name in pictures}
    results = json.loads((folder / "results.json").read_text())["evaluations"]
    for split, named in results.items():
        found, total = named["trained"]["successes"]["queries"], named["trained"]["queries"]
        assert (f"successes_{split}" in pictures) == (found > 0)
        assert (f"failures_{split}" in pictures) == (found < total)
    assert kinds <= {"batch", "successes", "failures"}


def test_wandb_has_one_run_in_two_parts(run):
    folder, _ = run
    before, after = read_runs(folder)
    assert before["id"] == after["id"] == read_record(folder)["wandb"]
    assert (before["exit_code"], before["preempted"]) == (128 + signal.SIGTERM, False)
    assert (after["exit_code"], after["preempted"]) == (0, False)
    assert [part["summary"]["status"] for part in (before, after)] == ["stopped", "finished"]
    rows = [row for part in (before, after) for row in part["history"]]
    assert [row["trainer/global_step"] for row in rows if "train/loss_step" in row] == STEPS
    assert sorted(row["epoch"] for row in rows if RECALL in row) == [0, 1]
    assert after["metrics"]["val/*"] == "epoch"
    assert after["metrics"]["*"] == "trainer/global_step"


def test_wandb_has_the_figures_of_the_files(run):
    folder, objective = run
    rows = [row for part in read_runs(folder) for row in part["history"]]
    epochs = read_history(folder)
    for name in (RECALL, "val/loss", "val/chance@1_20m"):
        assert [row[name] for row in rows if name in row] == pytest.approx([epoch[name] for epoch in epochs])
    logged = [float(row["mining/violating"]) for row in read_log(folder / "metrics") if "mining/violating" in row]
    assert logged == pytest.approx([row["mining/violating"] for row in rows if "mining/violating" in row])
    summary = read_runs(folder)[-1]["summary"]
    assert summary[f"best/{RECALL}"] == pytest.approx(objective)
    assert summary["final/epoch"] == 1
    assert summary[f"final/{RECALL}"] == pytest.approx(epochs[-1][RECALL])
    assert "best/test/recall@1_20m_30deg" in summary


def test_wandb_has_curves_tables_and_pictures(run):
    folder, _ = run
    record = read_runs(folder)[-1]
    media = {name.partition(".")[0] for row in record["history"] for name in row}
    assert {"plots/loss_by_epoch", "plots/recall_by_epoch", "plots/hits_val", "plots/hits_test"} <= media
    assert {"tables/recall_val", "tables/field_of_view_test", "curves/recall_at_n_test_table"} <= media
    results = json.loads((folder / "results.json").read_text())["evaluations"]["val"]["trained"]
    (path,) = folder.glob("wandb/offline-run-*/files/media/table/curves/recall_at_n_val_table_*.json")
    table = json.loads(path.read_text())
    assert table["columns"] == ["step", "lineKey", "lineVal"]
    for number, line, recall in table["data"]:
        distance = float(line.removeprefix("within ").removesuffix(" m"))
        assert recall == find(results, int(number), distance, None)["recall"]
    assert len(table["data"]) == len(results["numbers"]) * len(results["distances_m"])


def test_wandb_knows_where_the_run_comes_from_and_keeps_its_best_checkpoint(run):
    folder, _ = run
    record, part = read_record(folder), read_runs(folder)[-1]
    assert part["config"]["provenance"]["fingerprints"] == record["fingerprints"]
    assert part["config"]["mining"]["queries_per_round"] == 4
    assert part["tags"] == ["depth", "small", "custom"]
    assert part["job_type"] == "train"
    (model,) = [artifact for artifact in part["artifacts"] if artifact["type"] == "model"]
    assert set(model["aliases"]) == {"latest", "best"}
    assert model["files"] == {"best.ckpt": str(folder / "checkpoints" / "best.ckpt")}


def test_mlflow_has_one_run_with_everything(run):
    from mlflow import MlflowClient

    folder, objective = run
    client = MlflowClient(f"sqlite:///{folder}/out/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "crosslocate"]
    (found,) = client.search_runs([experiment.experiment_id])
    identity = found.info.run_id
    assert identity == (folder / "mlflow" / "run_id").read_text().strip()
    assert found.info.status == "FINISHED"
    assert found.data.params["mining/queries_per_round"] == "4"
    assert {"depth", "small", "custom"} <= set(found.data.tags)
    assert found.data.metrics["best/val/recall_at_1_20m"] == pytest.approx(objective)
    losses = client.get_metric_history(identity, "train/loss_step")
    assert sorted(point.step for point in losses) == STEPS
    kept = {item.path for top in client.list_artifacts(identity) for item in client.list_artifacts(identity, top.path)}
    assert {
        "plots/hits_val.png", "plots/recall_by_epoch.png", "tables/recall_val.md", "curves/recall_at_n_val.csv",
        "checkpoints/best.ckpt", "checkpoints/last.ckpt",
    } <= kept  # fmt: skip


def test_the_csv_log_has_every_step_once(run):
    rows = read_log(run[0] / "metrics")
    assert [int(row["step"]) for row in rows if "train/loss_step" in row] == STEPS
    assert len([row for row in rows if RECALL in row]) == 2


def test_tensorboard_has_history_summary_tables_and_pictures(run, events):
    folder, objective = run
    tags = events.Tags()
    assert {"train/loss_step", "train/loss_epoch", "val/loss", RECALL, "val/chance@1_20m"} <= set(tags["scalars"])
    recalls = [event.value for event in events.Scalars(RECALL)]
    epochs = read_history(folder)
    assert recalls == pytest.approx([entry[RECALL] for entry in epochs])
    assert [event.step for event in events.Scalars("train/loss_step")] == STEPS
    assert events.Scalars(f"best/{RECALL}")[-1].value == pytest.approx(objective)
    assert {"plots/loss", "plots/recall_by_epoch", "pictures/batch"} <= set(tags["images"])
    (table,) = events.Tensors("tables/recall_val/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert text.startswith("| within | recall | trained |")
    assert "| 20 m | @1 |" in text
    (groups,) = events.Tensors("tables/field_of_view_val/text_summary")
    assert groups.tensor_proto.string_val[0].decode().count("\n") > 2


def dashboard_panels():
    sections = wandb_dashboard.read_description(wandb_dashboard.DESCRIPTION)["sections"]
    return [panel for section in sections for panel in section["panels"]]


def test_everything_that_the_dashboard_shows_is_logged(run):
    folder, _ = run
    parts = read_runs(folder)
    rows = [row for part in parts for row in part["history"]]
    numbers = {name for row in rows for name, value in row.items() if isinstance(value, int | float)}
    media = {name.partition(".")[0] for row in rows for name in row}
    for panel in dashboard_panels():
        metrics, kind = set(panel.get("y", [])), panel["kind"]
        if kind == "lines":
            assert metrics | {panel["x"]} <= numbers
            assert "regex" not in panel or any(re.search(panel["regex"], name) for name in numbers)
        elif kind in ("number", "scatter"):
            assert metrics | {panel.get("x", RECALL)} <= set(parts[-1]["summary"])
        elif kind == "curves":
            assert {f"{name}_table" for name in metrics} <= media
        elif kind == "pictures":
            pages = media | {"pictures/successes_val", "pictures/failures_val"}  # as there are any
            assert metrics <= pages


def test_the_dashboard_becomes_a_workspace(capsys):
    pytest.importorskip("wandb_workspaces")
    wandb_dashboard.main(["--dry-run"])
    printed = capsys.readouterr().out
    assert all(panel["title"] in printed for panel in dashboard_panels())
    made = wandb_dashboard.workspace(
        wandb_dashboard.read_description(wandb_dashboard.DESCRIPTION), "team", "crosslocate"
    )
    spec = made._to_model().model_dump_json()
    assert all(name in spec for panel in dashboard_panels() for name in panel.get("y", []))


def test_a_dashboard_of_unknown_panels_is_refused(tmp_path):
    (tmp_path / "d.yaml").write_text("name: x\nsections: [{name: a, panels: [{title: t, shows: s, kind: pie}]}]")
    with pytest.raises(SystemExit, match="kind='pie' is not allowed; allowed: lines, "):
        wandb_dashboard.read_description(tmp_path / "d.yaml")
