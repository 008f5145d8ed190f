"""The LightningModule: one network, one loss, one optimizer; nothing about data, mining or recall."""

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from crosslocate.console import say
from crosslocate.lit.empty_batches import SkipsEmptyBatches
from crosslocate.lit.gathering import equalize_buffers, gathered
from crosslocate.lit.optimizers import LEARNING_RATE_RULES
from crosslocate.models.losses import RetrievalLoss
from crosslocate.models.network import CrossModalNetwork

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]


class RetrievalModule(SkipsEmptyBatches):
    """Cross-modal training of a network by a loss over the triplets of a plan.

    Several processes share every batch: each embeds some of its images, and all compute the loss of the whole. Weights,
    losses and recalls are those of one process with that batch, but for the order of sums, and for the statistics of
    normalisation layers that are not synchronised.

    Args:
        network: Embeds queries and database views.
        loss: Called with query and database descriptors and the plan's indices into them.
        optimizer: Makes the optimizer from parameter groups.
        scheduler: Makes a scheduler that is stepped after every batch, from the optimizer, ``total_steps`` and
            ``steps_per_epoch``.
        weight_decay: For matrices and convolutions; biases and normalisation parameters have none.
        scale_lr: How the learning rate grows with the number of processes, see `LEARNING_RATE_RULES`.
        config: The composed configuration as plain values; kept in every checkpoint so that a checkpoint explains
            itself.
    """

    def __init__(
        self,
        network: CrossModalNetwork,
        loss: RetrievalLoss,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        weight_decay: float,
        scale_lr: str,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self._optimizer, self._scheduler, self._weight_decay = optimizer, scheduler, weight_decay
        self._lr_factor = LEARNING_RATE_RULES[scale_lr]
        self.config = config

    def encode(self, role: str, images: Tensor) -> Tensor:
        """Descriptors, float32 of shape [n, D], of network inputs of one role (``query`` or ``database``)."""
        branch = {"query": self.network.encode_query, "database": self.network.encode_database}[role]
        descriptors: Tensor = branch(images)
        return descriptors

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of one batch of triplets; see `StopsAtNonFinite` for one that is not finite."""
        if self.empty:
            return self.no_loss()
        loss: Tensor = self.loss(
            self._embedded("query", batch),
            self._embedded("database", batch),
            batch["positive"],
            batch["negatives"],
            batch["negative_mask"],
        )
        self.log("train/loss_step", loss.detach(), prog_bar=True)
        # One count for every batch, as the loss itself is: the figure of an epoch is the mean of its batches
        self.log("train/loss_epoch", loss.detach(), on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return loss

    def _embedded(self, role: str, batch: dict[str, Any]) -> Tensor:
        """Descriptors of a role in the whole batch; this process embeds its share of the images."""
        own = self.encode(role, batch[role])
        return gathered(own, batch["share"], role) if "share" in batch else own

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """Have all processes evaluate the same network."""
        if self.trainer.world_size > 1:
            equalize_buffers(self)

    def on_train_start(self) -> None:
        """Say what several processes make of batch size and learning rate."""
        trainer, first = self.trainer, self.trainer.optimizers[0].param_groups[0]
        lr = first.get("initial_lr", first["lr"])  # of schedulers
        batch = trainer.datamodule.global_batch_size  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            logger.log_metrics({"train/global_batch_size": batch, "train/base_lr": lr}, step=trainer.global_step)
        if trainer.world_size > 1 and trainer.is_global_zero:
            say(f"{trainer.world_size} processes share batches of {batch} triplets; learning rate {lr:g}")

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Descriptors of a batch of views or queries, for the recall callback."""
        return self.encode(batch["role"], batch["images"])

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """As validation_step."""
        return self.encode(batch["role"], batch["images"])

    def configure_optimizers(self) -> Any:
        """The optimizer over two parameter groups, and the scheduler over the steps of the whole training."""
        optimizer = self._optimizer(parameter_groups(self, self._weight_decay))
        for group in optimizer.param_groups:
            group["lr"] *= self._lr_factor(self.trainer.world_size)
        steps = {"total_steps": total_steps(self.trainer), "steps_per_epoch": steps_per_epoch(self.trainer)}
        scheduler = self._scheduler(optimizer, **steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the configuration with the weights (plain values: checkpoints load with ``weights_only=True``)."""
        checkpoint["crosslocate_config"] = self.config


def total_steps(trainer: pl.Trainer) -> int:
    """Optimizer steps of the whole training.

    ``trainer.estimated_stepping_batches`` would do, but it makes Lightning create the train loader before a checkpoint
    is restored, and then the loader's state in the checkpoint is silently ignored.
    """
    steps = [trainer.max_steps] if trainer.max_steps >= 0 else []
    epochs = trainer.max_epochs
    return min(steps + ([epochs * steps_per_epoch(trainer)] if epochs is not None and epochs >= 0 else []))


def steps_per_epoch(trainer: pl.Trainer) -> int:
    """Optimizer steps of an epoch."""
    batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: those of two and more dimensions with weight decay, all others without."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
