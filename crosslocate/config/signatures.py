"""Whether every node of a configuration could be called: its arguments exist, and are of the types declared.

The groups whose options build different classes are open mappings for Hydra. Their types are those that the classes
declare, so that a wrong one is refused here, with its full key, and not when the data have been read.
"""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from crosslocate.errors import ConfigError

RESERVED = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
_SIMPLE = {bool: "true or false", int: "an integer", float: "a number", str: "a text", Path: "a path"}


def check_calls(cfg: Any) -> None:
    """Check the arguments of every node with a ``_target_``; the targets are imported, and not called.

    Values that can be known only within a job (its folder) are passed over, and so are arguments that nothing declares.

    Args:
        cfg: A composed configuration.

    Raises:
        ConfigError: A target that does not exist, an argument that it does not take, or a value of another type.
    """
    for key, node in _nodes(cfg, ""):
        target = _imported(f"{key}._target_", node["_target_"])
        named, hints = _arguments(target)
        for argument in node:
            if argument in RESERVED:
                continue
            where = f"{key}.{argument}"
            if named is not None and argument not in named:
                raise ConfigError(where, _shown(node, argument), _described_arguments(node["_target_"], named))
            known, value = _value(node, argument)
            if known and argument in hints and not fits(value, hints[argument]):
                raise ConfigError(where, value, described(hints[argument]))


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value of a configuration can stand where a type is declared.

    An integer is a number, true and false are neither; a list stands for any sequence; a mapping with a ``_target_``
    for what it builds. Types that say nothing about configuration admit everything.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if hint in (None, type(None)):
        return value is None
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if hint is Path:
        return isinstance(value, str | Path)
    if isinstance(origin or hint, type) and hint is not Any:
        return _fits_class(value, origin or hint, arguments)
    return True


def described(hint: Any) -> str:
    """A declared type in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        plain = [option for option in arguments if option in _SIMPLE]
        shown = [option for option in arguments if not plain or option in (*plain, type(None))]
        return ", or ".join(dict.fromkeys(described(option) for option in shown))
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if hint in (None, type(None)):
        return "null"
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, Sequence):
        inner = [described(a) for a in arguments if a is not Ellipsis]
        if kind is tuple and inner and Ellipsis not in arguments:
            return f"a list of {len(inner)}: {'; '.join(inner)}"
        return f"a list, each {inner[0]}" if inner else "a list"
    return f"a node with a _target_ that gives {getattr(kind, '__name__', kind)}"


def _fits_class(value: Any, kind: type, arguments: tuple[Any, ...]) -> bool:
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if issubclass(kind, Sequence):
        return isinstance(value, list | tuple) and _fit_all(value, kind, arguments)
    if not isinstance(value, Mapping):
        return value is not None and not isinstance(value, str | int | float | bool | list)
    return "_target_" in value and _may_give(value, kind)


def _fit_all(values: Sequence[Any], kind: type, hints: tuple[Any, ...]) -> bool:
    if kind is tuple and hints and Ellipsis not in hints:
        return len(values) == len(hints) and all(fits(v, hint) for v, hint in zip(values, hints, strict=True))
    return not hints or all(fits(value, hints[0]) for value in values)


def _may_give(node: Mapping[str, Any], kind: type) -> bool:
    """Whether the target of a node may give an instance of a class; a protocol or a function gives no answer."""
    if getattr(kind, "_is_protocol", False) or kind is Callable or not isinstance(node["_target_"], str):
        return True
    try:
        target = _imported("_target_", node["_target_"])
    except ConfigError:
        return True  # said of the node itself
    return not isinstance(target, type) or node.get("_partial_", False) or issubclass(target, kind)


def _nodes(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every mapping with a ``_target_``, with its full key; interpolations are not followed."""
    from omegaconf import DictConfig, ListConfig, OmegaConf

    if isinstance(node, DictConfig):
        if node._is_none() or node._is_missing():
            return
        if "_target_" in node:
            yield key, node
        for name in map(str, node):
            if not OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name):
                yield from _nodes(node[name], f"{key}.{name}" if key else name)
    elif isinstance(node, ListConfig) and not node._is_none() and not node._is_missing():
        for index in range(len(node)):
            if not OmegaConf.is_interpolation(node, index):
                yield from _nodes(node[index], f"{key}.{index}")


def _value(node: Any, name: str) -> tuple[bool, Any]:
    """Whether a value can be known now, and what it is, as plain values."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        value = node[name]
        return True, OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value
    except (OmegaConfBaseException, ValueError):  # Hydra's own resolvers raise ValueError outside of a job
        return False, None


def _shown(node: Any, name: str) -> Any:
    known, value = _value(node, name)
    return value if known else "?"


def _imported(key: str, target: Any) -> Any:
    path, names = str(target), list[str]()
    while path:
        try:
            return reduce(getattr, names, import_module(path))
        except ModuleNotFoundError as error:
            if not f"{path}.".startswith(f"{error.name}."):  # one that a module in turn imports
                allowed = f"a target whose modules are installed; {error.name!r} is not"
                raise ConfigError(key, target, allowed) from error
        except Exception as error:  # whatever a module does when it is imported
            raise ConfigError(key, target, f"a class or function that can be imported ({error!r})") from error
        path, _, name = path.rpartition(".")
        names.insert(0, name)
    raise ConfigError(key, target, "the full name of a class or function")


@cache
def _arguments(target: Any) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    """Names of the arguments, None where any will do, and the types of those that declare one."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None, {}
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except Exception:  # a type that is imported for checkers alone
        hints = {}
    hints = {name: hint for name, hint in hints.items() if name in parameters}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return None if takes_any else tuple(parameters), hints


def _described_arguments(target: str, names: tuple[str, ...]) -> str:
    return f"an argument of {target.rpartition('.')[2]}: {', '.join(names)}"
