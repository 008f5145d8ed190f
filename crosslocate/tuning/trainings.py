"""Configurations of the trainings of a study, checked before the first begins."""

from collections.abc import Iterator, Sequence
from typing import Any

from crosslocate.errors import ConfigError
from crosslocate.tuning.space import Space, Value, as_overrides, quoted


def composed(overrides: Sequence[str]) -> Any:
    """The configuration of a training, within an entry point of Hydra's or `hydra.initialize`.

    Raises:
        hydra.errors.HydraException: There is no such configuration.
    """
    from hydra import compose

    return compose("train", overrides=[*overrides, "paths.run=unused", "name=unused"])


def require_trainable(space: Space, fixed: Sequence[str]) -> None:
    """Compose and validate trainings at the ends of a space.

    Args:
        space: What is tuned.
        fixed: Overrides that all trainings share.

    Raises:
        ConfigError: A training that would be refused; names its overrides.
    """
    from hydra.errors import HydraException

    from crosslocate.config.validate import validate_train

    for values in extremes(space):
        overrides = [*fixed, *as_overrides(values)]
        try:
            validate_train(composed(overrides))
        except (ConfigError, HydraException) as error:
            raise ConfigError("space", " ".join(overrides), f"settings that a training accepts ({error})") from error


def group_in_wandb(training: Any, study: str) -> list[str]:
    """Overrides with which the runs of a study are one group in wandb; none where they have no wandb or a group.

    Args:
        training: Configuration of the trainings.
        study: Name of the study.
    """
    wandb = (training.logger or {}).get("wandb")
    return [f"logger.wandb.group={quoted(study)}"] if wandb is not None and wandb.group is None else []


def extremes(space: Space) -> Iterator[dict[str, Value]]:
    """Settings in which every end and every choice of a space occurs, as few as that takes."""
    most = max(len(setting.ends) for setting in space.values())
    for number in range(most):
        yield {key: setting.ends[min(number, len(setting.ends) - 1)] for key, setting in space.items()}
