"""Why a training came to its end."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping


def why_ended(trainer: pl.Trainer) -> str:
    """What ended a training that is over: ``early stopping``, a limit of the trainer's, or somebody's command."""
    stopping = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
    if any(callback.stopped_epoch > 0 for callback in stopping):
        return "early stopping"
    return limit_reached(trainer) or "asked to end"


def limit_reached(trainer: pl.Trainer) -> str | None:
    """The limit of the trainer's that a training has come to; None: it ended before, and can be gone on with."""
    if 0 <= trainer.max_steps <= trainer.global_step:
        return "trainer.max_steps"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        return "trainer.max_epochs"
    return None
