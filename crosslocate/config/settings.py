"""Settings as a message names them: ``optimizer.lr=0.001``."""

from collections.abc import Iterable
from typing import Any


def settings(config: Any, keys: Iterable[str]) -> list[str]:
    """``key=value`` of the keys that a configuration has, in the given order; the key alone of a group.

    Args:
        config: A configuration, or plain values of one.
        keys: Full configuration keys.
    """
    from omegaconf import DictConfig, OmegaConf

    config = config if OmegaConf.is_config(config) else OmegaConf.create(config)
    absent: Any = object()
    found = {key: OmegaConf.select(config, key, default=absent, throw_on_resolution_failure=False) for key in keys}
    return [
        key if isinstance(value, DictConfig) else f"{key}={_said(value)}"
        for key, value in found.items()
        if value is not absent
    ]


def _said(value: Any) -> str:
    return "null" if value is None else str(value)
