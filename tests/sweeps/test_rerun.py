"""A sweep of which a job failed: only that job runs again, and the report has all of them."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.types import RunMode
from running import finish, overrides, start
from synthetic import write_run, write_sweep

from crosslocate import report
from crosslocate.errors import SweepError
from crosslocate.runs.record import read_record
from crosslocate.sweeps.jobs import expand
from crosslocate.sweeps.record import read_sweep

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "rerun.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("rerun", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rerun(folder, *arguments, code=0):
    """Run the script from another directory than that of the sweep."""
    command = [sys.executable, str(SCRIPT), str(folder), *arguments]
    return finish(subprocess.Popen(command, cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE), code)


@pytest.fixture(scope="module")
def again(tiny_dataset, tmp_path_factory):
    """A sweep whose first job found no segments, run again when they are there."""
    folder = tmp_path_factory.mktemp("rerun")
    data, segments = folder / "data", Path("database") / "segments"
    shutil.copytree(tiny_dataset, data)
    shutil.move(data / segments, folder / "elsewhere")
    arguments = overrides(
        Path("data"), folder, "modality=segments,depth", "trainer.max_epochs=1", "untrained=false",
        f"hydra.sweep.dir='{folder / 'a = b'}'", "hydra.sweep.subdir=job_${hydra.job.num}",
    )  # fmt: skip
    jobs = folder / "a = b"
    first = finish(start("train", "-m", *arguments, cwd=folder), 1)
    states = [read_record(jobs / f"job_{number}")["status"] for number in range(2)]
    kept = {path: path.stat().st_mtime_ns for path in (jobs / "job_1").rglob("*.json")}
    shutil.move(folder / "elsewhere", data / segments)
    second = rerun(jobs)
    return {"jobs": jobs, "first": first, "states": states, "kept": kept, "second": second}


def test_a_failed_job_does_not_end_the_others(again):
    assert again["states"] == ["failed", "finished"]
    assert "segments" in again["first"]


def test_only_the_job_that_failed_runs_again(again):
    assert "1 of 2 jobs have not finished: 0" in again["second"]
    assert [read_record(again["jobs"] / f"job_{number}")["status"] for number in range(2)] == ["finished", "finished"]
    results = [path for path in again["kept"] if path.name in ("results.json", "history.json")]
    assert len(results) == 2
    assert all(path.stat().st_mtime_ns == again["kept"][path] for path in results)


def test_a_sweep_that_has_finished_is_left_alone(again):
    assert "All 2 jobs have finished" in rerun(again["jobs"])


def test_the_report_of_a_real_sweep(again, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        report.main([str(again["jobs"]), "--metric", "test/recall@1_20m", "--output", str(tmp_path), "--format", "csv"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("modality,metric,n,mean")
    for number, modality in enumerate(("segments", "depth")):
        found = json.loads((again["jobs"] / f"job_{number}" / "results.json").read_text())
        records = found["evaluations"]["test"]["trained"]["recalls"]
        [value] = [r["recall"] for r in records if (r["number"], r["distance_m"], r["heading_deg"]) == (1, 20.0, None)]
        lines = (tmp_path / "settings.csv").read_text().splitlines()
        [line] = [line for line in lines if line.startswith(modality)]
        assert float(line.split(",")[3]) == pytest.approx(value)


def test_the_record_of_a_sweep_matches_the_runs_in_it(again):
    jobs = read_sweep(again["jobs"])["jobs"]
    assert [job["folder"] for job in jobs] == ["job_0", "job_1"]
    records = [read_record(again["jobs"] / job["folder"]) for job in jobs]
    assert [job["fingerprint"] for job in jobs] == [record["fingerprints"]["config"] for record in records]


def test_overrides_of_hydra_replace_those_of_the_sweep(script):
    line = ["-m", "seed=0,1", "hydra/launcher=slurm", "hydra.sweep.dir=old", "hydra.launcher.partition=gpu"]
    new = script.command_line(line, Path("/it's new"), ["hydra/launcher=local", "hydra.verbose=true"])
    assert new == ["-m", "seed=0,1", r"hydra.sweep.dir='/it\'s new'", "hydra/launcher=local", "hydra.verbose=true"]


LINE = ["seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "+hydra.launcher.wckey=w"]


@pytest.mark.parametrize(
    ("overrides", "launcher", "partition"),
    [
        (["hydra/launcher=local"], "LocalLauncher", None),
        (["hydra/launcher=basic"], "BasicLauncher", None),
        (["hydra/launcher=slurm"], "SlurmLauncher", "gpu"),
        (["hydra.launcher.partition=cpu"], "SlurmLauncher", "cpu"),
        (["hydra/launcher=local", "hydra.launcher.timeout_min=5"], "LocalLauncher", None),
    ],
)
def test_the_new_command_line_is_one_that_hydra_takes(script, hydra, overrides, launcher, partition):
    line = script.command_line(LINE, Path("/it's new"), overrides)
    config = hydra.compose_config("train", line, RunMode.MULTIRUN, with_log_configuration=False)
    assert config.hydra.launcher["_target_"].rpartition(".")[2] == launcher
    assert config.hydra.launcher.get("partition") == partition
    assert config.hydra.sweep.dir == "/it's new"
    assert len(expand(config, hydra.config_loader)) == 2


def test_other_overrides_are_refused(script, tmp_path):
    write_sweep(tmp_path, [{"seed": 0}])
    with pytest.raises(SweepError, match="seed=1 is not allowed"):
        script.rerun(tmp_path, ["seed=1"])


def test_a_folder_without_a_sweep_is_one_line(tmp_path):
    assert "is no folder of a sweep" in rerun(tmp_path, code=1)


@pytest.mark.parametrize("status", ["failed", "stopped", "running"])
def test_what_has_not_finished_is_left(script, tmp_path, status):
    write_sweep(tmp_path, [{"seed": k} for k in range(3)])
    write_run(tmp_path / "0", {"seed": 0})
    write_run(tmp_path / "1", {"seed": 1}, status=status)
    assert script.unfinished(tmp_path, read_sweep(tmp_path)) == [1, 2]


def test_jobs_are_looked_for_in_their_folders(script, tmp_path):
    write_sweep(tmp_path, [{"seed": 0}, {"seed": 1}], ["a/b", "c"])
    write_run(tmp_path / "a" / "b", {"seed": 0})
    assert script.unfinished(tmp_path, read_sweep(tmp_path)) == [1]
