"""How a training starts: anew, from its last checkpoint, or as the repetition of another run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from crosslocate.config.folders import CHECKPOINTS, has_checkpoint, may_continue, resumed_folder
from crosslocate.config.ranks import is_first_process
from crosslocate.config.validate import validate_train
from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.lit.checkpoint import LAST, copy_whole
from crosslocate.lit.restore import checkpoint_file, described_by, last_checkpoint, saved_config
from crosslocate.runs.continuation import Earlier, Start, find_earlier, require_as_submitted
from crosslocate.runs.job import sweep_of_this_job
from crosslocate.runs.record import read_record
from crosslocate.runs.reproduction import original_record, recorded_config

PRESETS = ("experiment", "sweep", "debug")
"""Groups that change others: they are read when a configuration is composed, and mean nothing afterwards."""


def starting(cfg: DictConfig, overrides: Sequence[str]) -> Start:
    """How a training that was asked for starts.

    Args:
        cfg: What was composed now.
        overrides: The command line, as Hydra's ``overrides.task``.

    Raises:
        CheckpointError: ``cfg.resume`` names no readable checkpoint, or one whose configuration is not of this version
            or calls foreign code; or the record of the run is damaged.
        ConfigError: An override that is not a value of the saved configuration, or a folder in which the job was begun
            with another configuration, or in which another run has left checkpoints.
    """
    if cfg.reproduce is not None:
        return _repeated(cfg, overrides)
    if cfg.resume is not None:
        return _resumed(cfg, overrides)
    require_as_submitted(cfg, sweep_of_this_job())
    return _continued(cfg, overrides)


def _continued(cfg: DictConfig, overrides: Sequence[str]) -> Start:
    """A job that may be continued goes on from what it left in its own folder; any other begins.

    Args:
        cfg: What to train with.
        overrides: The command line.
    """
    folder = Path(cfg.paths.run)
    start = Start(cfg, earlier=find_earlier(cfg, folder), overrides=tuple(overrides))
    if start.earlier.objective is not None or not start.earlier.trained:
        return start
    file, content = last_checkpoint(folder)
    record = dict(start.earlier.record or {})
    if record and file.name != LAST:  # the end of training is in the last one alone
        record["fitted"] = False
    earlier = replace(start.earlier, record=record or None)
    return replace(start, checkpoint=file, step=content["global_step"], earlier=earlier, data=record.get("data", {}))


def _resumed(cfg: DictConfig, overrides: Sequence[str]) -> Start:
    """A run is resumed with the configuration that it began with.

    Single values may be changed on the command line (more epochs, for example); groups may not.
    """
    file, content = last_checkpoint(cfg.resume)
    config = saved_config(content, file, cfg.paths)
    missing = [str(key) for key in cfg if key not in config]
    if missing:
        raise CheckpointError(f"{file}: its configuration has no {', '.join(missing)}; is it of another version?")
    config.resume = str(cfg.resume)
    with described_by(file):
        validate_train(config)
    wanted = [o.lstrip("+") for o in overrides if not o.startswith(("resume=", "hydra.", "hydra/"))]
    config = changed(config, wanted)
    if wanted:
        validate_train(config)
    home = resumed_folder(str(file))
    record = read_record(home) if home is not None else None
    own: Mapping[str, Any] | None = record
    if home is None or home.resolve() != Path(config.paths.run).resolve():
        begun = _begun_elsewhere(config, overrides)
        if begun.earlier.objective is not None or begun.checkpoint is not None:
            return begun
        own = begun.earlier.record
    earlier = Earlier({**own, "fitted": False} if own else None, None, True)
    return Start(config, file, content["global_step"], earlier, tuple(overrides), (record or {}).get("data", {}))


def _begun_elsewhere(config: DictConfig, overrides: Sequence[str]) -> Start:
    """What there is of a run that goes on from the checkpoint of another run in a folder of its own.

    Raises:
        ConfigError: It may not be continued, and there are checkpoints in its folder.
    """
    folder = config.paths.run
    if is_first_process() and not may_continue() and has_checkpoint(folder):
        raise ConfigError("paths.run", folder, "a folder without the checkpoints of another run than resume names")
    return _continued(config, overrides)


def _repeated(cfg: DictConfig, overrides: Sequence[str]) -> Start:
    """A run is repeated with the configuration in its record, on the paths of this machine.

    A repetition that may be continued goes on from what it has left in its folder.
    """
    record = original_record(cfg, overrides)
    with described_by(Path(cfg.reproduce)):
        config = recorded_config(record, cfg, overrides)
        validate_train(config)
    return _continued(config, overrides)


def callbacks_of(start: Start, folder: Path) -> list[pl.Callback]:
    """Callbacks that a run needs because of how it starts."""
    if start.checkpoint is None:
        return []
    moved = Moved(start.checkpoint.absolute().parent, folder / CHECKPOINTS)
    return [moved, AlreadyFitted()] if start.earlier.fitted else [moved]


@contextmanager
def built_for(start: Start) -> Iterator[None]:
    """Surround the building of a run's parts: what cannot be built of a run that goes on is its checkpoint's fault."""
    if start.checkpoint is None:
        yield
        return
    with described_by(start.checkpoint):
        yield


class Moved(pl.Callback):
    """Lets a run whose folder was moved, or that goes on in another one, have its best checkpoint there, and its score.

    Args:
        source: Folder of the checkpoint that the run goes on from.
        checkpoints: Folder of the run's checkpoints from now on.
    """

    def __init__(self, source: Path, checkpoints: Path) -> None:
        self.source, self.checkpoints = source.resolve(), checkpoints.resolve()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Change the paths in what a checkpoint callback has kept, before it looks at them, and copy its best.

        Raises:
            CheckpointError: The best checkpoint is missing: the run could not be evaluated at its end.
        """
        for state in checkpoint["callbacks"].values():
            if (old := state.get("dirpath")) is None:
                continue
            best = state.get("best_model_path") or ""
            if trainer.state.fn == "fit" and best.startswith(old):  # else it is the best one that is being read
                self._fetch(Path(best).name, trainer)
            if old != str(self.checkpoints):
                for name, value in state.items():
                    state[name] = _moved(value, old, str(self.checkpoints))

    def _fetch(self, name: str, trainer: pl.Trainer) -> None:
        """Copy a checkpoint of the run that this one goes on from, if it is not of this folder."""
        found = self.source / name
        if not found.is_file():
            raise CheckpointError(f"{found}, the best checkpoint of the run so far, is missing: bring it back")
        if self.source != self.checkpoints and trainer.is_global_zero:
            copy_whole(found, self.checkpoints / name)


