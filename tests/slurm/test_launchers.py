"""What launchers ask for, and what is told of jobs: without a cluster."""

import importlib.util
import json
import os
import re
import sys

import pytest
from cluster import SCRIPT
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from running import call, finish, overrides, start

from crosslocate import train
from crosslocate.config.app import conf_dir
from crosslocate.config.resources import gpus
from crosslocate.config.schema import register
from crosslocate.errors import ConfigError, CrossLocateError
from crosslocate.lit.assembly import require_tasks

DATA = ["dataset=custom", "dataset.root=/data"]


def launcher(*overrides):
    """The launcher's configuration, as it would be handed to the launcher."""
    register()
    Plugins.instance()  # finds that of submitit
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[*overrides, "hydra.sweep.dir=/sweep"], return_hydra_config=True)
    cfg.hydra.job.num = 0
    return OmegaConf.to_container(cfg.hydra.launcher, resolve=True)


@pytest.mark.parametrize(
    ("accelerator", "devices", "expected"),
    [("cpu", 4, None), ("gpu", 4, 4), ("gpu", "2", 2), ("gpu", [1, 3, 5], 3), ("auto", 1, 1)],
)
def test_gpus_are_as_many_as_the_trainer_uses(accelerator, devices, expected):
    assert gpus(accelerator, devices) == expected


def test_a_job_on_slurm_gets_what_its_trainer_uses():
    asked = launcher("hydra/launcher=slurm", "trainer=ddp", "trainer.devices=4", "trainer.num_nodes=2")
    assert {key: asked[key] for key in ("nodes", "tasks_per_node", "gpus_per_node")} == {
        "nodes": 2, "tasks_per_node": 4, "gpus_per_node": 4,
    }  # fmt: skip
    assert launcher("hydra/launcher=slurm", "trainer=cpu")["gpus_per_node"] is None


def test_a_job_on_slurm_comes_back_as_often_as_it_needs():
    asked = launcher("hydra/launcher=slurm")
    assert asked["additional_parameters"] == {"requeue": True, "open-mode": "append"}
    assert asked["max_num_timeout"] > 100
    assert 0 < asked["signal_delay_s"] < 60 * asked["timeout_min"]


def test_the_script_for_slurm_says_all_that_was_said(tmp_path):
    from submitit.slurm.slurm import _make_sbatch_string

    said = launcher(
        "hydra/launcher=slurm", "trainer=cpu", "hydra.launcher.partition=long", "hydra.launcher.account=vision",
        "hydra.launcher.setup=[module load python]", "+hydra.launcher.additional_parameters.mail-type=END",
    )  # fmt: skip
    keys = ("partition", "account", "setup", "additional_parameters", "signal_delay_s")
    lines = _make_sbatch_string("command", tmp_path, **{key: said[key] for key in keys}).splitlines()
    assert {
        "#SBATCH --partition=long", "#SBATCH --account=vision", "#SBATCH --mail-type=END", "#SBATCH --requeue",
        "#SBATCH --signal=USR2@120", "module load python",
    } <= set(lines)  # fmt: skip


def test_a_job_on_this_machine_starts_its_other_processes_itself():
    asked = launcher("hydra/launcher=local", "trainer=ddp", "trainer.devices=4")
    assert (asked["nodes"], asked["tasks_per_node"], asked["gpus_per_node"]) == (1, 1, None)


def test_an_unknown_setting_of_a_launcher_is_refused():
    with pytest.raises(ConfigCompositionException, match="partitoin"):
        launcher("hydra/launcher=slurm", "hydra.launcher.partitoin=gpu")


