"""Recalls of a module on the splits of a data set."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytorch_lightning as pl

from crosslocate.data.datamodule import RetrievalDataModule
from crosslocate.lit.module import RetrievalModule
from crosslocate.lit.recall import RecallCallback
from crosslocate.retrieval.results import Results, write_json


def evaluate(
    trainer: pl.Trainer,
    module: RetrievalModule,
    datamodule: RetrievalDataModule,
    splits: Sequence[str],
    checkpoint: str | Path | None = None,
) -> dict[str, Results]:
    """Measure recalls; every rank gets the same results.

    Args:
        trainer: One with a RecallCallback.
        module: Measured as it is, or with the weights of ``checkpoint``.
        datamodule: The data set.
        splits: Of ``val`` and ``test``.
        checkpoint: Weights to load first.
    """
    recall = next(c for c in trainer.callbacks if isinstance(c, RecallCallback))  # type: ignore[attr-defined]
    run = {"val": trainer.validate, "test": trainer.test}
    results = {}
    for split in splits:
        run[split](module, datamodule=datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
        results[split] = recall.results[split]
    return results


def measured_once(path: Path, measure: Callable[[], dict[str, Results]]) -> dict[str, Results]:
    """What ``measure`` gave when it was first asked for; a run that is resumed reads it from ``path``."""
    if not path.is_file():
        write_json(path, measure())
    found: dict[str, Results] = json.loads(path.read_text())
    return found
