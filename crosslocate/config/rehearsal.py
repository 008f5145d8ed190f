"""Building what needs no data before any data are touched: a value that a class refuses is refused at once."""

from typing import Any

from crosslocate.config.build import build
from crosslocate.config.signatures import check_calls
from crosslocate.errors import ConfigError

PARTS = ("distance", "augmentation", "modality", "pooling", "loss", "search", "evaluation", "mining", "callbacks")
"""Groups whose classes take their arguments and do nothing with them yet."""


def rehearse(cfg: Any) -> None:
    """Check the arguments of every target of a training configuration, and build what neither reads nor writes.

    Data set, backbone and loggers are left out: they look for files, load weights, and open logs.

    Args:
        cfg: A configuration that passes `crosslocate.config.validate.validate_train`.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    check_calls(cfg)
    for group in PARTS:
        node = cfg[group] or {}
        for part in [node] if "_target_" in node else node.values():
            if hasattr(part, "get") and "_target_" in part:
                build(part)
    _rehearse_optimization(cfg)


def _rehearse_optimization(cfg: Any) -> None:
    """Make optimizer and schedule for one parameter and ten steps."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    groups = [{"params": [parameter], "weight_decay": cfg.optimizer.weight_decay}]
    optimizer = _tried("optimizer.factory", cfg.optimizer.factory, groups)
    _tried("scheduler", cfg.scheduler, optimizer, total_steps=10, steps_per_epoch=5)


def _tried(key: str, node: Any, *args: Any, **kwargs: Any) -> Any:
    """What a factory makes; a complaint about values becomes a ConfigError with the key of its node."""
    factory = build(node)
    try:
        return factory(*args, **kwargs)
    except (ValueError, TypeError, RuntimeError) as error:
        values = {name: value for name, value in node.items() if not str(name).startswith("_")}
        raise ConfigError(key, values, f"values that {node['_target_']} accepts ({error})") from error
