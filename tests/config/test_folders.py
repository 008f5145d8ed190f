"""Folders of runs are their own."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hydra import compose, initialize_config_dir
from running import finish, start

from crosslocate.config import folders
from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.config.validate import validate_train
from crosslocate.errors import ConfigError


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setattr(folders, "_taken", {})
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
            monkeypatch.delenv(name)


def another_process():
    folders._taken.clear()


def test_runs_with_the_same_wish_have_folders_of_their_own(tmp_path):
    wanted, found = str(tmp_path / "train" / "2026-01-31_12-00-00"), []
    for _ in range(3):
        found.append(folders.unused_folder(wanted))
        assert folders.unused_folder(wanted) == found[-1]
        another_process()
    assert found == [wanted, f"{wanted}_2", f"{wanted}_3"]
    assert all((tmp_path / "train" / path).is_dir() for path in found)


def test_processes_at_the_same_time_have_folders_of_their_own(tmp_path):
    script = f"from crosslocate.config.folders import unused_folder; print(unused_folder({str(tmp_path / 'run')!r}))"

    def start(_):
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(start, range(6)))) == 6


def test_processes_of_one_run_share_its_folder(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert folders.unused_folder(str(tmp_path / "run")) == str(tmp_path / "run")


LAUNCHED = """
import os, sys, time
from crosslocate.config.folders import unused_folder
os.write(1, (unused_folder(sys.argv[1] + os.environ["RANK"]) + "\\n").encode())  # whole: others write there too
sys.exit(os.environ["TORCHELASTIC_RESTART_COUNT"] == "0")
"""


def test_processes_of_torchrun_share_a_folder_also_when_they_are_started_again(tmp_path):
    (tmp_path / "launched.py").write_text(LAUNCHED)

    def launch():
        command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1", "--master-port=0"]
        arguments = [str(tmp_path / "launched.py"), str(tmp_path / "outputs" / "second_")]
        return subprocess.Popen([sys.executable, *command, *arguments], stdout=subprocess.PIPE, text=True)

    processes = [launch(), launch()]
    first, second = (set(process.communicate(timeout=100)[0].split()) for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert len(first) == len(second) == 1
    assert first != second
    assert {os.path.dirname(name) for name in first | second} == {str(tmp_path / "outputs")}  # noqa: PTH120


def test_processes_of_a_slurm_step_share_a_folder_that_outlives_a_requeue(tmp_path, monkeypatch):
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}.items():
        monkeypatch.setenv(name, value)
    folder = str(tmp_path / "slurm_12_0")
    assert folders.unused_folder(str(tmp_path / "10-00-00")) == folder
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert folders.unused_folder(str(tmp_path / "11-00-00")) == folder
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert folders.unused_folder(str(tmp_path / "11-00-00")) == str(tmp_path / "11-00-00")


def test_a_training_of_one_process_that_srun_started_finds_its_folder_after_a_requeue(tmp_path, monkeypatch):
    step = {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}
    for name, value in step.items():
        monkeypatch.setenv(name, value)

    def composed(*more):
        another_process()
        register()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose("train", overrides=[f"paths.outputs={tmp_path}", *more], return_hydra_config=True).hydra

    assert composed().run.dir == str(tmp_path / "train" / "slurm_12_0")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert composed().run.dir == str(tmp_path / "train" / "slurm_12_0")
    assert "slurm" not in composed().sweep.dir
    run = with_checkpoints(tmp_path / "run")
    assert composed(f"resume={run}").run.dir == str(run)


@pytest.mark.parametrize("shell", [{"SLURM_STEP_ID": "4294967290"}, {"SLURM_STEP_ID": "0", "SLURM_PTY_PORT": "4"}, {}])
def test_every_command_of_a_shell_in_an_allocation_has_a_folder_of_its_own(tmp_path, monkeypatch, shell):
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_NTASKS": "1", **shell}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 0)
    found = []
    for _ in range(2):
        found.append(folders.run_folder(None, str(tmp_path / "10-00-00")))
        another_process()
    assert found == [str(tmp_path / "10-00-00"), str(tmp_path / "10-00-00_2")]


def test_a_job_that_was_submitted_in_such_a_shell_is_none(tmp_path, monkeypatch):
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_PTY_PORT": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "isatty", lambda descriptor: False)
    assert folders.run_folder(None, str(tmp_path / "10-00-00")) == str(tmp_path / "slurm_12_0")


def test_processes_of_several_machines_need_a_name(tmp_path, monkeypatch):
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"hydra\.run\.dir=<folder>, or torchrun --rdzv-id"):
        folders.unused_folder(str(tmp_path / "x"))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "exp7")
    assert folders.unused_folder(str(tmp_path / "x")) == str(tmp_path / "torchrun_exp7")


def test_a_folder_stays_with_its_configuration_in_another_process(tmp_path):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=[f"paths.outputs={tmp_path}"], return_hydra_config=True)
    wanted = config.hydra.sweep.dir
    sent = pickle.dumps(config)
    another_process()
    assert pickle.loads(sent).hydra.sweep.dir == wanted


@pytest.mark.parametrize("name", ["train", "evaluate", "convert"])
def test_a_folder_of_a_run_that_cannot_be_made_is_one_line(name, tmp_path):
    needed = {"evaluate": ["checkpoint=x"], "convert": ["meta=x.npy", "output=y"]}.get(name, [])
    output = finish(start(name, "hydra.run.dir=/proc/nope", *needed, cwd=tmp_path), 1)
    assert "error: hydra.run.dir: the folder /proc/nope of this run cannot be made" in output
    assert "Traceback" not in output


def test_a_folder_that_cannot_be_made_is_one_line():
    with pytest.raises(SystemExit, match=r"^error: paths\.outputs: the folder /proc/nope/x of this run cannot be made"):
        folders.unused_folder("/proc/nope/x")


def with_checkpoints(folder):
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("best", "last"):
        (folder / "checkpoints" / f"{name}.ckpt").write_bytes(b"")
    return folder


def test_a_resumed_run_goes_on_in_its_folder(tmp_path, monkeypatch):
    run, fresh = with_checkpoints(tmp_path / "run"), str(tmp_path / "fresh")
    assert folders.run_folder(str(run), fresh) == str(run)
    assert folders.run_folder(str(run / "checkpoints" / "last.ckpt"), fresh) == str(run)
    monkeypatch.chdir(run / "checkpoints")
    assert folders.run_folder("last.ckpt", fresh) == str(run)
    assert not (tmp_path / "fresh").exists()


def test_a_checkpoint_elsewhere_has_no_run_to_go_on_with(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    copy = tmp_path / "a" / "b" / "last.ckpt"
    copy.write_bytes(b"")
    for resume in (copy, tmp_path / "a", tmp_path / "nothing", tmp_path / "nothing" / "checkpoints" / "last.ckpt"):
        assert folders.run_folder(str(resume), str(tmp_path / "fresh")) == str(tmp_path / "fresh")
    assert folders.run_folder(None, str(tmp_path / "fresh")) == str(tmp_path / "fresh")
    assert not (tmp_path / "nothing").exists()


def train(*arguments):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=["name=test", *arguments])


def test_a_run_does_not_write_over_another_one(tmp_path, monkeypatch):
    run = with_checkpoints(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"paths\.run=.*checkpoints of another run.*resume="):
        validate_train(train(f"paths.run={run}"))
    validate_train(train(f"paths.run={tmp_path}"))
    validate_train(train(f"paths.run={run}", f"resume={run}"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    validate_train(train(f"paths.run={run}"))


def test_resume_refuses_a_checkpoint_elsewhere(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"resume=.*folder checkpoints.*initial_weights=<file>"):
        validate_train(train(f"resume={tmp_path / 'last.ckpt'}", f"paths.run={tmp_path / 'run'}"))


@pytest.mark.parametrize("name", ["train", "evaluate", "index", "localize", "render"])
def test_every_job_takes_an_unused_folder(name, tmp_path):
    register()
    required = {"index": ["checkpoint=x"], "localize": ["checkpoint=x", "photo=y"]}.get(name, [])
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(name, overrides=[f"paths.outputs={tmp_path}", *required], return_hydra_config=True)
        other = compose(name, overrides=[f"paths.outputs={tmp_path}", *required], return_hydra_config=True)
        for kind in ("run", "sweep"):
            first = config.hydra[kind].dir
            assert config.hydra[kind].dir == first
            (tmp_path / first / "train.log").touch()
            another_process()
            assert other.hydra[kind].dir != first
