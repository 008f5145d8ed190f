"""The one way from a configuration node to the object it describes."""

from typing import Any

from crosslocate.errors import ConfigError, CrossLocateError


def build(node: Any, *args: Any, **kwargs: Any) -> Any:
    """Instantiate the object that ``node`` describes (``_target_`` and arguments), with plain lists and dicts inside.

    Args:
        node: A config node; nested nodes with a ``_target_`` are built first.
        args: Positional arguments passed to the target.
        kwargs: Arguments that code knows and configuration does not (for example the number of channels).

    Raises:
        CrossLocateError: What the target itself raised, unwrapped.
        ConfigError: The target cannot be imported, or does not take these arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, CrossLocateError):
            raise cause from None
        where = getattr(node, "_get_full_key", lambda _: "")(None) or "config"
        target = node.get("_target_", None) if hasattr(node, "get") else None
        raise ConfigError(
            f"{where}._target_", target, f"a target that can be built with the arguments given ({error})"
        ) from error
