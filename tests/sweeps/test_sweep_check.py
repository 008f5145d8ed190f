"""A sweep is refused as a whole before anything runs, or recorded job by job."""

import itertools
import json
import pickle

import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from running import finish, start
from synthetic import write_run

from crosslocate.config.app import conf_dir
from crosslocate.runs.fingerprint import config_fingerprint
from crosslocate.sweeps.callback import CheckJobs, validate_job
from crosslocate.sweeps.check import Checker
from crosslocate.sweeps.jobs import expand
from crosslocate.sweeps.loader import RememberingLoader
from crosslocate.sweeps.record import read_sweep
from crosslocate.sweeps.rules import COMMANDS


@pytest.fixture
def check(hydra, tmp_path):
    """Check a command line as Hydra does before a sweep; gives the configuration of the sweep."""

    loader = hydra.config_loader

    def run(*arguments, folder=tmp_path / "jobs"):
        hydra.config_loader = loader  # a process checks one sweep
        command_line = [*arguments, f"hydra.sweep.dir={folder}", "hydra.mode=MULTIRUN"]
        config = hydra.compose_config("train", command_line, RunMode.MULTIRUN, with_log_configuration=False)
        CheckJobs().on_multirun_start(config, config_name="train")
        return config

    return run


@pytest.fixture
def refused(check, capsys):
    """What a refused command line says."""

    def run(*arguments, **keywords):
        with pytest.raises(SystemExit) as ended:
            check(*arguments, **keywords)
        assert ended.value.code == 1
        return capsys.readouterr().err

    return run


def fingerprint_of(*overrides):
    return config_fingerprint(compose("train", overrides=list(overrides)))


def test_every_combination_is_recorded_with_the_fingerprint_of_its_configuration(check, tmp_path):
    check("experiment=demo", "modality=depth,segments", "seed=range(3)")
    sweep = read_sweep(tmp_path / "jobs")
    expected = [
        ["experiment=demo", f"modality={modality}", f"seed={seed}"]
        for modality, seed in itertools.product(("depth", "segments"), range(3))
    ]
    assert [job["overrides"] for job in sweep["jobs"]] == expected
    assert [job["number"] for job in sweep["jobs"]] == list(range(6))
    assert [job["fingerprint"] for job in sweep["jobs"]] == [fingerprint_of(*overrides) for overrides in expected]
    assert sweep["name"] == "jobs"
    assert sweep["overrides"] == ["experiment=demo", "modality=depth,segments", "seed=range(3)"]


def test_the_values_of_a_preset_come_first_and_those_of_the_command_line_win(check, tmp_path):
    check("sweep=loss", "seed=0,1")
    jobs = [job["overrides"] for job in read_sweep(tmp_path / "jobs")["jobs"]]
    assert jobs[0] == ["loss=triplet", "sweep=loss", "seed=0"]
    assert len(jobs) == 4


REFUSED = [
    (["seed=-1,2,-3"], [0, 2], ["seed=-1", "an integer of at least 0"]),
    (["seed=1,x"], [1], ["seed=x", "Integer"]),
    (["modality=depth,deep"], [1], ["Could not find 'modality/deep'", "silhouettes"]),
    (["loss=triplet", "mining.negatives=0,1"], [0], ["mining.negatives=0", "with loss=triplet"]),
    (["mining.sampled_negatives=4,20", "mining.negatives=10"], [0], ["mining.sampled_negatives=4"]),
    (["optimizer.lr=1e-3,0,-1"], [1, 2], ["optimizer.lr=0", "a number above 0"]),
    (["dataset.size=[24,32],[24],7"], [1, 2], ["dataset.size=[24]", "height"]),
    (["trainer.devices=1,2", "trainer=cpu"], [1], ["trainer.strategy", "trainer=ddp"]),
    (["evaluation.heading=15,270"], [1], ["evaluation.heading=270", "degrees"]),
    (["pooling.learnable=3,true"], [0], ["pooling.learnable=3"]),
    (["+loss.margins=1,2"], [0, 1], ["loss.margins=1", "loss.margins=2"]),
    (["search.database_block=0,1024"], [0], ["search.database_block=0"]),
]


