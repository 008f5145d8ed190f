"""``deterministic``: what it switches on, that it ends with its run, and that a run repeated is the same run."""

import os

import pytest
import torch
from running import call, overrides

from crosslocate import train

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    yield
    torch.use_deterministic_algorithms(False)


def weights(tiny_dataset, folder, *more):
    quick = ["untrained=false", "test=false", "logger=none", "trainer.max_epochs=1", "augmentation=strong"]
    call(train.main, "train", overrides(tiny_dataset, folder, f"paths.run={folder}", "name=run", *quick, *more))
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_repeated_has_the_same_weights(tiny_dataset, tmp_path):
    first = weights(tiny_dataset, tmp_path / "first", "deterministic=true")
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ[VARIABLE] == ":4096:8"
    torch.rand(3)  # what was drawn before is of no importance
    second = weights(tiny_dataset, tmp_path / "second", "deterministic=true")
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    weights(tiny_dataset, tmp_path / "third")  # the next job of a sweep, in the same process
    assert not torch.are_deterministic_algorithms_enabled()
