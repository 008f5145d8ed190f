"""Types and rules of ``conf/tune.yaml``."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from omegaconf import MISSING

from crosslocate.config.schema import PathsConfig
from crosslocate.errors import ConfigError, CrossLocateError


@dataclass
class TuneConfig:
    """``conf/tune.yaml``."""

    space: Any = MISSING
    sampler: Any = MISSING
    pruner: Any = MISSING
    paths: PathsConfig = MISSING
    study: str = MISSING
    storage: str = MISSING
    fixed: list[str] = MISSING
    trials: int = MISSING
    jobs: int = MISSING
    seed: int = MISSING


RESERVED = ("hydra.", "hydra/", "resume", "reproduce", "paths.run", "name")
"""Beginnings of what a study gives its trials itself."""


def validate_tune(cfg: Any) -> None:
    """Check a study, down to the configurations of trainings at the ends of its space, before its first trial.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    from omegaconf import OmegaConf

    from crosslocate.tuning.space import read_space
    from crosslocate.tuning.trainings import require_trainable

    if find_spec("optuna") is None:
        raise CrossLocateError("tuning needs Optuna, which is not installed: pip install 'crosslocate[tune]'")
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(missing[0], None, "a value: it has no default", f"Missing: {', '.join(missing)}")
    for key, lowest in (("trials", 1), ("jobs", 1), ("seed", 0)):
        if cfg[key] < lowest:
            raise ConfigError(key, cfg[key], f"an integer of at least {lowest}")
    if "/" in cfg.study or cfg.study.startswith("."):
        raise ConfigError("study", cfg.study, "a name for a folder")
    for override in cfg.fixed:
        if "=" not in override or override.lstrip("+~").startswith(RESERVED):
            raise ConfigError("fixed", override, f"key=value of crosslocate.train, but none of {', '.join(RESERVED)}")
    require_trainable(read_space(cfg.space), list(cfg.fixed))
