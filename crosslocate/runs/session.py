"""One start of a run, from its lock to the last word in its record."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crosslocate.config.ranks import is_first_process
from crosslocate.console import say
from crosslocate.errors import CrossLocateError, DataError, RunStopped
from crosslocate.runs.continuation import Start, change_table
from crosslocate.runs.fingerprint import data_parts, fingerprint_of_parts, weights_fingerprint
from crosslocate.runs.lock import held
from crosslocate.runs.opening import opened_record
from crosslocate.runs.record import RunRecord, now

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import nn

    from crosslocate.data.datamodule import RetrievalDataModule

WANDB_ID = Path("wandb") / "run_id"
LIMIT = 2000
"""Characters of a reason that are kept."""


class Session:
    """What a training tells its record while it goes on. Only the first process of a run has a record to tell.

    Args:
        folder: Folder of the run.
        record: None in other processes.
        known: `data_parts` of the run's earlier starts; empty where there were none.
    """

    def __init__(self, folder: Path, record: RunRecord | None, known: Mapping[str, str]) -> None:
        self.folder, self._record, self._known = folder, record, known
        self._trainer: pl.Trainer | None = None

    def saw_data(self, datamodule: "RetrievalDataModule") -> None:
        """Note what the data set is made of.

        Raises:
            DataError: The run began with other data; names the parts that changed.
        """
        parts = data_parts(datamodule)
        both = sorted(self._known.keys() & parts.keys())  # a split that was not needed may not have been there
        changed = {name: (self._known[name], parts[name]) for name in both if self._known[name] != parts[name]}
        if changed:
            raise DataError(
                f"{datamodule.root}: the data set is not the one that the run {self.folder} began with:\n"
                f"{change_table(changed)}\nBring it back, or begin a new run (initial_weights={self.folder} keeps what "
                "was learned)"
            )
        if self._record is not None:
            prints = {**self._record.content["fingerprints"], "data": fingerprint_of_parts(parts)}
            self._record.update(fingerprints=prints, data=parts)

    def saw_trainer(self, trainer: "pl.Trainer") -> None:
        """Note how many processes train, under which id its loggers know the run, and whom to ask how far it came."""
        self._trainer = trainer
        if self._record is not None:
            self._record.update(world_size=trainer.world_size, wandb=_wandb_id(self.folder))

    def fitted(self, network: "nn.Module") -> str | None:
        """Note that training came to its end.

        Returns:
            The fingerprint of its weights; None in processes that do not write.
        """
        if self._record is None:
            return None
        weights = weights_fingerprint(network.state_dict())
        self._record.update(fitted=True, weights=weights)
        return weights

    def measured(self, name: str, value: float) -> None:
        """Note the objective."""
        if self._record is not None:
            self._record.update(objective={"name": name, "value": float(value)})

    def end(self, status: str, reason: str | None) -> None:
        """Close the session in the record."""
        if self._record is None:
            return
        step = None if self._trainer is None else self._trainer.global_step
        closing = {"ended": now(), "status": status, "reason": reason, "to_step": step}
        self._record.content["sessions"][-1].update(closing)
        self._record.update(status=status, reason=reason, wandb=_wandb_id(self.folder))


@contextmanager
def recorded(start: Start) -> Iterator[Session]:
    """Surround a training: nobody else trains in its folder, and its record tells how it ended, however it does.

    Raises:
        ConfigError: Another process trains in the folder.
    """
    folder = Path(start.cfg.paths.run)
    if not is_first_process():
        yield Session(folder, None, start.data)
        return
    with held(folder):
        session = Session(folder, opened_record(start, folder), start.data)
        try:
            yield session
        except BaseException as error:
            try:
                session.end(*ending(error))
            except OSError as failure:  # what ended the run counts more: a stopped one has to get back into its queue
                say(f"{folder}: the record could not be closed ({failure.strerror or failure})")
            raise
        session.end("finished", None)


def ending(error: BaseException) -> tuple[str, str]:
    """Status and reason of a run that ended with an exception."""
    if isinstance(error, RunStopped):
        return "stopped", error.reason
    if isinstance(error, KeyboardInterrupt):
        return "stopped", "interrupted"
    if isinstance(error, SystemExit):
        return "failed", f"exit status {error.code}"
    text = str(error) if isinstance(error, CrossLocateError) else f"{type(error).__name__}: {error}"
    return "failed", text[:LIMIT]


def _wandb_id(folder: Path) -> str | None:
    path = folder / WANDB_ID
    return path.read_text().strip() or None if path.is_file() else None
