"""Settings as a message names them: ``optimizer.lr=0.001``."""

from collections.abc import Iterable
from typing import Any


def settings(config: Any, keys: Iterable[str]) -> list[str]:
    """``key=value`` of the keys that a configuration has, in the given order; groups and lists of objects aside.

    Args:
        config: A configuration, or plain values of one.
        keys: Full configuration keys.
    """
    from omegaconf import DictConfig, OmegaConf

    config = config if OmegaConf.is_config(config) else OmegaConf.create(config)
    absent: Any = object()
    found = {key: OmegaConf.select(config, key, default=absent, throw_on_resolution_failure=False) for key in keys}
    given = {key: value for key, value in found.items() if value is not absent and not isinstance(value, DictConfig)}
    return [f"{key}={'null' if value is None else value}" for key, value in given.items()]
