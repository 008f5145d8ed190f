"""The round loader inside Lightning's loop: fresh plans, exact rounds, resume at any batch."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset

from crosslocate.lit.checkpoint import LastCheckpoint
from crosslocate.lit.empty_batches import SkipsEmptyBatches
from crosslocate.mining.loader import RoundLoader

SIZES = [7, 7, 4]  # queries of the rounds of an epoch
EPOCHS = 2


class PlanRows(Dataset):
    def __getitems__(self, rows):
        return {"rows": torch.tensor(np.array(rows))}


class Planner:
    """Plans that depend on the weights of the moment, as mined ones do."""

    def __init__(self, module, sizes=tuple(SIZES)):
        self.module, self.sizes, self.calls = module, list(sizes), []

    @property
    def epoch(self):
        return self.module.trainer.current_epoch

    def round_sizes(self):
        return self.sizes

    def plan(self, epoch, index):
        weight = int(self.module.weight.detach() * 1e6)
        self.calls.append((epoch, index))
        return np.array([[weight, epoch, index, k] for k in range(self.sizes[index])], np.int32)


class Recorder(pl.LightningModule):
    def __init__(self, stop_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))
        self.seen, self.stop_at = [], stop_at

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch["rows"].tolist(), batch["stamp"].tolist()))
        return (self.weight - batch["rows"].float().mean() * 1e-6) ** 2

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == self.stop_at:
            raise KilledError

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class KilledError(Exception):
    pass


def fit(module, folder, workers=0, resume=None, every=1, batch=2, dataset=None, planner=Planner, repeats=1):
    loader = RoundLoader(dataset or PlanRows(), planner(module), batch, workers=workers, repeats=repeats)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=EPOCHS, logger=False, enable_checkpointing=True,
        callbacks=[LastCheckpoint(str(folder / "last.ckpt"), every)], enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    try:
        trainer.fit(module, loader, ckpt_path=resume, weights_only=True)
    finally:
        loader.close()
    return loader


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    module = Recorder()
    fit(module, tmp_path_factory.mktemp("undisturbed"))
    return module


def test_plans_are_made_when_their_round_begins_and_rounds_are_exact(undisturbed, tmp_path):
    module = Recorder()
    loader = fit(module, tmp_path, workers=2)
    assert loader._planner.calls == [(e, r) for e in range(EPOCHS) for r in range(3)]
    assert len(loader) == 4 + 4 + 2
    steps = [[0, 0, k] for k in range(4)] + [[0, 1, k] for k in range(4)] + [[0, 2, k] for k in range(2)]
    assert [stamp for _, _, stamp in module.seen[:10]] == steps
    for epoch, rows, (_, index, position) in module.seen:
        assert [row[1:3] for row in rows] == [[epoch, index]] * len(rows)
        assert [row[3] for row in rows] == list(range(SIZES[index]))[2 * position : 2 * position + 2]
    assert module.seen == undisturbed.seen  # worker processes change nothing
    first_of_epoch_1 = module.seen[10][1][0][0]
    assert first_of_epoch_1 != module.seen[0][1][0][0]  # mined with the weights of its moment


@pytest.mark.parametrize("stop_at", range(1, 20))
def test_a_run_killed_after_any_batch_continues_identically(undisturbed, tmp_path, stop_at):
    killed = Recorder(stop_at)
    with pytest.raises(KilledError):
        fit(killed, tmp_path)
    resumed = Recorder()
    fit(resumed, tmp_path, workers=0, resume=tmp_path / "last.ckpt")
    assert resumed.weight.item() == undisturbed.weight.item()
    saved = len(undisturbed.seen) - len(resumed.seen)
    assert stop_at - 1 <= saved <= stop_at
    assert killed.seen[:saved] + resumed.seen == undisturbed.seen


def test_resume_in_the_middle_of_a_round_with_workers(undisturbed, tmp_path):
    with pytest.raises(KilledError):
        fit(Recorder(5), tmp_path, workers=2)
    resumed = Recorder()
    loader = fit(resumed, tmp_path, workers=2, resume=tmp_path / "last.ckpt")
    assert resumed.weight.item() == undisturbed.weight.item()
    assert loader._planner.calls[0] == (0, 2)  # the plan of round 1 came with the checkpoint


class FixedPlanner:
    epoch = 3

    def __init__(self, sizes):
        self.sizes = sizes

    def round_sizes(self):
        return self.sizes

    def plan(self, epoch, index):
        return np.array([[index, k] for k in range(self.sizes[index])], np.int32)


@pytest.mark.parametrize(("sizes", "batch"), [([20, 11], 6), ([20, 7], 9), ([5], 6), ([13, 3], 1), ([2], 2)])
def test_every_triplet_is_in_one_batch_and_the_last_one_of_a_round_may_be_smaller(sizes, batch):
    loader = RoundLoader(PlanRows(), FixedPlanner(sizes), batch)
    batches = [b["rows"].tolist() for b in loader]
    assert len(batches) == len(loader)
    assert [tuple(row) for b in batches for row in b] == [(i, k) for i, size in enumerate(sizes) for k in range(size)]
    expected = [min(batch, size - start) for size in sizes for start in range(0, size, batch)]
    assert [len(b) for b in batches] == expected


def test_the_state_of_an_epoch_that_ended_early_does_not_leak_into_the_next():
    class Planner(FixedPlanner):
        epoch = 0

    planner = Planner([4, 4])
    first = RoundLoader(PlanRows(), planner, 2)
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    planner.epoch = 1
    loader = RoundLoader(PlanRows(), planner, 2)
    loader.load_state_dict(state)
    assert [b["stamp"].tolist() for b in loader] == [[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]


class ShorterPlanner(Planner):
    """Plans of fewer triplets than the round has queries, of none at all among them."""

    def plan(self, epoch, index):
        return super().plan(epoch, index)[: (0, 3, 4, 1, 7, 0)[3 * epoch + index]]


class QueryRows(PlanRows):
    def __getitems__(self, rows):
        batch = super().__getitems__(rows)
        return {**batch, "query_rows": batch["rows"][:, 0]}


class Skipping(SkipsEmptyBatches, Recorder):
    """Adam, whose averages move weights even without a gradient, and a schedule by steps."""

    def training_step(self, batch, batch_idx):
        if self.empty:
            self.seen.append((self.current_epoch, [], batch["stamp"].tolist()))
            return self.no_loss()
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


SHORTER = {"planner": ShorterPlanner, "dataset": QueryRows(), "repeats": 2}


@pytest.fixture(scope="module")
def with_empty_batches(tmp_path_factory):
    module = Skipping()
    fit(module, tmp_path_factory.mktemp("empty"), **SHORTER)
    return module


def test_an_epoch_has_as_many_steps_whatever_the_plans_and_every_triplet_is_repeated(with_empty_batches):
    expected = [
        (epoch, index, step, [k // 2 for k in range(2 * length) if k // 2 == step])  # batches of two: a triplet, twice
        for (epoch, index), length in zip([(e, r) for e in range(2) for r in range(3)], (0, 3, 4, 1, 7, 0), strict=True)
        for step in range(SIZES[index])
    ]
    assert len(expected) == EPOCHS * sum(SIZES)
    seen = [(*stamp, [row[3] for row in rows]) for _, rows, stamp in with_empty_batches.seen]
    assert seen == expected
    assert with_empty_batches.trainer.global_step == len(expected)
    assert with_empty_batches.lr_schedulers().last_epoch == len(expected)


def test_empty_batches_leave_weights_and_averages_alone(with_empty_batches):
    (state,) = with_empty_batches.optimizers().state.values()
    assert state["step"] == sum(len(rows) > 0 for _, rows, _ in with_empty_batches.seen)


def test_a_repeated_triplet_takes_the_next_places_of_the_batches():
    loader = RoundLoader(QueryRows(), FixedPlanner([5]), 4, repeats=3)
    batches = list(loader)
    assert len(loader) == 4
    places = [int(row[1]) for b in batches for row in b["rows"]]
    assert [len(b["rows"]) for b in batches] == [4, 4, 4, 3]
    assert places == [k // 3 for k in range(15)]
    assert [b["stamp"].tolist() for b in batches] == [[3, 0, k] for k in range(4)]


@pytest.mark.parametrize("stop_at", [1, 3, 8, 9, 12, 17, 18, 21, 27, 33, 35])
def test_a_run_with_empty_and_repeated_batches_killed_after_any_batch_continues_identically(
    with_empty_batches, tmp_path, stop_at
):
    killed = Skipping(stop_at)
    with pytest.raises(KilledError):
        fit(killed, tmp_path, **SHORTER)
    resumed = Skipping()
    fit(resumed, tmp_path, resume=tmp_path / "last.ckpt", **SHORTER)
    assert resumed.weight.item() == with_empty_batches.weight.item()
    saved = len(with_empty_batches.seen) - len(resumed.seen)
    assert killed.seen[:saved] + resumed.seen == with_empty_batches.seen
