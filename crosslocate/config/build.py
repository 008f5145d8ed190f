"""The one way from a configuration node to the object it describes."""

from collections.abc import Iterator
from typing import Any

from crosslocate.errors import ConfigError, CrossLocateError


def build(node: Any, *args: Any, **kwargs: Any) -> Any:
    """Instantiate the object that ``node`` describes (``_target_`` and arguments), with plain lists and dicts inside.

    Interpolations are resolved once: text that would only then be one is refused. Hydra would resolve it again, and
    :func:`~crosslocate.config.targets.require_trusted` cannot see what a foreign configuration calls in it.

    Args:
        node: A config node; nested nodes with a ``_target_`` are built first.
        args: Positional arguments passed to the target.
        kwargs: Arguments that code knows and configuration does not (for example the number of channels).

    Raises:
        CrossLocateError: What the target itself raised, unwrapped.
        ConfigError: The target cannot be imported, or does not take these arguments; or a value is an interpolation
            after interpolations were resolved.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(_resolved(node), *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, CrossLocateError):
            raise cause from None
        where = getattr(node, "_get_full_key", lambda _: "")(None) or "config"
        target = node.get("_target_", None) if hasattr(node, "get") else None
        raise ConfigError(
            f"{where}._target_", target, f"a target that can be built with the arguments given ({error})"
        ) from error


def _resolved(node: Any) -> Any:
    """A node with its interpolations resolved, cut off from the configuration around it."""
    from omegaconf import OmegaConf

    if not OmegaConf.is_config(node):
        return node
    plain = OmegaConf.to_container(node, resolve=True)
    for key, text in _texts(plain, node._get_full_key(None)):
        if "${" in text:
            raise ConfigError(key, text, "a value that is no interpolation once it is resolved")
    return OmegaConf.create(plain)


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in plain values, with its full key; keys of dictionaries among them."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(name, key)
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}[{number}]")
