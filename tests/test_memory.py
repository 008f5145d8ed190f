"""Memory that runs out, really, in every phase of a run: the message says where, and which settings decide."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from running import call, finish, overrides, start

from crosslocate import train
from crosslocate.data.reader import ImageReader
from crosslocate.errors import DataError
from crosslocate.lit.module import RetrievalModule
from crosslocate.memory import OutOfMemoryError, explained_memory, kind
from crosslocate.mining.extraction import RoundExtractor
from crosslocate.retrieval import search


def exabytes(*_, **__):
    torch.empty(2**58)


def petabytes(*_, **__):
    np.empty(2**50)


def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


PHASES = [
    (RetrievalModule, "training_step", exabytes, "training step", ["dataset.batch_size=2", "mining.negatives=1"]),
    (RoundExtractor, "_encode", exabytes, "mining extraction", ["dataset.extraction_batch_size=5"]),
    (RetrievalModule, "validation_step", exabytes, "validation", ["dataset.extraction_batch_size=5", "backbone"]),
    (search, "_origin", exabytes, "search of neighbours", ["search.query_block=1024"]),
    (ImageReader, "_read", petabytes, "decoding of images", ["dataset.workers=0", "dataset.size=[24, 32]"]),
]


@pytest.mark.parametrize(("owner", "method", "grab", "phase", "keys"), PHASES, ids=[p[3] for p in PHASES])
def test_the_phase_and_its_settings_are_named(tiny_dataset, tmp_path, monkeypatch, owner, method, grab, phase, keys):
    monkeypatch.setattr(owner, method, grab)
    message = explained(tiny_dataset, tmp_path)
    assert f"the machine has too little memory, in: {phase}." in message
    assert all(key in message for key in keys)
    assert "allocate" in message  # what was said about it


def test_a_training_that_has_a_checkpoint_is_told_how_to_go_on_with_other_values(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_origin", exabytes)  # in the first validation, before which the state is saved
    assert f". To go on from its last checkpoint: resume={tmp_path} <key>=<value> (" in explained(
        tiny_dataset, tmp_path
    )


def test_what_cannot_go_on_is_told_nothing_of_it(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(RetrievalModule, "training_step", exabytes)
    assert "resume=" not in explained(tiny_dataset, tmp_path)


def explained(tiny_dataset, tmp_path, *more):
    arguments = overrides(
        tiny_dataset, tmp_path, f"paths.run={tmp_path}", "name=run", "untrained=false", "test=false",
        "trainer.max_epochs=1", *more,
    )  # fmt: skip
    with pytest.raises(OutOfMemoryError) as caught:
        call(train.main, "train", arguments)
    assert caught.value.__cause__ is not None
    return str(caught.value)


def test_a_worker_that_lacks_memory_is_decoding(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageReader, "_read", petabytes)
    message = explained(tiny_dataset, tmp_path, "dataset.workers=1")
    assert "the machine has too little memory, in: decoding of images." in message
    assert "Traceback" not in message


def test_a_worker_that_the_system_ended_is_decoding(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageReader, "_read", killed)
    message = explained(tiny_dataset, tmp_path, "dataset.workers=1")
    assert "a process that reads images was ended" in message
    assert "in: decoding of images. What decides how much is needed: dataset.workers=1" in message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "GPU"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "GPU"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
                      "workers are out of shared memory. Please try to raise your shared memory limit."), "/dev/shm"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "process that reads images"),
        (OSError(12, "Cannot allocate memory"), "machine"),
        (MemoryError(), "machine"),
    ],
)  # fmt: skip
def test_lacks_of_memory_are_told_apart(error, expected):
    assert expected in kind(error)


@pytest.mark.parametrize("error", [ValueError("memory"), RuntimeError("shapes differ"), OSError(28, "No space left")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, explained_memory({}):
        raise error
    assert caught.value is error


def test_errors_that_are_explained_already_pass():
    with pytest.raises(DataError, match="Unable to allocate"), explained_memory({}):
        raise DataError("Unable to allocate")


def test_a_training_without_memory_is_one_message(tiny_dataset, tmp_path):
    arguments = overrides(
        tiny_dataset, tmp_path, "loss=triplet", "loss._target_=broken_losses.GreedyLoss", "test=false",
        "untrained=false", "logger=none",
    )  # fmt: skip
    output = finish(start("train", *arguments, cwd=tmp_path, path=Path(__file__).parent / "lit"), 1)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "the machine has too little memory, in: training step" in line
    assert "dataset.batch_size=2" in line
    assert "Traceback" not in output
