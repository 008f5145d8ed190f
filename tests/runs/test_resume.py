"""A run that is resumed goes on with its own configuration, and its record grows."""

from types import SimpleNamespace

import pytest
import torch
from running import call

from crosslocate import train
from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.runs.fingerprint import config_fingerprint
from crosslocate.runs.process import process_settings
from crosslocate.runs.record import RunRecord, read_record


@pytest.fixture
def resume(tmp_path):
    """Resumes a run in this process."""

    def go_on(folder, *more):
        places = [f"paths.run={folder}", f"paths.cache={tmp_path}", "name=x"]
        return call(train.main, "train", [f"resume={folder}", *places, *more])

    return go_on


def edit(folder, key, value):
    """Change the configuration in a run's last checkpoint; there is none before it then."""
    path = folder / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    group, name = key.split(".")
    content["crosslocate_config"][group][name] = value
    torch.save(content, path)
    (folder / "checkpoints" / "previous.ckpt").unlink(missing_ok=True)
    return path


def test_a_resume_is_a_session_with_its_own_overrides(resume, job):
    old = read_record(job)
    resume(job, "trainer.max_epochs=3")
    new = read_record(job)
    assert [(s["from_step"], s["to_step"]) for s in new["sessions"]] == [(0, 12), (12, 18)]
    assert "trainer.max_epochs=3" in new["sessions"][1]["overrides"]
    for lasting in ("overrides", "argv", "choices", "sweep", "source"):
        assert new[lasting] == old[lasting]
    assert new["status"] == "finished"
    assert (old["config"]["trainer"]["max_epochs"], new["config"]["trainer"]["max_epochs"]) == (2, 3)
    assert old["fingerprints"]["config"] != new["fingerprints"]["config"] == config_fingerprint(new["config"])
    assert old["fingerprints"]["data"] == new["fingerprints"]["data"]
    assert new["weights"] != old["weights"]


def test_a_run_that_cannot_be_built_is_its_checkpoints_fault(resume, job):
    path = edit(job, "network.train_from", "no_such_layer")
    with pytest.raises(CheckpointError, match=rf"{path}: nothing can be built from its configuration.*no_such_layer"):
        resume(job)


def test_a_run_whose_configuration_is_refused_is_its_checkpoints_fault(resume, job):
    path = edit(job, "optimizer.lr", -1.0)
    with pytest.raises(CheckpointError, match=rf"{path}: nothing can be built.*optimizer\.lr=-1\.0"):
        resume(job)


@pytest.mark.parametrize("override", ["optimizer.lr=-1", "dataset.batch_size=0", "trainer.precision=8"])
def test_an_override_of_a_resume_is_checked_like_any_other(resume, job, override):
    with pytest.raises(ConfigError, match=f"{override.split('=')[0]}=.*allowed"):
        resume(job, override)
    assert len(read_record(job)["sessions"]) == 1


def with_best_score(folder, score):
    """Let the best epoch of a run so far have another score."""
    path = folder / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    (best,) = (state for state in content["callbacks"].values() if "best_model_score" in state)
    for kept in (best["best_k_models"], best):
        kept.update({name: torch.tensor(score) for name in kept if "score" in name or "/" in name})
    best["kth_value"] = torch.tensor(score)
    torch.save(content, path)


@pytest.fixture
def fork(tmp_path, job):
    """Goes on from the run ``job`` in the folder of another job of a sweep, in this process."""
    folder = tmp_path / "other" / "3"
    sweep = ["hydra.mode=MULTIRUN", "hydra.job.num=3", f"hydra.sweep.dir={folder.parent}", f"paths.run={folder}"]

    def go_on():
        more = [f"paths.cache={tmp_path}", "name=x", "callbacks.last.every_n_steps=1", "trainer.max_epochs=3"]
        return call(train.main, "train", [f"resume={job}", *sweep, *more])

    return folder, go_on


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_job_of_a_sweep_that_resumes_a_run_elsewhere_goes_on_with_its_own_progress(resume, job, fork, failing_at):
    folder, go_on = fork
    with_best_score(job, 2.0)
    before = files(job)
    with failing_at(15):
        go_on()
    objective = go_on()
    record = read_record(folder)
    assert record["status"] == "finished"
    assert [(s["from_step"], s["to_step"]) for s in record["sessions"]] == [(12, 15), (15, 18)]
    own, original = (place / "checkpoints" / "best.ckpt" for place in (folder, job))
    assert own.read_bytes() == original.read_bytes()
    assert files(job) == before
    assert go_on() == objective
    assert len(read_record(folder)["sessions"]) == 2
    assert resume(job, "trainer.max_epochs=3") == objective
    assert read_record(job)["weights"] == record["weights"]


def test_a_better_epoch_elsewhere_leaves_the_best_of_the_run_alone(job, fork):
    folder, go_on = fork
    with_best_score(job, -1.0)
    before = files(job)
    go_on()
    assert files(job) == before
    assert torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == 18


def test_a_missing_best_checkpoint_is_missed_before_training(job, fork):
    folder, go_on = fork
    best = job / "checkpoints" / "best.ckpt"
    best.unlink()
    with pytest.raises(CheckpointError, match=f"{best}, the best checkpoint of the run so far, is missing"):
        go_on()
    assert read_record(folder)["sessions"][0]["to_step"] == 0


def test_a_resume_does_not_write_over_a_third_run(job, finished_job, tmp_path):
    before = files(job)
    places = [f"paths.run={job}", f"paths.cache={tmp_path}", "name=x"]
    with pytest.raises(ConfigError, match=r"paths\.run=.*without the checkpoints of another run"):
        call(train.main, "train", [f"resume={finished_job}", *places])
    assert files(job) == before


def composed(resume):
    """What `process_settings` looks at in a composed configuration."""
    trainer = SimpleNamespace(accelerator="auto", devices=1)
    return SimpleNamespace(trainer=trainer, threads=None, reproduce=None, resume=resume)


def test_threads_and_devices_are_those_of_the_record_unless_the_command_line_says_others(job):
    record = read_record(job)
    record["config"]["trainer"]["devices"] = 2
    RunRecord(job, record).write()
    recorded = process_settings(composed(str(job)), [])
    assert (recorded.threads, recorded.accelerator, recorded.devices) == (1, "cpu", 2)
    said = process_settings(composed(str(job)), ["threads=null", "trainer.devices=1"])
    assert (said.threads, said.accelerator, said.devices) == (None, "cpu", 1)
    new = process_settings(composed(None), [])
    assert (new.threads, new.accelerator, new.devices) == (None, "auto", 1)
