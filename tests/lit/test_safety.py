"""Losses and gradients that are not finite, norms of gradients, and early stopping, in whole runs."""

import csv
import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from broken_losses import BrokenLoss, InfiniteBackward
from pytorch_lightning.plugins.precision import MixedPrecision
from running import call, finish, overrides, start

from crosslocate import train
from crosslocate.data.dataset import TripletDataset
from crosslocate.data.share import Share
from crosslocate.lit.gradients import norm, parts
from crosslocate.lit.not_finite import NonFiniteError, StopsAtNonFinite, bad_images, files_of

QUICK = ["untrained=false", "test=false", "loss=triplet", "callbacks.last.every_n_steps=1", "name=run"]


def run(tiny_dataset, folder, *more):
    return call(train.main, "train", overrides(tiny_dataset, folder, f"paths.run={folder}", *QUICK, *more))


def broken_run(tiny_dataset, folder, monkeypatch, *more, **how):
    """A run whose loss is `BrokenLoss` in its third step."""
    monkeypatch.setattr("crosslocate.models.losses.TripletLoss", lambda **_: BrokenLoss(2, **how))
    return run(tiny_dataset, folder, *more)


def checkpoint(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def rows(folder):
    with (folder / "metrics" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("factor", "said"), [(float("nan"), "loss is nan"), (float("inf"), "loss is inf")])
def test_a_loss_that_is_not_finite_ends_the_run_before_it_reaches_the_weights(
    tiny_dataset, tmp_path, monkeypatch, factor, said
):
    with pytest.raises(NonFiniteError) as caught:
        broken_run(tiny_dataset, tmp_path, monkeypatch, "callbacks.not_finite.names=1", factor=factor)
    message = str(caught.value)
    assert f"the {said}, in step 3, epoch 1" in message
    assert "optimizer.lr=0.003" in message
    assert message.count(str(tiny_dataset / "queries/photo")) == 1
    assert "and 1 more; positives" in message  # two queries a batch
    assert str(tiny_dataset / "database/depth") in message
    state = checkpoint(tmp_path)
    assert state["global_step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in state["state_dict"].values())


def test_gradients_that_are_not_finite_end_the_run(tiny_dataset, tmp_path, monkeypatch):
    with pytest.raises(NonFiniteError, match=r"gradients are not finite, though the loss is, in step 3, epoch 1"):
        broken_run(tiny_dataset, tmp_path, monkeypatch)
    assert checkpoint(tmp_path)["global_step"] == 2


def test_every_process_ends_when_the_loss_of_one_is_not_finite(tiny_dataset, tmp_path):
    arguments = overrides(
        tiny_dataset, tmp_path, *QUICK, "trainer=ddp_cpu", "logger=none", f"hydra.run.dir={tmp_path / 'run'}",
        "loss._target_=broken_losses.BrokenLoss", "~loss.margin", "~loss.distance", "+loss.call=2", "+loss.factor=nan",
        "+loss.rank=1",
    )  # fmt: skip
    output = finish(start("train", *arguments, cwd=tmp_path, path=Path(__file__).parent), 1)
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert any("the loss is nan, in step 3, epoch 1" in line for line in lines), output
    assert "Traceback" not in output
    assert checkpoint(tmp_path / "run")["global_step"] == 2


@pytest.fixture
def batch(make_datamodule):
    """Two triplets, with three views as one's negatives and two as the other's, as network inputs of zeros."""
    datamodule = make_datamodule()
    data, plan = datamodule.train, [[0, 5, 7, 9, 6], [4, 6, 9, -1, 5]]
    made = TripletDataset(data.query_reader, data.database_reader, datamodule.negative_rule).__getitems__(plan)
    assert made["database_rows"].tolist() == [5, 6, 7, 9]
    return data, {**made, "query": torch.zeros(2, 3, 4, 4), "database": torch.zeros(4, 2, 4, 4)}


def test_files_of_a_batch_are_named_by_kind_and_once(batch):
    data, made = batch
    expected = {"queries": ("photo", data.queries, [0, 4]), "positives": ("depth", data.database, [5, 6]),
                "negatives": ("depth", data.database, [7, 9])}  # fmt: skip
    assert files_of(made, data.query_reader, data.database_reader) == {
        kind: [str(catalog.image_path(modality, row)) for row in rows]
        for kind, (modality, catalog, rows) in expected.items()
    }


def test_images_that_are_not_finite_are_named_alone(batch):
    data, made = batch
    assert bad_images(made) == {"query": [], "database": []}
    made["database"][3, 1, 2, 2] = torch.nan
    bad = bad_images(made)
    assert bad == {"query": [], "database": [3]}
    files = files_of(made, data.query_reader, data.database_reader, bad)
    assert files == {"queries": [], "positives": [], "negatives": [str(data.database.image_path("depth", 9))]}


def test_images_of_a_share_are_known_by_their_place_in_the_batch(batch):
    _, made = batch
    made["share"] = Share.of({"query": 2, "database": 4}, rank=1, world_size=2)
    made |= {"query": torch.zeros(1, 3, 4, 4), "database": torch.tensor([0.0, torch.inf]).reshape(2, 1, 1, 1)}
    assert bad_images(made) == {"query": [], "database": [3]}


class Overflowing(pl.LightningModule):
    """One weight, whose gradient in 16 bits is infinite in the given steps."""

    def __init__(self, steps):
        super().__init__()
        self.weight, self.steps = torch.nn.Parameter(torch.ones(())), steps

    def training_step(self, batch, batch_idx):
        return InfiniteBackward.apply(self.weight) if batch_idx in self.steps else self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fit_in_16_bits(tmp_path, steps, scale):
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    trainer = pl.Trainer(
        accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu", scaler)], max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path,
        callbacks=[StopsAtNonFinite(1)],
    )  # fmt: skip
    module = Overflowing(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopsAtNonFinite, "_message", lambda *_: "not finite")
        trainer.fit(module, torch.utils.data.DataLoader(range(4)))
    return module, scaler


def test_gradients_that_overflow_in_16_bits_are_skipped_by_the_scaler(tmp_path):
    module, scaler = fit_in_16_bits(tmp_path, steps=(1,), scale=2.0**16)
    assert scaler.get_scale() == 2.0**15
    assert float(module.weight) == pytest.approx(1 - 3 * 1e-3)  # three of four steps were taken


def test_gradients_that_overflow_without_any_scaling_end_the_run(tmp_path):
    with pytest.raises(NonFiniteError):
        fit_in_16_bits(tmp_path, steps=(0, 1, 2), scale=2.0)


def test_norms_of_gradients_are_logged_and_agree_with_one_another(tiny_dataset, tmp_path):
    run(tiny_dataset, tmp_path, "trainer.max_epochs=1", "trainer.log_every_n_steps=2")
    logged = [row for row in rows(tmp_path) if row.get("train/grad_norm")]
    assert len(logged) == 3  # of six steps
    for row in logged:
        norms = {
            key.removeprefix("train/grad_norm"): float(row[key]) for key in row if key.startswith("train/grad_norm")
        }
        assert norms[""] > 0
        assert norms[""] ** 2 == pytest.approx(norms["/query"] ** 2 + norms["/database"] ** 2, rel=1e-4)
        for branch in ("/query", "/database"):
            below = [norm for name, norm in norms.items() if name.startswith(f"{branch}_")]
            assert len(below) >= 2
            assert norms[branch] ** 2 == pytest.approx(sum(norm**2 for norm in below), rel=1e-4)


def test_the_norm_is_that_of_all_numbers_together():
    tensors = [torch.randn(3, 4), torch.randn(5).bfloat16(), torch.randn(())]
    expected = torch.cat([tensor.float().flatten() for tensor in tensors]).norm()
    torch.testing.assert_close(norm(tensors), expected)
    assert norm([]) == 0


def test_branches_that_share_weights_are_one_part():
    class Network(torch.nn.Module):
        def __init__(self, shared):
            super().__init__()
            self.query = torch.nn.Sequential(torch.nn.Linear(2, 2))
            self.database = self.query if shared else torch.nn.Sequential(torch.nn.Linear(2, 2))

    assert [name for name, _ in parts(Network(True))] == ["query", "query_0"]
    assert [name for name, _ in parts(Network(False))] == ["query", "query_0", "database", "database_0"]


STANDING = [  # nothing is learnt, so recalls hardly change
    "callbacks=early_stopping", "callbacks.early_stopping.patience=3", "optimizer.lr=1e-30",
            "optimizer.weight_decay=0"]  # fmt: skip


@pytest.fixture(scope="module")
def stopped_early(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("early")
    run(tiny_dataset, folder, *STANDING, "trainer.max_epochs=9")
    return folder


def test_a_run_ends_when_recalls_stop_rising_and_is_measured(stopped_early):
    results = json.loads((stopped_early / "results.json").read_text())
    epochs = [entry["epoch"] for entry in results["history"]]
    assert epochs == list(range(len(epochs)))
    values = [entry["val/recall@1_20m"] for entry in results["history"]]
    best = max(range(len(values)), key=values.__getitem__)  # the first of the best
    assert len(values) == best + 1 + 3 < 9
    assert results["objective"]["val/recall@1_20m"] == max(values)
    assert results["ended"] == "early stopping"


def test_a_resumed_run_remembers_how_long_it_has_waited(stopped_early, tiny_dataset, tmp_path):
    whole = json.loads((stopped_early / "results.json").read_text())["history"]
    run(tiny_dataset, tmp_path, *STANDING, f"trainer.max_epochs={len(whole) - 2}")
    assert json.loads((tmp_path / "results.json").read_text())["ended"] == "trainer.max_epochs"
    call(train.main, "train", [f"resume={tmp_path}", f"paths.run={tmp_path}", "trainer.max_epochs=9", "name=run"])
    resumed = json.loads((tmp_path / "results.json").read_text())["history"]
    assert [e["epoch"] for e in resumed] == [e["epoch"] for e in whole]