@pytest.mark.parametrize(("arguments", "bad", "said"), REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
def test_all_bad_jobs_are_named_with_their_reason_and_nothing_is_left(refused, tmp_path, arguments, bad, said):
    output = refused(*arguments)
    lines = [line for line in output.splitlines() if line.startswith("  job ")]
    assert [int(line.split()[1]) for line in lines] == bad
    assert all(text in output for text in said)
    assert "Traceback" not in output
    assert not (tmp_path / "jobs").exists()


def test_a_value_that_is_given_twice_is_refused(refused):
    assert "jobs 0, 2 are the same run: a value is given twice" in refused("seed=0,1,0")


def test_values_that_another_override_hides_are_refused(refused):
    output = refused("modality=depth,silhouettes", "tensor@modality.database=log_depth")
    assert "jobs 0, 1 are the same run: modality=depth, modality=silhouettes make no difference" in output


def test_values_that_change_no_result_may_be_swept(check, tmp_path):
    check("logger=csv,tensorboard")
    first, second = read_sweep(tmp_path / "jobs")["jobs"]
    assert first["fingerprint"] == second["fingerprint"]


SHARED = [
    (["hydra.sweep.subdir=same"], "hydra.sweep.subdir"),
    (["hydra.sweep.subdir=${hydra.job.num}/../same"], "hydra.sweep.subdir"),
    (["paths.run=somewhere"], "paths.run"),
]


@pytest.mark.parametrize(("arguments", "key"), SHARED, ids=[" ".join(arguments) for arguments, _ in SHARED])
def test_jobs_that_share_a_folder_are_refused(refused, tmp_path, arguments, key):
    output = refused("seed=0,1", *arguments)
    assert "jobs 0, 1 have the same folder" in output
    assert f"{key} is not allowed; allowed: a folder for each job" in output
    assert not (tmp_path / "jobs").exists()


def test_the_folders_of_the_jobs_are_recorded(check, refused, tmp_path):
    check("seed=0,1", "hydra.sweep.subdir=in/x${hydra.job.num}")
    assert [job["folder"] for job in read_sweep(tmp_path / "jobs")["jobs"]] == ["in/x0", "in/x1"]
    assert f"is in {tmp_path / 'jobs' / 'in' / 'x0'}, and would be in {tmp_path / 'jobs' / '0'}" in refused("seed=0,1")
    check("seed=0,1", "paths.run=" + str(tmp_path / "else_${seed}"), folder=tmp_path / "other")
    found = [job["folder"] for job in read_sweep(tmp_path / "other")["jobs"]]
    assert found == [str(tmp_path / "else_0"), str(tmp_path / "else_1")]


def test_a_sweep_recorded_without_folders_has_them_by_number(check, tmp_path):
    check("seed=0,1")
    path = tmp_path / "jobs" / "sweep.json"
    content = json.loads(path.read_text())
    for job in content["jobs"]:
        del job["folder"]
    path.write_text(json.dumps(content))
    check("seed=0,1")


@pytest.fixture
def no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """SLURM's commands, as a check looks for them."""
    for name in COMMANDS:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_slurm")
def test_without_slurm_its_launcher_is_refused_in_one_line(refused, check):
    [line] = refused("hydra/launcher=slurm", "trainer=cpu", "seed=0,1").splitlines()
    assert line.startswith("error: SLURM's commands are not here (sbatch, srun)")
    assert "hydra/launcher=local" in line
    check("hydra/launcher=local", "trainer=cpu", "seed=0,1")


@pytest.mark.usefixtures("slurm")
def test_devices_cannot_be_swept_where_all_jobs_get_the_same(refused, check):
    output = refused("hydra/launcher=slurm", "trainer=ddp_cpu", "trainer.devices=2,4")
    assert "job 1 (trainer.devices=4): trainer.devices=4 is not allowed" in output or "trainer.devices=2" in output
    check("hydra/launcher=slurm", "trainer=ddp_cpu", "trainer.devices=2", "seed=0,1")


def test_the_folder_of_another_sweep_is_refused(check, refused, tmp_path):
    check("seed=0,1")
    before = (tmp_path / "jobs" / "sweep.json").read_bytes()
    assert "a folder without another sweep" in refused("seed=0,1,2")
    check("seed=0,1")
    assert (tmp_path / "jobs" / "sweep.json").read_bytes() == before


def test_a_configuration_that_has_changed_since_is_refused_with_what_changed(check, refused, tmp_path):
    check("seed=0,1")
    path = tmp_path / "jobs" / "sweep.json"
    content = json.loads(path.read_text())
    content["jobs"][1]["fingerprint"] = "another"
    path.write_text(json.dumps(content))
    assert "(number 1) has changed" in refused("seed=0,1")
    config = OmegaConf.to_container(compose("train", overrides=["seed=1", "optimizer.lr=7"]), resolve=False)
    write_run(tmp_path / "jobs" / "1", {"seed": 1}, config=config)
    assert "optimizer.lr from 7.0 to 1e-05" in refused("seed=0,1")


def test_a_damaged_record_of_a_sweep_is_refused_by_name(refused, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "sweep.json").write_text('{"format": 1, "jobs": [{}]}')
    assert "sweep.json is damaged" in refused("seed=0,1")


def test_sweepers_that_decide_as_they_go_are_left_alone(hydra, tmp_path, capsys):
    config = hydra.compose_config(
        "train", [f"hydra.sweep.dir={tmp_path / 'jobs'}", "seed=-1,-2"], RunMode.MULTIRUN, with_log_configuration=False
    )
    config.hydra.sweeper = {"_target_": "hydra_plugins.other.Sweeper"}
    CheckJobs().on_multirun_start(config)
    assert "each is checked when it starts" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "jobs").exists()


