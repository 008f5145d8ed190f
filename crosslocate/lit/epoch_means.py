"""Means over the batches of an epoch, of a run that was resumed within it."""

from typing import Any

import pytorch_lightning as pl
import torch

Sums = dict[str, list[torch.Tensor]]
"""By the name that Lightning knows a figure by: its sum, and the number of batches."""


class EpochMeans(pl.Callback):
    """Keeps in checkpoints what an epoch's means, ``train/loss_epoch`` above all, are made of so far.

    Without it they would be those of the batches since the resume.
    """

    def __init__(self) -> None:
        self._epoch, self._earlier = -1, Sums()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add what was summed up before the resume, as soon as there is what it can be added to."""
        if self._epoch != trainer.current_epoch:
            self._earlier = {}
        results = trainer.fit_loop.epoch_loop._results
        for name in [name for name in self._earlier if name in results]:
            total, count = self._earlier.pop(name)
            metric: Any = results[name]
            metric.value = metric.value + total.to(metric.value.device)
            metric.cumulated_batch_size = metric.cumulated_batch_size + count.to(metric.cumulated_batch_size.device)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what had no batch after the resume: it was a validation that the run went on with."""
        if self._epoch == trainer.current_epoch:
            for name, (total, count) in self._earlier.items():
                mean = (total / count).to(pl_module.device)  # where the processes can reduce it
                pl_module.log(name.rpartition(".")[2], mean, sync_dist=True)
        self._earlier = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Know the trainer: the state is in it."""
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and its sums so far over all processes; to be called on all of them."""
        sums = dict(self._earlier) if self._epoch == self._trainer.current_epoch else Sums()
        for name, metric in self._trainer.fit_loop.epoch_loop._results.items():
            if metric.meta.on_epoch and metric.is_tensor and metric.meta.is_mean_reduction and metric.update_called:
                parts = (metric.value.clone(), metric.cumulated_batch_size.clone())
                sums[name] = [metric.meta.sync(part).cpu() for part in parts]
        return {"epoch": self._trainer.current_epoch, "sums": sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the sums of a checkpoint, for the epoch that they are of."""
        self._epoch, self._earlier = int(state_dict["epoch"]), dict(state_dict["sums"])
