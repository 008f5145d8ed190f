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
