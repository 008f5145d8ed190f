"""The checkpoints that a run continues from: whole at any moment, and the one before kept beside the last."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import distributed

from crosslocate.errors import UnwritableError
from crosslocate.mining.loader import RoundLoader

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
DRAFT = ".part"
"""Ends the name of a file that is being written."""


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints so that a file is the old one or the new one at any moment, and on the disk when it is there.

    Lightning's own way leads through a temporary folder, which is often on another disk: the file is then copied to its
    place, and is half a file meanwhile.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint beside its place, then move it there.

        Raises:
            UnwritableError: The disk is full, or the folder cannot be written; what was there before is still there.
        """
        path = Path(path)
        draft = path.with_name(path.name + DRAFT)
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            sync_folder(path.parent)


class LastCheckpoint(Checkpoint):
    """Saves the whole state of a run, so that a killed run loses at most ``every_n_steps`` steps.

    It is saved at batch boundaries: every so many steps, before every mining refresh, before every validation, and at
    the end of every epoch. A run that is stopped while it mines or validates has nothing to save, and one that goes on
    from before a validation validates first. The checkpoint before the last is kept beside it as ``previous.ckpt``.

    Args:
        path: Where the checkpoint is kept.
        every_n_steps: Optimizer steps between two saves, at most.
    """

    def __init__(self, path: str, every_n_steps: int) -> None:
        self.path, self.every_n_steps = Path(path), every_n_steps
        self._saved: tuple[int, str] = (-1, "")  # step and place
        self._random: list[dict[str, torch.Tensor]] = []
        self._trainer: pl.Trainer | None = None
        self._place = ""  # at which the state is being saved
        self._row: dict[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove what a killed run was writing."""
        self._trainer = trainer
        if stage == "fit" and trainer.is_global_zero:
            for draft in self.path.parent.glob(f"*{DRAFT}"):
                draft.unlink(missing_ok=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and log on as before, and do not save again what a run goes on from before a validation."""
        if self._random:
            as_many = len(self._random) == trainer.world_size
            set_random_state(self._random[trainer.global_rank if as_many else 0])
        for logger in trainer.loggers if self._row else ():
            logger.log_metrics(self._row["metrics"], self._row["step"])
        if trainer.fit_loop.epoch_loop.val_loop.restarted_mid_evaluation:
            self._saved = (trainer.global_step, "validation")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when the time has come; the end of an epoch saves by itself, unless it ends for want of steps."""
        due = trainer.global_step % self.every_n_steps == 0 or trainer.global_step == trainer.max_steps
        if due or _refresh_follows(trainer):
            self.save_at_batch_end(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save a state that goes on with the validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer, "validation")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let Lightning resume in a validation that has just begun, where one follows.

        It goes back to a validation of which one batch was started and not finished, and leaves out one of which
        none was.
        """
        if self._place == "validation":
            total = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
            total.update(ready=1, started=1, processed=0, completed=0)

    def state_dict(self) -> dict[str, Any]:
        """State of the generators that layers such as dropout draw from, and what of the last step is not logged yet.

        Every process has generators of its own, and Lightning asks all of them when it saves. It logs a step after its
        end, and what is saved at its end would otherwise be resumed after that.
        """
        row = {} if self._trainer is None or self._place != "batch" else unlogged_row(self._trainer)
        return {"random": random_states(), "row": row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Draw and log on as a checkpoint's run would have, once training begins."""
        self._random, self._row = list(state_dict["random"]), dict(state_dict["row"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the finished epoch; one that ``max_steps`` cut short was saved at its last batch, to be gone on with."""
        if self._saved != (trainer.global_step, "batch"):
            self._save(trainer, "epoch")

    def save_at_batch_end(self, trainer: pl.Trainer) -> None:
        """Save between two batches, unless that was done; after the last of an epoch, what follows saves."""
        if not trainer.is_last_batch:
            self._save(trainer, "batch")

    def _save(self, trainer: pl.Trainer, place: str) -> None:
        if self._saved == (trainer.global_step, place):
            return
        for logger in trainer.loggers:
            logger.save()  # what is in the log must not be behind the state
        draft, self._place = self.path.with_name(self.path.name + DRAFT), place
        try:
            trainer.save_checkpoint(draft, weights_only=False)
        finally:
            self._place = ""
        if trainer.is_global_zero:
            with _told(self.path):
                keep_previous(self.path)
                draft.replace(self.path)
                sync_folder(self.path.parent)
        self._saved = (trainer.global_step, place)


def unlogged_row(trainer: pl.Trainer) -> dict[str, Any]:
    """The figures of a training step that Lightning is about to log, and the step; empty if it logs none of it."""
    connector = trainer._logger_connector
    if not connector.should_update_logs:
        return {}
    metrics = {name: float(value) for name, value in connector.metrics["log"].items()}
    return {"metrics": metrics, "step": trainer.fit_loop.epoch_loop._batches_that_stepped} if metrics else {}


def random_state() -> dict[str, torch.Tensor]:
    """State of torch's global generators: of the processor, and of the GPU of this process where it uses one."""
    gpu = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() and torch.cuda.is_initialized() else {}
    return {"cpu": torch.get_rng_state(), **gpu}


def random_states() -> list[dict[str, torch.Tensor]]:
    """The `random_state` of every process of a run, in their order; all of them have to ask."""
    own = random_state()
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    told: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(told, {place: state.numpy() for place, state in own.items()})
    return [{place: torch.from_numpy(state) for place, state in states.items()} for states in told]


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """Continue from a `random_state`; what it does not have, or what this machine does not, stays as it is."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def keep_previous(last: Path) -> None:
    """Give the last checkpoint a second name, `PREVIOUS`, that outlives its replacement."""
    draft = last.with_name(PREVIOUS + DRAFT)
    draft.unlink(missing_ok=True)
    if not last.is_file():
        return
    try:
        os.link(last, draft)
    except OSError:  # a file system without hard links
        shutil.copyfile(last, draft)
    draft.replace(last.with_name(PREVIOUS))


def copy_whole(source: Path, target: Path) -> None:
    """Copy a checkpoint so that the copy is there as a whole or not at all.

    Raises:
        UnwritableError: The disk is full, or the folder cannot be written.
    """
    draft = target.with_name(target.name + DRAFT)
    with _told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, draft)
        draft.replace(target)
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that a folder's entries are on the disk; file systems that cannot are left alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refresh_follows(trainer: pl.Trainer) -> bool:
    loader = trainer.train_dataloader
    return isinstance(loader, RoundLoader) and loader.state_dict()["plan"] is None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what cannot be written; a full disk meets torch in the middle of an archive, which it then cannot close."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        path.with_name(path.name + DRAFT).unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UnwritableError(
            f"{path} cannot be written ({cause.strerror or cause}); the checkpoint before is whole: make room, and "
            "resume the run"
        ) from error
