"""Rules across fields that types cannot express; they run before any data is touched."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crosslocate.config.folders import CHECKPOINTS, has_checkpoint, may_continue, resumed_folder
from crosslocate.config.ranks import is_first_process
from crosslocate.errors import ConfigError

SPLITS = ("train", "val", "test")
ACCELERATORS = ("auto", "cpu", "gpu")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def validate_train(cfg: Any) -> None:
    """Check a training configuration.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    for rule in (
        _check_missing,
        _check_numbers,
        _check_dataset,
        _check_mining,
        _check_trainer,
        _check_logger,
        _check_folder,
    ):
        rule(cfg)


def validate_evaluate(cfg: Any) -> None:
    """Check the configuration of an evaluation.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    _check_missing(cfg)
    _check_choices(cfg.trainer)
    _check_what_is_evaluated(cfg)
    for split in cfg.splits:
        if split not in SPLITS:
            raise ConfigError("splits", list(cfg.splits), f"a list of {', '.join(SPLITS)}")
    if cfg.precision is not None and cfg.precision not in PRECISIONS:
        raise ConfigError("precision", cfg.precision, [*PRECISIONS, "null"])
    if len(cfg.splits) == 0:
        raise ConfigError("splits", [], f"at least one of {', '.join(SPLITS)}")


def _check_what_is_evaluated(cfg: Any) -> None:
    made_elsewhere = ("database_descriptors", "query_descriptors")
    given = [key for key in made_elsewhere if cfg[key] is not None]
    if cfg.checkpoint is not None and given:
        raise ConfigError(given[0], cfg[given[0]], f"null with checkpoint={cfg.checkpoint}: one or the other")
    if cfg.checkpoint is None and not given:
        raise ConfigError(
            "checkpoint", None, f"a checkpoint, or descriptors made elsewhere: {', '.join(made_elsewhere)}"
        )
    if len(given) == 1:
        missing = next(key for key in made_elsewhere if key not in given)
        raise ConfigError(missing, None, f"a .npy file, to go with {given[0]}={cfg[given[0]]}")
    sources = [key for key in ("catalog", "meta") if cfg[key] is not None]
    if given and len(sources) != 1:
        allowed = "the poses of the descriptors, from either catalog=<folder> or meta=<file>"
        raise ConfigError("catalog", cfg.catalog, allowed, f"meta={cfg.meta!r}")
    if not given and sources:
        raise ConfigError(sources[0], cfg[sources[0]], "null with a checkpoint: its run has a data set")


def _check_missing(cfg: Any) -> None:
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(missing[0], None, "a value: it has no default", f"Missing: {', '.join(missing)}")


def positive(value: Any) -> bool:
    """Whether a number is finite and above 0."""
    return math.isfinite(value) and value > 0


def not_negative(value: Any) -> bool:
    """Whether a number is finite and at least 0."""
    return math.isfinite(value) and value >= 0


CHOICES = {
    "optimizer.scale_lr": ("none", "linear", "sqrt"),
    "loss.distance": ("squared_euclidean", "cosine"),
    "evaluation.dtype": ("float32", "float16"),
    "evaluation.threshold": ("inclusive", "strict"),
}
"""Values of open groups that are worth refusing at once."""
NUMBERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (not_negative, "an integer of at least 0"),
    "optimizer.lr": (positive, "a number above 0"),
    "optimizer.weight_decay": (not_negative, "a number of at least 0"),
    "loss.margin": (not_negative, "a number of at least 0"),
    "loss.temperature": (positive, "a number above 0"),
    "dataset.batch_size": (positive, "an integer of at least 1"),
    "dataset.extraction_batch_size": (positive, "an integer of at least 1"),
    "dataset.workers": (not_negative, "an integer of at least 0"),
    "dataset.positive_distance": (not_negative, "metres, at least 0"),
    "dataset.negative_distance": (not_negative, "metres, at least 0"),
    "dataset.match_fov": (lambda value: 0 < value < 180, "degrees between 0 and 180, or null"),
    "pooling.p": (positive, "a number above 0"),
    "scheduler.warmup_steps": (not_negative, "an integer of at least 0"),
    "scheduler.final_fraction": (lambda value: 0 <= value <= 1, "a share from 0 to 1"),
    "callbacks.last.every_n_steps": (positive, "an integer of at least 1"),
    "dataset.mirror.share": (lambda value: 0 <= value <= 1, "a share from 0 to 1"),
    "evaluation.heading": (lambda value: 0 <= value <= 180, "degrees from 0 to 180"),
    "evaluation.curve_step": (positive, "metres, above 0"),
    "evaluation.success_distance": (not_negative, "metres, at least 0"),
    "mining.margin": (not_negative, "a number of at least 0"),
    "mining.queries_together": (positive, "an integer of at least 1"),
    "mining.repeats": (positive, "an integer of at least 1"),
    "trainer.num_nodes": (positive, "an integer of at least 1"),
    "trainer.check_val_every_n_epoch": (positive, "an integer of at least 1"),
    "trainer.log_every_n_steps": (positive, "an integer of at least 1"),
}
OPTIONAL_NUMBERS = {
    "threads": (positive, "an integer of at least 1, or null"),
    "network.descriptor_size": (positive, "an integer of at least 1, or null"),
    "mining.queries_per_round": (positive, "an integer of at least 1, or null"),
    "trainer.gradient_clip_val": (positive, "a number above 0, or null"),
}
DIFFERENT = ("loss.", "pooling.", "scheduler.", "callbacks.", "dataset.match_fov")
"""What not every option of an open group has."""


def _check_numbers(cfg: Any) -> None:
    from omegaconf import OmegaConf

    for key, (rule, allowed) in (NUMBERS | OPTIONAL_NUMBERS).items():
        value = OmegaConf.select(cfg, key)
        if value is None and (key in OPTIONAL_NUMBERS or key.startswith(DIFFERENT)):
            continue
        if isinstance(value, bool | str) or value is None or not rule(value):
            raise ConfigError(key, value, allowed)
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value not in choices:
            raise ConfigError(key, value, choices)


def _check_dataset(cfg: Any) -> None:
    dataset = cfg.dataset
    size = list(dataset.size) if isinstance(dataset.size, Sequence) and not isinstance(dataset.size, str) else []
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ConfigError("dataset.size", dataset.size, "[height, width] in pixels, each at least 1")
    if dataset.positive_distance > dataset.negative_distance:
        allowed = f"at most dataset.negative_distance={dataset.negative_distance}: no view is both"
        raise ConfigError("dataset.positive_distance", dataset.positive_distance, allowed)


def _check_mining(cfg: Any) -> None:
    mining = cfg.mining
    if mining.queries_per_round is not None and mining.queries_together > mining.queries_per_round:
        allowed = f"at most mining.queries_per_round={mining.queries_per_round}"
        raise ConfigError("mining.queries_together", mining.queries_together, allowed)
    if mining.negatives < 0:
        raise ConfigError("mining.negatives", mining.negatives, "an integer of at least 0")
    if mining.negatives == 0 and cfg.loss.get("_target_", "").endswith(".TripletLoss"):
        raise ConfigError("mining.negatives", 0, "an integer of at least 1 with loss=triplet")
    if not 0 <= mining.local_negatives <= mining.negatives:
        raise ConfigError("mining.local_negatives", mining.local_negatives, f"0 to mining.negatives={mining.negatives}")
    if mining.sampled_negatives < mining.negatives:
        allowed = f"at least mining.negatives={mining.negatives}"
        raise ConfigError("mining.sampled_negatives", mining.sampled_negatives, allowed)
    if mining.refresh.get("_target_", "").endswith(".MemoryRefresh") and cfg.trainer.num_nodes > 1:
        hint = "All processes map the file that the first one writes, which only those of one machine see the same of"
        raise ConfigError("trainer.num_nodes", cfg.trainer.num_nodes, "1 with mining/refresh=memory", hint)


def _check_trainer(cfg: Any) -> None:
    trainer = cfg.trainer
    _check_choices(trainer)
    _check_amounts(trainer)
    if trainer.max_epochs < 1 and trainer.max_steps < 1:
        raise ConfigError("trainer.max_epochs", trainer.max_epochs, "at least 1, unless trainer.max_steps is given")
    if 0 < trainer.max_epochs < trainer.check_val_every_n_epoch:
        allowed = f"at most trainer.max_epochs={trainer.max_epochs}: the best checkpoint is chosen by a validation"
        raise ConfigError("trainer.check_val_every_n_epoch", trainer.check_val_every_n_epoch, allowed)
    if isinstance(trainer.devices, int) and trainer.devices * trainer.num_nodes > 1 and trainer.strategy == "auto":
        raise ConfigError("trainer.strategy", "auto", ["ddp"], f"trainer.devices={trainer.devices} needs trainer=ddp")


def _check_amounts(trainer: Any) -> None:
    devices, limit = trainer.devices, trainer.limit_train_batches
    numbers = list(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else None
    listed = numbers is not None and all(isinstance(n, int) and n >= 0 for n in numbers) and len(set(numbers)) > 0
    if not (listed or devices == "auto" or (isinstance(devices, int) and (devices > 0 or devices == -1))):
        allowed = "a number of devices of at least 1, -1 or auto for all, or a list of their numbers"
        raise ConfigError("trainer.devices", devices, allowed)
    whole = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
    if not whole and not (isinstance(limit, float) and 0 < limit <= 1):
        raise ConfigError(
            "trainer.limit_train_batches", limit, "a number of batches of at least 1, or a share up to 1.0"
        )
    if trainer.max_steps < 1 and trainer.max_steps != -1:
        raise ConfigError("trainer.max_steps", trainer.max_steps, "an integer of at least 1, or -1: no limit")
    if trainer.accelerator == "cpu" and trainer.precision == "16-mixed":
        raise ConfigError("trainer.precision", "16-mixed", ["32-true", "bf16-mixed"], "trainer.accelerator=cpu")


def _check_choices(trainer: Any) -> None:
    if trainer.sync_batchnorm and trainer.accelerator == "cpu":
        allowed = "false with trainer.accelerator=cpu: PyTorch has it for GPUs only"
        raise ConfigError("trainer.sync_batchnorm", True, allowed)
    for key, choices in (("accelerator", ACCELERATORS), ("strategy", STRATEGIES), ("precision", PRECISIONS)):
        if trainer[key] not in choices:
            raise ConfigError(f"trainer.{key}", trainer[key], choices)


def _check_logger(cfg: Any) -> None:
    for name, node in (cfg.logger or {}).items():
        if "_target_" not in node:
            raise ConfigError(f"logger.{name}", node, "an option of the group logger (a mapping with _target_)")


def _check_folder(cfg: Any) -> None:
    """A new run does not write over another one, and one that is resumed is found by its folder."""
    if cfg.resume is not None and cfg.initial_weights is not None:
        allowed = f"null with resume={cfg.resume}: a run that is continued has its weights"
        raise ConfigError("initial_weights", cfg.initial_weights, allowed)
    if cfg.resume is not None:
        if Path(cfg.resume).expanduser().is_file() and resumed_folder(cfg.resume) is None:
            allowed = f"the folder of a run, or a file in its folder {CHECKPOINTS}"
            hint = "To begin a new run with the weights of a checkpoint elsewhere: initial_weights=<file>"
            raise ConfigError("resume", cfg.resume, allowed, hint)
        return
    if not is_first_process() or may_continue():  # other processes of a run may come when it has a checkpoint already
        return
    if has_checkpoint(cfg.paths.run):
        hint = f"To go on with that run: resume={cfg.paths.run}"
        raise ConfigError("paths.run", cfg.paths.run, "a folder without the checkpoints of another run", hint)
