"""Starting from another run's weights, stopping on a command, empty batches, and the validation loss of whole runs."""

import csv
import json

import pytest
import pytorch_lightning as pl
import torch
from running import call, finish, overrides, start

from crosslocate import train
from crosslocate.errors import CheckpointError

QUICK = ["untrained=false", "test=false", "mining=crosslocate", "mining.queries_per_round=4", "loss=triplet"]


def run(tiny_dataset, folder, *more):
    call(train.main, "train", overrides(tiny_dataset, folder, f"paths.run={folder}", "name=run", *QUICK, *more))
    return json.loads((folder / "results.json").read_text())


def checkpoint(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def first(tiny_dataset, tmp_path_factory):
    """Folder and results of a training that found a command file to stop in its first epoch."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "end.command").touch()
    return folder, run(tiny_dataset, folder)


def test_a_command_file_ends_the_run_after_its_epoch(first):
    folder, results = first
    assert len(results["history"]) == 1  # of two epochs
    assert checkpoint(folder)["epoch"] == 0
    assert not (folder / "end.command").exists()


def test_a_stopped_run_can_be_resumed(first, tiny_dataset, tmp_path):
    import shutil

    folder = shutil.copytree(first[0], tmp_path / "copy")
    call(train.main, "train", [f"resume={folder}", f"paths.run={folder}", "name=run"])
    state = checkpoint(folder)
    assert state["epoch"] == 1
    (mining,) = [s for name, s in state["callbacks"].items() if name.startswith("MiningCallback")]
    assert mining["miner"]["last_negatives"].dtype == torch.int32


def test_the_validation_loss_is_logged_and_kept(first):
    folder, results = first
    assert results["history"][0]["val/loss"] > 0
    assert "val/loss" in (folder / "metrics" / "metrics.csv").read_text().splitlines()[0]


def test_initial_weights_are_those_of_the_other_run_and_are_recorded(first, tiny_dataset, tmp_path):
    source = first[0] / "checkpoints" / "best.ckpt"
    results = run(
        tiny_dataset, tmp_path, f"initial_weights={first[0]}", "optimizer.lr=1e-30", "optimizer.weight_decay=0",
        "trainer.max_epochs=1",
    )  # fmt: skip
    assert results["initial_weights"] == str(source)
    state = checkpoint(tmp_path)
    assert state["crosslocate_config"]["initial_weights"] == str(source)
    for name, tensor in checkpoint(first[0], "best")["state_dict"].items():
        if "running" not in name and "batches" not in name:  # those of normalisation layers follow the data
            assert torch.equal(tensor, state["state_dict"][name])


def test_initial_weights_of_another_architecture_are_refused(first, tiny_dataset, tmp_path):
    with pytest.raises(CheckpointError, match=r"best\.ckpt: .*projection\.weight \(16, .* instead of \(8, "):
        run(tiny_dataset, tmp_path, f"initial_weights={first[0]}", "network.descriptor_size=8")


class KilledError(Exception):
    pass


class Killer(pl.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise KilledError


MEMORY = [
    "mining/strategy=semihard", "mining.margin=0.1", "mining.sampled_negatives=4", "mining.negatives=3",
    "mining.repeats=2", "augmentation=strong", "scheduler=cosine", "scheduler.warmup_steps=3", "optimizer.lr=0.01",
    "callbacks.last.every_n_steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tiny_dataset, tmp_path_factory):
    """Last checkpoint of a training by mining that remembers."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(tiny_dataset, folder, *MEMORY)
    return checkpoint(folder)


@pytest.mark.parametrize("step", [6, 17])  # in the middle of a repeated batch, and of a round of the second epoch
def test_a_killed_run_goes_on_with_its_order_learning_rate_and_memory(
    undisturbed, tiny_dataset, tmp_path, step, monkeypatch
):
    monkeypatch.setenv("CROSSLOCATE_TRUSTED_TARGETS", f"{__name__}.Killer")
    kill = f"+callbacks.killer={{_target_:{__name__}.Killer,step:{step}}}"
    with pytest.raises(KilledError):
        run(tiny_dataset, tmp_path, *MEMORY, kill)
    call(train.main, "train", [f"resume={tmp_path}", f"paths.run={tmp_path}", "+callbacks.killer.step=-1", "name=run"])
    state = checkpoint(tmp_path)
    assert state["global_step"] == undisturbed["global_step"] == 24
    assert all(torch.equal(tensor, state["state_dict"][n]) for n, tensor in undisturbed["state_dict"].items())
    assert state["lr_schedulers"] == undisturbed["lr_schedulers"]
    memories = [s["callbacks"]["MiningCallback"]["miner"]["last_negatives"] for s in (state, undisturbed)]
    assert torch.equal(*memories)
    assert (memories[0] >= 0).any()


def test_a_run_that_ended_for_want_of_steps_goes_on_within_its_epoch(undisturbed, tiny_dataset, tmp_path):
    steps = ["callbacks.last.every_n_steps=5", "trainer.max_steps=7"]
    run(tiny_dataset, tmp_path, *MEMORY[:-1], *steps)
    cut = checkpoint(tmp_path)
    assert cut["global_step"] == 7
    more = ["trainer.max_steps=-1", "name=run"]
    call(train.main, "train", [f"resume={tmp_path}", f"paths.run={tmp_path}", *more])
    state = checkpoint(tmp_path)
    assert state["global_step"] == undisturbed["global_step"]
    epochs = json.loads((tmp_path / "history.json").read_text())["epochs"]
    assert [entry["epoch"] for entry in epochs] == [0, 1]
    assert all("val/loss" in entry for entry in epochs)


def test_two_processes_skip_empty_batches_and_stop_together(tiny_dataset, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "end.command").touch()
    arguments = [
        *overrides(tiny_dataset, tmp_path, *QUICK, "trainer=ddp_cpu", "trainer.enable_progress_bar=false"),
        "trainer.log_every_n_steps=1", "trainer.max_epochs=3", "trainer.precision=32-true", "dataset.batch_size=1",
        "mining/strategy=semihard", "mining.margin=0.02", "mining.miner.attempts=1", "mining.sampled_negatives=4",
        "mining.refresh._target_=crosslocate.mining.refresh.FullRefresh", f"hydra.run.dir={folder}",
    ]  # fmt: skip
    finish(start("train", *arguments, cwd=tmp_path))
    with (folder / "metrics" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    triplets = [float(row["mining/triplets"]) for row in rows if row["mining/triplets"]]
    assert len(triplets) == 3  # rounds of four queries, two steps each
    learned = sum(bool(row["train/loss_step"]) for row in rows)
    assert learned == sum(-(-int(n) // 2) for n in triplets)
    assert 0 < learned < 6
    state = checkpoint(folder)
    assert (state["epoch"], state["global_step"]) == (0, 6)
    assert not (folder / "end.command").exists()
