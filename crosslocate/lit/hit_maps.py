"""Maps of hits and misses, drawn when a run is evaluated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from crosslocate.lit.recall import RecallCallback


class HitMaps(pl.Callback):
    """Draws ``hits_<split>.png`` after training: where the queries of a split are, and which of them were localized.

    Only the first process draws. A map that cannot be drawn is a warning.

    Args:
        folder: Where the PNG files go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the splits of a validation that is not part of a training."""
        recall = _recall(trainer)
        self._draw(trainer, recall, recall.splits if recall else ())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the test split."""
        self._draw(trainer, _recall(trainer), ("test",))

    def _draw(self, trainer: pl.Trainer, recall: RecallCallback | None, splits: Sequence[str]) -> None:
        if recall is None or not trainer.is_global_zero or trainer.state.fn == "fit":
            return
        for split in (split for split in splits if split in recall.matches):
            try:
                self._draw_split(trainer, recall, split)
            except Exception as error:
                rank_zero_warn(f"the map of hits of {split} could not be drawn: {type(error).__name__}: {error}")

    def _draw_split(self, trainer: pl.Trainer, recall: RecallCallback, split: str) -> None:
        from crosslocate.retrieval.hit_map import plot_hit_map

        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        data = datamodule.split(split)
        plot_hit_map(
            recall.matches[split],
            data.queries,
            data.database,
            self.folder / f"hits_{split}.png",
            split=split,
            distance=recall.evaluator.success_distance,
            heading=recall.criteria.heading,
        )


def _recall(trainer: pl.Trainer) -> RecallCallback | None:
    return next((c for c in trainer.callbacks if isinstance(c, RecallCallback)), None)  # type: ignore[attr-defined]
