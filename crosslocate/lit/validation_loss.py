"""The training loss on the validation split, from the descriptors that its recalls were counted with."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from crosslocate.data.dataset import unique_views
from crosslocate.errors import ConfigError
from crosslocate.lit.recall import RecallCallback
from crosslocate.mining.descriptors import RowDescriptors
from crosslocate.mining.miner import Miner, MiningTask
from crosslocate.mining.plan import Plan
from crosslocate.retrieval.store import DescriptorStore


class ValidationLoss(pl.Callback):
    """Logs ``val/loss``, the mean loss of batches of mined triplets of the validation split.

    No image is embedded a second time. Queries with a positive are taken as the catalog lists them, in batches as
    large as in training; their negatives are drawn from the seed alone, so that epochs differ by their descriptors
    only. Every process measures some of the batches: any number of them gives the same figure with the same batches.

    Args:
        miner: Chooses the triplets.
        seed: Seed of every draw.
    """

    def __init__(self, miner: Miner, seed: int) -> None:
        self.miner, self.seed = miner, seed

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Ask for the descriptors of every validation during training."""
        if stage != "fit":
            return
        recall = next((c for c in trainer.callbacks if isinstance(c, RecallCallback)), None)  # type: ignore[attr-defined]
        if recall is None:
            raise ConfigError("callbacks.validation_loss", type(self).__name__, "with a callback that measures recall")
        if self._measure not in recall.listeners:
            recall.listeners.append(self._measure)

    def _measure(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        split: str,
        queries: DescriptorStore,
        database: DescriptorStore,
    ) -> dict[str, float]:
        if split != "val" or trainer.state.fn != "fit":
            return {}
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        data = datamodule.split(split)
        lookups = tuple(RowDescriptors(np.arange(len(store)), store.descriptors) for store in (queries, database))
        total, count = 0.0, 0
        for plan in self._batches(trainer, datamodule, lookups):
            total += self._loss(pl_module, datamodule.negative_rule, data, plan, lookups)
            count += 1
        sums = torch.tensor([total, count], dtype=torch.float64)
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(trainer.strategy.root_device), reduce_op="sum").cpu()
        total, count = float(sums[0]), int(sums[1])
        return {"val/loss": total / count} if count else {}

    def _batches(self, trainer: pl.Trainer, datamodule: Any, lookups: tuple[RowDescriptors, ...]) -> Iterator[Plan]:
        """Plans of this process's batches: every world-size-th of all; such without a triplet are left out."""
        data, rule = datamodule.val, datamodule.negative_rule
        answered = np.flatnonzero(data.relations.positives.counts > 0)
        batch = np.arange(len(answered)) // datamodule.global_batch_size
        task = MiningTask(
            answered[batch % trainer.world_size == trainer.global_rank],
            data.relations,
            lambda queries, views: rule.allowed(data.queries, queries, data.database, views),
            len(data.database),
            (self.seed,),
        )
        plan = self.miner.mine(task, self.miner.candidates(task), *lookups).plan
        owners = batch[np.searchsorted(answered, plan[:, 0])]
        yield from np.split(plan, np.flatnonzero(np.diff(owners)) + 1) if len(plan) else ()

    @staticmethod
    def _loss(
        pl_module: pl.LightningModule,
        rule: Any,
        data: Any,
        plan: Plan,
        lookups: tuple[RowDescriptors, ...],
    ) -> float:
        """Loss of one batch, put together as `TripletDataset` does."""
        rows = plan.astype(np.int64)
        views, positive, negatives = unique_views(rows[:, 1], rows[:, 2:])
        mask = rule.allowed(data.queries, rows[:, :1], data.database, views)
        mask[np.arange(len(rows)), positive] = False
        queries, database = lookups
        inputs = (queries.of(rows[:, 0]), database.of(views), positive, negatives, mask)
        with torch.inference_mode():
            loss: Tensor = pl_module.loss(*(torch.from_numpy(x).to(pl_module.device) for x in inputs))  # type: ignore[operator]
        return float(loss)
