"""Stopping a training whose loss or gradients are not finite, before they reach the weights."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
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
ROLES = ("query", "database")
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
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        in_loss, in_gradients = (bool(flag) for flag in bad.tolist())
        if in_loss or (in_gradients and not _skipped(trainer)):
            raise NonFiniteError(self._message(trainer, pl_module))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of the batch."""
        self._batch = self._loss = None

    def _message(self, trainer: pl.Trainer, module: pl.LightningModule) -> str:
        """What happened, on which images and what to do; every process has to ask for it, and gets the same."""
        assert self._batch is not None
        assert self._loss is not None
        told = _from_all((float(self._loss), bad_images(self._batch)), trainer.world_size)
        value = next((f"the loss is {loss}" for loss, _ in told if not math.isfinite(loss)), None)
        bad = {role: {place for _, found in told for place in found[role]} for role in ROLES}
        data = trainer.datamodule.train  # type: ignore[attr-defined]
        files = files_of(self._batch, data.query_reader, data.database_reader, bad if any(bad.values()) else None)
        what = value or "the gradients are not finite, though the loss is"
        images = "images that are not finite themselves" if any(bad.values()) else "images of the batch"
        where = f"in step {trainer.global_step + 1}, epoch {trainer.current_epoch + 1}"
        helps = ", ".join(settings(getattr(module, "config", {}), SETTINGS))
        return f"{what}, {where}; {images}: {self._listed(files)}. Look at these images, or at the settings {helps}"

    def _listed(self, files: Files) -> str:
        parts = []
        for kind, names in files.items():
            more = f" and {len(names) - self.names} more" if len(names) > self.names else ""
            parts += [f"{kind} {', '.join(names[: self.names])}{more}"] if names else []
        return "; ".join(parts)


def bad_images(batch: Mapping[str, Any]) -> dict[str, list[int]]:
    """Where network inputs of a process that are not finite stand in the whole batch, by role.

    Args:
        batch: See `TripletDataset`; ``query`` and ``database`` are network inputs [n, C, H, W].
    """
    found = {role: torch.nonzero(~torch.isfinite(batch[role]).flatten(1).all(1)).flatten().tolist() for role in ROLES}
    if "share" not in batch:
        return found
    return {role: batch["share"].positions(role)[found[role]].tolist() for role in ROLES}


def files_of(
    batch: Mapping[str, Any],
    query_reader: ImageReader,
    database_reader: ImageReader,
    only: Mapping[str, Collection[int]] | None = None,
) -> Files:
    """Image files of a training batch: its queries, its positives, and the negatives that are no positives.

    Args:
        batch: See `TripletDataset`.
        query_reader: Of the training queries.
        database_reader: Of the training views.
        only: Places in the batch, by role, to which the answer is limited.
    """
    queries, views = (batch[name].tolist() for name in ("query_rows", "database_rows"))
    positive = batch["positive"].unique().tolist()
    negative = batch["negatives"].unique().tolist()

    def paths(reader: ImageReader, rows: Sequence[int], places: Iterable[int], role: str) -> list[str]:
        chosen = [place for place in places if only is None or place in only[role]]
        return [str(reader.catalog.image_path(reader.modalities[0], rows[place])) for place in chosen]

    others = [place for place in negative if place >= 0 and place not in set(positive)]
    return {
        "queries": paths(query_reader, queries, range(len(queries)), "query"),
        "positives": paths(database_reader, views, positive, "database"),
        "negatives": paths(database_reader, views, others, "database"),
    }


def _skipped(trainer: pl.Trainer) -> bool:
    """Whether the scaling of the loss deals with a gradient that overflowed: it skips the step and scales less."""
    scaler = trainer.scaler
    return scaler is not None and scaler.get_scale() >= LOWEST_SCALE


def _from_all(own: Any, world_size: int) -> list[Any]:
    """What every process has to say, the same on each of them."""
    if world_size == 1:
        return [own]
    told: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(told, own)
    return told
