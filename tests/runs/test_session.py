"""What a record says after every way in which a run can end."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from hydra import compose, initialize_config_dir
from running import finish, overrides, start

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.errors import ConfigError, DataError, RunStopped
from crosslocate.runs import lock
from crosslocate.runs.continuation import Earlier, Start
from crosslocate.runs.fingerprint import config_fingerprint
from crosslocate.runs.record import read_record
from crosslocate.runs.session import recorded


@pytest.fixture
def fresh(tmp_path):
    """How a new run in ``tmp_path / "run"`` starts."""
    register()
    names = ["name=run", f"paths.run={tmp_path / 'run'}", "evaluation.directory=x"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=["experiment=demo", "seed=4", *names])
    return Start(cfg, overrides=("experiment=demo", "seed=4"))


def test_a_run_is_recorded_from_its_first_moment(fresh, tmp_path):
    folder = tmp_path / "run"
    with recorded(fresh) as session:
        record = read_record(folder)
        assert lock.is_running(folder)
        assert (record["status"], record["reason"], record["objective"]) == ("running", None, None)
        assert (record["name"], record["seed"], record["overrides"]) == ("run", 4, ["experiment=demo", "seed=4"])
        assert record["fingerprints"]["config"] == config_fingerprint(fresh.cfg) == config_fingerprint(record["config"])
        assert {"python", "torch", "crosslocate"} <= set(record["versions"])
        assert record["machine"]["host"] == record["sessions"][0]["host"]
        assert record["sessions"][0]["pid"] == os.getpid()
        assert "root: ${paths.cache}/sample" not in (folder / "config_resolved.yaml").read_text()
        assert record["config"]["dataset"]["root"] == "${paths.cache}/sample"
        session.measured("val/recall@1_20m", 0.25)
    record = read_record(folder)
    assert record["status"] == record["sessions"][0]["status"] == "finished"
    assert record["objective"] == {"name": "val/recall@1_20m", "value": 0.25}
    assert record["sessions"][0]["ended"] >= record["sessions"][0]["began"]
    assert not lock.is_running(folder)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (DataError("an image is broken"), "failed", "an image is broken"),
        (ValueError("odd"), "failed", "ValueError: odd"),
        (KeyboardInterrupt(), "stopped", "interrupted"),
        (RunStopped(signal.SIGUSR2, "preempted"), "stopped", "preempted"),
        (RunStopped(signal.SIGTERM, "terminated"), "stopped", "terminated"),
        (SystemExit(3), "failed", "exit status 3"),
        (ValueError("long " * 1000), "failed", ("ValueError: " + "long " * 1000)[:2000]),
    ],
)
def test_every_ending_has_its_status(fresh, tmp_path, error, status, reason):
    with pytest.raises(type(error)), recorded(fresh):
        raise error
    record = read_record(tmp_path / "run")
    assert (record["status"], record["reason"]) == (status, reason)
    assert (record["sessions"][0]["status"], record["sessions"][0]["reason"]) == (status, reason)
    assert not lock.is_running(tmp_path / "run")


def in_the_way(path):
    shutil.rmtree(path)
    path.write_text("")


def test_a_record_that_cannot_be_closed_hides_no_ending(fresh, tmp_path, capsys):
    with pytest.raises(RunStopped), recorded(fresh):
        raise in_the_way(tmp_path / "run") or RunStopped(signal.SIGUSR2, "preempted")
    assert "the record could not be closed" in capsys.readouterr().err.replace("\n", "")


def test_sessions_grow_and_one_that_was_killed_says_so(fresh, tmp_path):
    folder = tmp_path / "run"
    with recorded(fresh):
        pass
    record = read_record(folder)
    record["sessions"][0].update(status="running", ended=None)
    for checkpoint, data in ((None, {}), (folder / "last.ckpt", {"train/query": "1"})):
        going_on = Start(fresh.cfg, checkpoint, 7, Earlier({**record, "data": data, "name": "old"}, None, True))
        with recorded(going_on):
            found = read_record(folder)
        assert [session["status"] for session in found["sessions"]] == ["killed", "running"]
        assert found["sessions"][1]["from_step"] == 7
        assert (found["name"], found["data"]) == (("old", data) if checkpoint else ("run", {}))


def test_a_difference_of_the_source_is_kept_once(fresh, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    earlier = Earlier()
    for difference in ("one\r\n", "one\r\n", "two", ""):
        state = ({"commit": "c", "dirty": bool(difference)}, difference)
        monkeypatch.setattr("crosslocate.runs.opening.source_state", lambda state=state: state)
        with recorded(Start(fresh.cfg, folder / "x.ckpt", 1, earlier)):
            earlier = Earlier(read_record(folder), None, True)
    files = [session["source"]["diff"] for session in earlier.record["sessions"]]
    assert files == ["source.diff", "source.diff", "source_3.diff", None]
    assert (folder / "source_3.diff").read_text() == "two"
    assert earlier.record["source"]["diff"] == "source.diff"


def test_other_processes_of_a_run_write_nothing(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with recorded(fresh) as session:
        session.measured("val/recall@1_20m", 0.5)
    assert not (tmp_path / "run").exists()


def test_a_slurm_job_is_noted(fresh, tmp_path, monkeypatch):
    for name, value in {"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    with recorded(fresh):
        assert read_record(tmp_path / "run")["slurm"] == {"job": "12_3", "restarts": 2}


def test_a_folder_in_which_somebody_trains_is_left_alone(fresh, tmp_path):
    folder = tmp_path / "run"
    with recorded(fresh):
        before = (folder / "run.json").read_bytes()
        with pytest.raises(ConfigError, match="no other process trains"), recorded(fresh):
            pass
        assert (folder / "run.json").read_bytes() == before


def wait_for_checkpoint(process: subprocess.Popen, folder) -> None:
    import time

    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_a_killed_process_leaves_a_record_that_runs_and_a_lock_that_is_free(tiny_dataset, tmp_path):
    folder = tmp_path / "run"
    arguments = overrides(
        tiny_dataset, tmp_path, "untrained=false", "test=false", "trainer.max_epochs=500",
        "trainer.check_val_every_n_epoch=500", "callbacks.last.every_n_steps=1", f"hydra.run.dir={folder}",
    )  # fmt: skip
    process = start("train", *arguments, cwd=tmp_path)
    wait_for_checkpoint(process, folder)
    assert lock.is_running(folder)
    message = finish(start("train", f"resume={folder}", cwd=tmp_path), 1)
    assert not (folder / ".hydra_resumed").exists()
    assert f"process {process.pid} on " in message
    assert "Traceback" not in message
    process.kill()
    process.communicate()
    assert not lock.is_running(folder)
    assert read_record(folder)["status"] == "running"
    assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 1
