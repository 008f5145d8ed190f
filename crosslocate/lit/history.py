"""The history of a training as a file: losses and recalls of every epoch."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from crosslocate.lit.recall import RecallCallback
from crosslocate.retrieval.results import write_json
from crosslocate.runs.history import FILE, FORMAT, Epoch


class History(pl.Callback):
    """Writes ``history.json`` anew at the end of every epoch; the file is complete at any time.

    Its ``epochs`` are a list with ``epoch`` (from 0; -1 is before training), ``step``, ``train/loss`` (the mean of the
    epoch's batches, since the resume if that was within the epoch), and everything that a validation gave: recalls and
    chance of its splits, ``val/loss``. What an epoch did not measure is not in its entry.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / FILE
        self.epochs: list[Epoch] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch; one that was begun before a resume replaces what was noted of it."""
        entry: Epoch = {"epoch": float(trainer.current_epoch), "step": float(trainer.global_step)}
        loss = trainer.callback_metrics.get("train/loss_epoch")  # asked for on every process: it may have to be reduced
        if loss is not None:
            entry["train/loss"] = float(loss)
        recall = next((c for c in trainer.callbacks if isinstance(c, RecallCallback)), None)  # type: ignore[attr-defined]
        measured = {e["epoch"]: e for e in recall.history} if recall else {}
        entry |= measured.get(entry["epoch"], {})
        earlier = self.epochs or [e for epoch, e in measured.items() if epoch < 0]
        self.epochs = [*(e for e in earlier if e["epoch"] < entry["epoch"]), entry]
        if trainer.is_global_zero:
            write_json(self.path, {"format": FORMAT, "epochs": self.epochs})

    def state_dict(self) -> dict[str, Any]:
        """The epochs, as plain values."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the history of a checkpoint."""
        self.epochs = list(state_dict["epochs"])
