"""Losses and gradients that are not finite, norms of gradients, and early stopping, in whole runs."""

import csv
import json
from pathlib import Path

import pytest
import torch
from broken_losses import BrokenLoss
from running import call, finish, overrides, start

from crosslocate import train
from crosslocate.data.dataset import TripletDataset
from crosslocate.lit.gradients import norm, parts
from crosslocate.lit.not_finite import NonFiniteError, files_of

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


def test_gradients_that_overflow_in_16_bits_are_skipped(tiny_dataset, tmp_path, monkeypatch):
    broken_run(tiny_dataset, tmp_path, monkeypatch, "trainer.precision=16-mixed", "trainer.max_epochs=1")
    state = checkpoint(tmp_path)
    assert state["MixedPrecision"]["scale"] == 2**15  # halved once
    assert all(torch.isfinite(tensor).all() for tensor in state["state_dict"].values())


def test_every_process_ends_when_the_loss_of_one_is_not_finite(tiny_dataset, tmp_path):
    arguments = overrides(
        tiny_dataset, tmp_path, *QUICK, "trainer=ddp_cpu", "logger=none", f"hydra.run.dir={tmp_path / 'run'}",
        "loss._target_=broken_losses.BrokenLoss", "~loss.margin", "~loss.distance", "+loss.call=2", "+loss.factor=.nan",
        "+loss.rank=1",
    )  # fmt: skip
    output = finish(start("train", *arguments, cwd=tmp_path, path=Path(__file__).parent), 1)
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert any("the loss is nan, in step 3, epoch 1" in line for line in lines), output
    assert "Traceback" not in output
    assert checkpoint(tmp_path / "run")["global_step"] == 2


def test_images_that_are_not_finite_are_named_alone(make_datamodule):
    data = make_datamodule().train
    plan = [[0, 5, 7, 9], [4, 6, 9, -1]]
    batch = TripletDataset(data.query_reader, data.database_reader, make_datamodule().negative_rule).__getitems__(plan)
    batch |= {"query": torch.zeros(2, 3, 4, 4), "database": torch.zeros(4, 2, 4, 4)}
    files, broken = files_of(batch, data.query_reader, data.database_reader)
    named = {kind: [name.rpartition("/")[2].partition(".")[0] for name in names] for kind, names in files.items()}
    assert not broken
    assert named == {
        "queries": data.queries.names([0, 4]),
        "positives": data.database.names([5, 6]),
        "negatives": data.database.names([7, 9]),
    }
    batch["database"][3, 1, 2, 2] = torch.nan
    files, broken = files_of(batch, data.query_reader, data.database_reader)
    assert broken
    assert (files["queries"], files["positives"]) == ([], [])
    assert files["negatives"] == [str(data.database.image_path("depth", 9))]


def test_norms_of_gradients_are_logged_and_agree_with_one_another(tiny_dataset, tmp_path):
    run(tiny_dataset, tmp_path, "trainer.max_epochs=1", "trainer.log_every_n_steps=2")
    logged = [row for row in rows(tmp_path) if row.get("train/grad_norm")]
    assert len(logged) == 3  # of six steps
    for row in logged:
        whole, query, database, *below = (
            float(row[f"train/grad_norm{part}"])
            for part in ("", "/query", "/database", "/query_backbone", "/query_projection")
        )
        assert whole > 0
        assert whole**2 == pytest.approx(query**2 + database**2, rel=1e-4)
        assert query**2 == pytest.approx(sum(n**2 for n in below), rel=1e-4)


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


def test_a_resumed_run_remembers_how_long_it_has_waited(stopped_early, tiny_dataset, tmp_path):
    whole = json.loads((stopped_early / "results.json").read_text())["history"]
    run(tiny_dataset, tmp_path, *STANDING, f"trainer.max_epochs={len(whole) - 2}")
    call(train.main, "train", [f"resume={tmp_path}", f"paths.run={tmp_path}", "trainer.max_epochs=9", "name=run"])
    resumed = json.loads((tmp_path / "results.json").read_text())["history"]
    assert [e["epoch"] for e in resumed] == [e["epoch"] for e in whole]
