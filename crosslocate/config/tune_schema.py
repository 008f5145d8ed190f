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
    failures: int = MISSING
    jobs: int = MISSING
    seed: int = MISSING


RESERVED = ("hydra", "resume", "reproduce", "paths.run", "name")
"""What a study gives its trials itself, with all below."""
NOT_TUNED = (*RESERVED, "paths")
"""What a space cannot have, with all below."""
UNNAMED = "/?$"
"""Characters that mean something else in a path, in the URL of a storage, or in a configuration."""


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
    for key, lowest in (("trials", 1), ("failures", 1), ("jobs", 1), ("seed", 0)):
        if cfg[key] < lowest:
            raise ConfigError(key, cfg[key], f"an integer of at least {lowest}")
    unfit = any(character in UNNAMED or not character.isprintable() for character in cfg.study)
    if not cfg.study or unfit or cfg.study.startswith("."):
        raise ConfigError("study", cfg.study, f"a name for a folder, without any of {UNNAMED}")
    space, fixed = read_space(cfg.space), list(cfg.fixed)
    _require_apart(list(space), fixed)
    require_trainable(space, fixed)


def _require_apart(varied: list[str], fixed: list[str]) -> None:
    """Refuse what a study gives its trials itself, and keys that are both fixed and varied."""
    for key in varied:
        if _is_below(key, NOT_TUNED):
            raise ConfigError("space", key, f"keys of crosslocate.train, but none of {', '.join(NOT_TUNED)}")
    for override in fixed:
        key = override.lstrip("+~").partition("=")[0]
        if "=" not in override or _is_below(key, RESERVED):
            raise ConfigError("fixed", override, f"key=value of crosslocate.train, but none of {', '.join(RESERVED)}")
        if key in {varying.lstrip("+") for varying in varied}:
            raise ConfigError("fixed", override, "keys that the space does not vary")


def _is_below(key: str, keys: tuple[str, ...]) -> bool:
    return key.lstrip("+~").replace("/", ".").startswith(tuple(f"{k}." for k in keys)) or key.lstrip("+~") in keys
