"""Stopping a run from outside: once its epoch is finished, or at the next boundary between two batches."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import distributed

from crosslocate.console import say
from crosslocate.lit.checkpoint import LastCheckpoint
from crosslocate.lit.signals import SIGNALS, Listener, listener
from crosslocate.mining.callback import MiningCallback


class StopOnCommand(pl.Callback):
    """Ends training after the epoch in which a command file appears.

    The epoch is finished, validated and saved as any other, the run is evaluated, and the file is removed; the run can
    be resumed. The first process looks for the file and tells the others.

    Args:
        path: The command file; what is in it does not matter.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look for the file."""
        found = trainer.is_global_zero and self.path.exists()
        if not trainer.strategy.broadcast(found):
            return
        trainer.should_stop = True
        if trainer.is_global_zero:
            self.path.unlink(missing_ok=True)
            say(f"{self.path} asked to stop: training ends with epoch {trainer.current_epoch + 1}")


class StopOnSignal(Checkpoint):
    """Stops training at a boundary between two batches after a signal, with its state saved.

    All processes of a run stop at the same boundary, whichever of them got the signal: they agree after every batch of
    training, of a mining refresh and of a validation, on the processor, so that no device is waited for. Between
    batches of training the state is saved then; refresh and validation are left as they are, since `LastCheckpoint` has
    saved before. To Lightning this is a callback for checkpoints, because those come last: all others have seen the
    batch when the run stops after it.
    """

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._group: Any = None
        self._agreements = 0  # to come in this validation, on every process

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have signals noted from now on, and be asked between the batches of a refresh too."""
        self._listener = listener() if stage == "fit" else None
        if self._listener is None:
            return
        if trainer.world_size > 1:
            self._group = distributed.new_group(backend="gloo")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, MiningCallback):
                callback.between_batches = self._leave_if_asked
        self._listener.defer()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have signals acted upon at once again; one that came too late for the others to hear of it is."""
        if self._listener is not None:
            self._listener.act()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """As teardown, whatever came."""
        if self._listener is not None:
            self._listener.give_up()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave after the epoch before, which has been saved and logged."""
        self._leave_if_asked()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and leave; after the last batch of an epoch, what follows does."""
        signum = self._agreed()
        if signum is None or trainer.is_last_batch:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, LastCheckpoint):
                callback.save_at_batch_end(trainer)
        self._leave(signum)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave, or find out how often the processes will have to agree: some have more batches than others."""
        if self._listener is None or trainer.state.fn != "fit":
            return
        self._leave_if_asked()
        self._own = int(sum(trainer.num_val_batches))
        self._agreements = self._greatest(self._own)
        if self._own == 0:
            self._agree_with_the_others()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leave; a process without further batches agrees until the others have none."""
        if self._agreements == 0:
            return
        self._leave_if_asked()
        self._agreements, self._own = self._agreements - 1, self._own - 1
        if self._own == 0:
            self._agree_with_the_others()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave after the last epoch, which has been saved and logged."""
        self._leave_if_asked()

    def _agree_with_the_others(self) -> None:
        while self._agreements:
            self._leave_if_asked()
            self._agreements -= 1

    def _leave_if_asked(self) -> None:
        signum = self._agreed()
        if signum is not None:
            self._leave(signum)

    def _leave(self, signum: int) -> None:
        assert self._listener is not None
        raise self._listener.follow(signum)

    def _agreed(self) -> int | None:
        """The signal that asks to stop: the same on every process."""
        if self._listener is None:
            return None
        received = self._listener.received
        strength = self._greatest(0 if received is None else SIGNALS.index(received) + 1)
        return SIGNALS[strength - 1] if strength else None

    def _greatest(self, value: int) -> int:
        if self._group is None:
            return value
        everyone = torch.tensor([value])
        distributed.all_reduce(everyone, distributed.ReduceOp.MAX, group=self._group)
        return int(everyone)
