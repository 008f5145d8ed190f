"""Stopping a training whose loss or gradients are not finite, before they reach the weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from crosslocate.config.settings import settings
from crosslocate.data.reader import ImageReader
from crosslocate.errors import CrossLocateError
from crosslocate.lit.gradients import gradients, norm

SETTINGS = ("optimizer.lr", "trainer.gradient_clip_val", "trainer.precision", "loss.temperature", "loss.margin")
"""What to look at when numbers overflow."""
LOWEST_SCALE = 1.0
"""Below it, a gradient that overflows does so without any scaling of the loss."""
KINDS = ("queries", "positives", "negatives")
Files = dict[str, list[str]]


class NonFiniteError(CrossLocateError):
    """A loss or a gradient that is infinite or not a number."""


class StopsAtNonFinite(pl.Callback):
    """Ends a training at the first loss, or gradient, that is not finite, and names the images of that batch.

    It looks at both at once, between the backward pass and the optimizer's step, so that the weights, and every
    checkpoint, are still those of the step before. All processes learn of it together. In 16-bit precision gradients
    that overflow are skipped by the scaling of the loss, and are no error until the scale has fallen below one.

    Args:
        names: Files of each kind (queries, positives, negatives) that a message lists at most.

    Raises:
        NonFiniteError: From a training, with step, epoch, files and the settings to look at.
    """

    def __init__(self, names: int) -> None:
        self.names = names
        self._batch: Mapping[str, Any] | None = None
        self._loss: Tensor | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep what a message would be about."""
        self._batch = batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keep the loss; in 16-bit precision it is a multiple of it."""
        self._loss = loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at loss and gradients, on all processes."""
        if self._loss is None:
            return
        finite = torch.isfinite(torch.stack([self._loss.float(), norm(gradients(pl_module)).to(self._loss.device)]))
        bad = (~finite).float()
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad, reduce_op="max")
        in_loss, in_gradients = (bool(flag) for flag in bad.tolist())
        if in_loss or (in_gradients and not _skipped(trainer)):
            raise NonFiniteError(self._message(trainer, pl_module, in_loss, guilty=not (in_loss and bool(finite[0]))))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of the batch."""
        self._batch = self._loss = None

    def _message(self, trainer: pl.Trainer, module: pl.LightningModule, in_loss: bool, *, guilty: bool) -> str:
        """What happened, on which images and what to do; every process has to ask for it."""
        assert self._batch is not None
        assert self._loss is not None
        data = trainer.datamodule.train  # type: ignore[attr-defined]
        own = files_of(self._batch, data.query_reader, data.database_reader) if guilty else ({}, False)
        value = f"the loss is {float(self._loss)}" if in_loss and guilty else None
        told = _from_all((value, *own)) if trainer.world_size > 1 else [(value, *own)]
        value = next((value for value, _, _ in told if value), "the gradients are not finite, though the loss is")
        broken = any(is_broken for _, _, is_broken in told)
        files = [files for _, files, is_broken in told if is_broken or not broken]
        where = f"{value}, in step {trainer.global_step + 1}, epoch {trainer.current_epoch + 1}"
        images = "images that are not finite themselves" if broken else "images of the batch"
        helps = ", ".join(settings(getattr(module, "config", {}), SETTINGS))
        return f"{where}; {images}: {self._listed(files)}. Look at these images, or at the settings {helps}"

    def _listed(self, files: Sequence[Files]) -> str:
        parts = []
        for kind in KINDS:
            names = list(dict.fromkeys(name for found in files for name in found.get(kind, [])))
            more = f" and {len(names) - self.names} more" if len(names) > self.names else ""
            if names:
                parts.append(f"{kind} {', '.join(names[: self.names])}{more}")
        return "; ".join(parts)


def files_of(batch: Mapping[str, Any], query_reader: ImageReader, database_reader: ImageReader) -> tuple[Files, bool]:
    """Files of a composed training batch by kind: `KINDS`, each in order of first use.

    Args:
        batch: See `TripletDataset`; ``query`` [B, C, H, W] and ``database`` [M, C, H, W] are network inputs.
        query_reader: Of the training queries.
        database_reader: Of the training views.

    Returns:
        The files, and whether they are those alone whose network inputs are not finite.
    """
    queries, views = (batch[name].tolist() for name in ("query_rows", "database_rows"))
    positive = batch["positive"].unique().tolist()
    negatives = batch["negatives"]
    others = [place for place in negatives[negatives >= 0].unique().tolist() if place not in set(positive)]
    bad = {role: set(_not_finite(batch[role])) for role in ("query", "database")}
    broken = any(bad.values())

    def paths(reader: ImageReader, rows: Sequence[int], places: Sequence[int], role: str) -> list[str]:
        chosen = [place for place in places if place in bad[role]] if broken else places
        return [str(reader.catalog.image_path(reader.modalities[0], rows[place])) for place in chosen]

    return {
        "queries": paths(query_reader, queries, range(len(queries)), "query"),
        "positives": paths(database_reader, views, positive, "database"),
        "negatives": paths(database_reader, views, others, "database"),
    }, broken


def _not_finite(images: Tensor) -> list[int]:
    """Positions of the images [n, ...] with a value that is not finite."""
    found: list[int] = torch.nonzero(~torch.isfinite(images).flatten(1).all(1)).flatten().tolist()
    return found


def _skipped(trainer: pl.Trainer) -> bool:
    """Whether the scaling of the loss deals with a gradient that overflowed: it skips the step and scales less."""
    scaler = trainer.scaler
    return scaler is not None and scaler.get_scale() >= LOWEST_SCALE


def _from_all(own: Any) -> list[Any]:
    """What every process has to say, the same on each of them."""
    told: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(told, own)
    return told