def _moved(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {_moved(name, old, new): inner for name, inner in value.items()}
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value


class AlreadyFitted(pl.Callback):
    """Lets a training that came to its end before restore its state, and train no more."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask to stop before the first epoch."""
        trainer.should_stop = True


def initial_weights(cfg: DictConfig) -> Path | None:
    """The checkpoint whose network's weights a new run begins with, if any; ``cfg.initial_weights`` becomes its path.

    Nothing else of the other run is taken over: neither its optimizer nor its epochs.

    Raises:
        CheckpointError: There is no such checkpoint.
    """
    if cfg.initial_weights is None:
        return None
    file = checkpoint_file(cfg.initial_weights).resolve()
    cfg.initial_weights = str(file)
    return file


def changed(config: DictConfig, overrides: list[str]) -> DictConfig:
    """A copy of a run's configuration with single values changed.

    Args:
        config: As kept in a checkpoint.
        overrides: ``key=value`` each; values as in YAML.

    Raises:
        ConfigError: A key that is not a single value of the configuration.
    """
    config = config.copy()
    for override in overrides:
        key, _, value = override.partition("=")
        missing: Any = object()
        current = OmegaConf.select(config, key, default=missing, throw_on_resolution_failure=False)
        if current is missing or isinstance(current, DictConfig) or key in PRESETS:
            raise ConfigError(key, value, "a single value of the configuration that the run was trained with")
        OmegaConf.update(config, key, OmegaConf.from_dotlist([f"value={value}"]).value)
    return config