def test_what_was_checked_is_what_hydra_gets_and_composes_no_more(check, hydra, monkeypatch):
    config = check("experiment=demo", "seed=0,1")
    loader = hydra.config_loader
    assert isinstance(loader, RememberingLoader)
    fresh = loader.loader.load_sweep_config(config, ["experiment=demo", "seed=1"])
    monkeypatch.setattr(loader.loader, "load_sweep_config", None)
    first = loader.load_sweep_config(config, ["experiment=demo", "seed=1"])
    assert first == fresh
    first.seed = 5
    assert loader.load_sweep_config(config, ["experiment=demo", "seed=1"]).seed == 1


def test_a_job_in_another_process_composes_its_configuration_itself(check, hydra):
    check("seed=0,1")
    assert type(pickle.loads(pickle.dumps(hydra.config_loader))) is type(hydra.config_loader.loader)


def test_the_check_leaves_hydras_state_as_it_was(check):
    before = HydraConfig.instance().cfg
    check("seed=0,1")
    assert HydraConfig.instance().cfg is before


def commands():
    files = sorted((conf_dir() / "sweep").glob("*.yaml"))
    return {
        file.stem: [line.split(" -m ", 2)[2].split() for line in file.read_text().splitlines() if "python -m" in line]
        for file in files
    }


@pytest.mark.parametrize("preset", commands())
def test_presets_say_how_they_are_run_and_that_works(preset, hydra, tmp_path):
    [arguments] = commands()[preset]
    assert f"sweep={preset}" in arguments
    config = hydra.compose_config("train", arguments, RunMode.MULTIRUN, with_log_configuration=False)
    jobs = expand(config, hydra.config_loader)
    assert len(jobs) > 1
    for job in (jobs[0], jobs[-1]):
        assert Checker(config, hydra.config_loader, validate_job, tmp_path)(job).problem is None


def test_the_margin_of_mining_follows_that_of_the_loss_where_one_says_so(hydra):
    arguments = ["sweep=margin", "mining.margin=${loss.margin}"]
    config = hydra.compose_config("train", arguments, RunMode.MULTIRUN, with_log_configuration=False)
    jobs = [hydra.config_loader.load_sweep_config(config, [*j.overrides]) for j in expand(config, hydra.config_loader)]
    margins = [0.05, 0.1, 0.2, 0.4]
    assert [job.loss.margin for job in jobs] == margins
    assert [job.mining.miner.margin for job in jobs] == margins
    assert [job.mining.strategy.margin for job in jobs] == margins


def test_many_jobs_are_checked_in_several_processes_and_end_in_one_line_each(tmp_path):
    arguments = ["seed=range(-1,11)", "experiment=demo", "modality=depth,deep", f"paths.outputs={tmp_path}"]
    output = finish(start("train", "-m", *arguments, cwd=tmp_path), 1)
    bad = [int(line.split()[1]) for line in output.splitlines() if line.startswith("  job ")]
    assert bad == [0, *range(1, 24, 2)]
    assert "13 of the 24 jobs cannot run" in output
    assert "Traceback" not in output
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
