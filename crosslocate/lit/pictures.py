"""Mosaics of training batches, of successes and of failures, while a run goes on and at its end."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from crosslocate.data.colours import as_bytes
from crosslocate.data.dataset import TripletDataset
from crosslocate.data.images import modality as kind_of
from crosslocate.data.reader import ImageReader
from crosslocate.errors import ConfigError
from crosslocate.lit.publish import publish_pictures
from crosslocate.lit.recall import RecallCallback
from crosslocate.retrieval.mosaic_rows import FIRST, batch_rows, match_rows
from crosslocate.retrieval.mosaics import draw_pages

LAST = "last"
Epochs = Sequence[int] | str


class Pictures(pl.Callback):
    """Draws mosaics into a folder and sends them to the loggers; only the first process draws.

    The batch is the first of an epoch, as it was mirrored and augmented, before composition. Successes and failures are
    queries whose first neighbour is, or is not, near enough and of a fitting heading; those shown come from all over
    them. A picture that cannot be drawn is a warning: training goes on.

    Args:
        folder: Where the PNG files go.
        batches: Epochs, from 1, whose first batch is drawn; ``last``: that of the last epoch.
        successes: Epochs, from 1, whose validation is drawn; ``last``: the evaluations after training.
        failures: As ``successes``.
        rows: Rows of a page.
        pages: Pages of a picture at most.

    Raises:
        ConfigError: Values that mean nothing.
    """

    def __init__(
        self, folder: str, batches: Epochs, successes: Epochs, failures: Epochs, rows: int, pages: int
    ) -> None:
        for key, epochs in (("batches", batches), ("successes", successes), ("failures", failures)):
            if epochs != LAST if isinstance(epochs, str) else any(epoch < 1 for epoch in epochs):
                raise ConfigError(f"callbacks.pictures.{key}", epochs, f"a list of epochs, from 1, or {LAST}")
        for key, number in (("rows", rows), ("pages", pages)):
            if number < 1:
                raise ConfigError(f"callbacks.pictures.{key}", number, "an integer of at least 1")
        self.folder, self.rows, self.pages = Path(folder), rows, pages
        self.batches, self.successes, self.failures = batches, successes, failures

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first batch of the epochs asked for."""
        epoch = trainer.current_epoch + 1
        wanted = epoch == trainer.max_epochs if self.batches == LAST else epoch in self.batches
        if batch_idx == 0 and wanted and trainer.is_global_zero and len(batch["query_rows"]):
            self._guarded(trainer, self._draw_batch, batch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what the validation found."""
        recall = _recall(trainer)
        self._draw_found(trainer, recall.splits if recall else ())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what the test found."""
        self._draw_found(trainer, ("test",))

    def _draw_found(self, trainer: pl.Trainer, splits: Sequence[str]) -> None:
        recall = _recall(trainer)
        if recall is None or not trainer.is_global_zero or trainer.sanity_checking:
            return
        training = trainer.state.fn == "fit"
        for kind, epochs in (("successes", self.successes), ("failures", self.failures)):
            wanted = training and trainer.current_epoch + 1 in epochs if epochs != LAST else not training
            for split in splits:
                if wanted and split in recall.matches:
                    self._guarded(trainer, self._draw_matches, recall, split, kind)

    def _draw_batch(self, trainer: pl.Trainer, batch: Any) -> None:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        data, shown = datamodule.train, slice(self.rows * self.pages)
        names = ("query_rows", "database_rows", "positive", "negatives")
        queries, views, positive, negatives = (batch[name].numpy(force=True) for name in names)
        others = np.where(negatives < 0, -1, views[negatives])
        rows = batch_rows(
            queries[shown], views[positive[shown]], others[shown], data.query_reader, data.database_reader,
            datamodule.distance,
        )  # fmt: skip
        query, database = as_trained(datamodule, np.column_stack([queries, views[positive], others]), batch)
        used = ([p, *n[n >= 0]] for p, n in zip(positive[shown], negatives[shown], strict=True))
        images = ([query(index), *map(database, positions)] for index, positions in enumerate(used))
        rows = (
            [replace(tile, image=image) for tile, image in zip(*pair, strict=True)]
            for pair in zip(rows, images, strict=True)
        )
        labels = ["query", "positive", *(f"negative {number + 1}" for number in range(negatives.shape[1]))]
        self._publish(trainer, "batch", f"Training batch, epoch {trainer.current_epoch + 1}", labels, rows)

    def _draw_matches(self, trainer: pl.Trainer, recall: RecallCallback, split: str, kind: str) -> None:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        data, matches = datamodule.split(split), recall.matches[split]
        positions = getattr(matches, kind)
        rows = match_rows(
            matches,
            evenly(positions, self.rows * self.pages),
            data.query_reader,
            data.database_reader,
            datamodule.distance,
            distance=recall.evaluator.success_distance,
            heading=recall.criteria.heading,
            nearest=kind == "failures",
        )
        labels = ["query", *map(str, range(1, matches.neighbours.shape[1] + 1))]
        labels += ["nearest view"] if kind == "failures" else []
        when = f"epoch {trainer.current_epoch + 1}" if trainer.state.fn == "fit" else "after training"
        title = f"{kind.capitalize()}, {split}, {when}: {len(positions):,} of {len(matches):,} queries"
        self._publish(trainer, f"{kind}_{split}", title, labels, rows)

    def _publish(self, trainer: pl.Trainer, name: str, title: str, labels: list[str], rows: Any) -> None:
        training = trainer.state.fn == "fit"
        stem = f"{name}_epoch_{trainer.current_epoch + 1}" if training else name
        files = draw_pages(self.folder / f"{stem}.png", title, labels, rows, self.rows)
        if files:
            publish_pictures(trainer.loggers, f"pictures/{name}", files, trainer.global_step)

    def _guarded(self, trainer: pl.Trainer, draw: Callable[..., None], *arguments: Any) -> None:
        """Draw, and take what goes wrong for a warning: no picture is worth a training."""
        try:
            draw(trainer, *arguments)
        except Exception as error:
            rank_zero_warn(f"a picture could not be drawn: {type(error).__name__}: {error}")


def as_trained(datamodule: Any, plan: NDArray[np.int64], batch: Any) -> list[Callable[[int], NDArray[np.uint8]]]:
    """Images of a composed training batch as they were before composition: mirrored and augmented, in RGB.

    They are read and augmented once more, on the same device and so with the same draws.

    Args:
        datamodule: Has the training set and the pipeline.
        plan: What the batch was made of: rows of queries, positives and negatives (-1: none), [B, 2 + N].
        batch: The composed batch.

    Returns:
        For queries and for views, what gives the image [H, W, 3] at a position in the batch.
    """
    split, pipeline = datamodule.train, datamodule.pipeline
    dataset = TripletDataset(split.query_reader, split.database_reader, datamodule.negative_rule)
    arranged = pipeline.arrange({**dataset.__getitems__(plan), "stamp": batch["stamp"]})

    def images(role: str, reader: ImageReader) -> Callable[[int], NDArray[np.uint8]]:
        there = {name: pixels.to(batch[role].device) for name, pixels in arranged[role].items()}
        name = min(reader.modalities, key=lambda name: FIRST.index(kind_of(name).files))
        pixels = pipeline.augmented({**arranged, role: there}, role)[name]
        limits = (None, torch.inf) if kind_of(name).metric else (0, 255)
        return lambda index: as_bytes(pixels[index].clamp(*limits).numpy(force=True), name)

    return [images("query", split.query_reader), images("database", split.database_reader)]


def evenly(positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most ``count`` of some positions, from all over them: queries of a place mostly follow each other."""
    step = max(1.0, len(positions) / count)
    return positions[(np.arange(min(count, len(positions))) * step).astype(np.int64)]


def _recall(trainer: pl.Trainer) -> RecallCallback | None:
    return next((c for c in trainer.callbacks if isinstance(c, RecallCallback)), None)  # type: ignore[attr-defined]