def test_jobs_that_need_different_resources_are_not_one_sweep(tmp_path, monkeypatch):
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("sbatch", "srun"):
        (commands / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    arguments = ["-m", "hydra/launcher=slurm", *DATA, "trainer=ddp_cpu", "trainer.devices=2,3"]
    output = finish(start("train", *arguments, f"hydra.sweep.dir={tmp_path / 'sweep'}", cwd=tmp_path), 1)
    assert "error: " in output
    assert "trainer.devices" in output
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("devices", ["auto", "-1", "[0,1]"])
def test_slurm_must_know_how_many_devices_a_job_takes(tmp_path, devices):
    arguments = ["-m", "hydra/launcher=slurm", *DATA, f"trainer.devices={devices}", f"hydra.sweep.dir={tmp_path}/jobs"]
    output = finish(start("train", *arguments, cwd=tmp_path), 1)
    assert re.search(rf"error: trainer\.devices=.*{devices.strip('[]')[:1]}.* allowed: a number of at least 1", output)
    assert "Traceback" not in output
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize(
    ("devices", "nodes", "variables"),
    [
        (1, 1, {"SLURM_NTASKS": "1"}),
        (2, 2, {"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"}),
        ([0, 3], 1, {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}),
        ("auto", 1, {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}),
    ],
)
def test_a_task_for_every_process_is_enough(devices, nodes, variables):
    require_tasks(devices, nodes, variables)


@pytest.mark.parametrize(
    ("devices", "nodes", "variables", "said"),
    [
        (2, 1, {"SLURM_NTASKS": "1"}, r"devices=2 .* 1 in all.*srun --nodes=1 --ntasks-per-node=2"),
        (
            2,
            2,
            {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"},
            r"devices=2 .* 2 in all.*srun --nodes=2 --ntasks-per-node=2",
        ),
        (1, 1, {"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, r"devices=1 .* 8 in all"),
        ([0, 1], 1, {"SLURM_NTASKS": "1"}, r"devices=\[0, 1\] .* 1 in all"),
        (2, 1, {"SLURM_NTASKS": "2"}, "devices=2 .* begin with srun"),
    ],
)
def test_lightning_does_not_train_with_fewer_processes_than_were_wanted(devices, nodes, variables, said):
    with pytest.raises(ConfigError, match=said):
        require_tasks(devices, nodes, variables)


def test_a_job_looks_at_its_tasks_before_it_looks_at_its_data(tmp_path, monkeypatch):
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "12", "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"trainer\.devices=2"):
        call(train.main, "train", overrides(tmp_path / "missing", tmp_path, "trainer=ddp_cpu", f"paths.run={tmp_path}"))


@pytest.fixture(scope="module")
def slurm():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("slurm_script", SCRIPT)
    module = sys.modules["slurm_script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_folder(tmp_path):
    """Writes the record of a run."""

    def write(status="running", reason=None, objective=None, sessions=1, epoch=None):
        record = {
            "format": 1, "name": "test", "status": status, "reason": reason, "overrides": [], "fingerprints": {},
            "objective": objective, "sessions": [{}] * sessions, "config": {},
        }  # fmt: skip
        (tmp_path / "run.json").write_text(json.dumps(record))
        if epoch is not None:
            (tmp_path / "history.json").write_text(json.dumps({"format": 1, "epochs": [{"epoch": epoch, "step": 70}]}))
        return tmp_path

    return write


RUNNING, PENDING = {"7_0": ("RUNNING", "None")}, {"7_0": ("PENDING", "Resources")}
OBJECTIVE = {"name": "val/recall@1_20m", "value": 0.25}


@pytest.mark.parametrize(
    ("record", "waiting", "ended", "expected"),
    [
        (None, PENDING, {}, ("pending", "Resources")),
        (None, RUNNING, {}, ("running", "epoch 0")),
        (None, {}, {"7_0": "CANCELLED"}, ("cancelled", "before it began")),
        (None, {}, {}, ("not submitted", "")),
        ({"epoch": 2}, RUNNING, {}, ("running", "epoch 3, step 70")),
        ({"epoch": 2, "sessions": 2}, RUNNING, {}, ("running", "epoch 3, step 70, started 2 times")),
        ({"status": "stopped", "reason": "preempted"}, PENDING, {}, ("waiting to continue", "epoch 0")),
        ({"status": "stopped", "reason": "terminated"}, {}, {"7_0": "CANCELLED"}, ("stopped", "terminated")),
        ({"status": "finished", "objective": OBJECTIVE}, {}, {}, ("finished", "val/recall@1_20m 0.2500")),
        ({"status": "failed", "reason": "one\ntwo"}, {}, {"7_0": "COMPLETED"}, ("failed", "one")),
        ({}, {}, {"7_0": "OUT_OF_MEMORY"}, ("failed", "ended by SLURM: out_of_memory")),
    ],
)
def test_the_state_of_a_job_is_told_from_its_record_and_the_queue(
    slurm, run_folder, tmp_path, record, waiting, ended, expected
):
    folder = tmp_path if record is None else run_folder(**record)
    job = slurm.described(folder, 0, "7_0", ["seed=1"], slurm.Queue(waiting, ended))
    assert (job.state, job.told) == expected
    assert job.queued == bool(waiting)


def test_the_latest_submission_of_a_job_counts(slurm, tmp_path):
    for job in ("9_0", "9_1", "10_0", "10_1", "11"):
        (tmp_path / ".submitit" / job).mkdir(parents=True)
        (tmp_path / ".submitit" / job / f"{job}_submitted.pkl").touch()
    assert slurm.submitted(tmp_path) == {0: "11", 1: "10_1"}


def test_a_sweep_is_where_the_command_line_says(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert slurm.sweep_folder(["seed=0,1", "hydra.sweep.dir='a b'"]) == tmp_path / "a b"
    assert slurm.sweep_folder([f"paths.outputs={tmp_path / 'elsewhere'}"]).parent == tmp_path / "elsewhere" / "sweep"
    first, second = slurm.sweep_folder([]), slurm.sweep_folder([])
    assert first.parent == second.parent == tmp_path / "outputs" / "sweep"


def test_a_folder_without_a_sweep_is_refused(slurm, tmp_path):
    with pytest.raises(CrossLocateError, match=r"sweep\.json"):
        slurm.status(tmp_path)
