"""Sweeps: one directory, one log and one wandb run a job."""

import json

import pytest
from running import finish, overrides, start
from wandb_records import read_run


@pytest.fixture(scope="module")
def sweep(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    arguments = overrides(
        tiny_dataset, folder, "modality=depth,segments,silhouettes", "backbone=resnet18",
        "logger=several", "trainer.max_epochs=1", "trainer.log_every_n_steps=2", f"hydra.sweep.dir={folder / 'jobs'}",
    )  # fmt: skip
    arguments = [a for a in arguments if "backbone.widths" not in a]
    output = finish(start("train", "-m", *arguments, cwd=folder))
    return folder / "jobs", output


def test_every_job_has_its_own_directory_results_and_checkpoints(sweep):
    jobs, _ = sweep
    folders = sorted(p for p in jobs.iterdir() if p.is_dir())
    assert [p.name for p in folders] == ["0", "1", "2"]
    for folder in folders:
        results = json.loads((folder / "results.json").read_text())
        assert 0.0 <= results["objective"]["val/recall@1_20m"] <= 1.0
        assert (folder / "checkpoints" / "best.ckpt").is_file()
        assert (folder / "metrics" / "metrics.csv").is_file()


def test_every_job_is_a_wandb_run_of_its_own_with_its_config_and_recalls(sweep):
    jobs, _ = sweep
    runs = [read_run(jobs / str(k)) for k in range(3)]
    assert len({run["id"] for run in runs}) == 3
    assert {run["group"] for run in runs} == {"jobs"}  # the name of the sweep's folder
    assert [run["name"] for run in runs] == ["depth_resnet18", "segments_resnet18", "silhouettes_resnet18"]
    targets = [run["config"]["modality"]["database"]["_target_"].rsplit(".", 1)[1] for run in runs]
    assert targets == ["LogDepth", "Rgb", "Silhouettes"]
    for k, run in enumerate(runs):
        assert run["exit_code"] == 0
        measured = [row["val/recall@1_20m"] for row in run["history"] if "val/recall@1_20m" in row]
        results = json.loads((jobs / str(k) / "results.json").read_text())
        assert measured[0] == pytest.approx(results["history"][1]["val/recall@1_20m"])
        assert any("train/loss_step" in row for row in run["history"])


def test_a_sweep_with_a_bad_job_is_refused_before_any_job_has_a_folder(tmp_path):
    arguments = ["seed=-1,2,-3", "experiment=demo", f"paths.cache={tmp_path}", f"hydra.sweep.dir={tmp_path / 'jobs'}"]
    output = finish(start("train", "-m", *arguments, cwd=tmp_path), 1)
    assert "error: 2 of the 3 jobs cannot run, and none was started:" in output
    for job, seed in ((0, -1), (2, -3)):
        assert f"job {job} (seed={seed}): seed={seed} is not allowed; allowed: an integer of at least 0" in output
    assert "Traceback" not in output
    assert not (tmp_path / "jobs").exists()


def test_failing_jobs_fail_the_sweep_and_each_says_why(tiny_dataset, tmp_path):
    arguments = overrides(tiny_dataset, tmp_path, "dataset.root=/nowhere,/elsewhere", f"hydra.sweep.dir={tmp_path}")
    arguments.remove(f"dataset.root={tiny_dataset}")
    output = finish(start("train", "-m", *arguments, cwd=tmp_path), 1)
    for number, root in enumerate(("/nowhere", "/elsewhere")):
        assert f"error: job {number}: {root}/queries.parquet: no such catalog file" in output


@pytest.mark.slow
def test_a_sweep_over_numbers_of_processes_keeps_each_job_in_its_directory(tiny_dataset, tmp_path):
    arguments = overrides(
        tiny_dataset, tmp_path, "trainer=ddp_cpu", "trainer.devices=2,1", "trainer.max_epochs=1", "untrained=false",
        "logger=none", f"hydra.sweep.dir={tmp_path / 'jobs'}",
    )  # fmt: skip
    finish(start("train", "-m", *arguments, cwd=tmp_path))
    assert sorted(p.name for p in (tmp_path / "jobs").iterdir() if p.is_dir()) == ["0", "1"]
    assert all((tmp_path / "jobs" / k / "results.json").is_file() for k in "01")
    assert not (tmp_path / "outputs").exists()
