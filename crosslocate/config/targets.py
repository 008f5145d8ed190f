"""Which code a configuration that somebody else made may call.

A checkpoint holds the configuration of its run, and a configuration names the classes and functions that are called
with its values. One that comes from elsewhere must not call anything that can be imported: nearly all of Python can.
Its targets are those of ``conf/train.yaml`` and its groups alone, and its interpolations call the resolvers that are
called there, unless the environment variable `TRUSTED` lets others in: names, or beginnings of names that end in a dot,
separated by commas.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from crosslocate.config.app import conf_dir
from crosslocate.errors import CheckpointError

TRUSTED = "CROSSLOCATE_TRUSTED_TARGETS"
_TARGET = re.compile(r"^[\s-]*_target_: *(\S+)", re.MULTILINE)
_CALL = re.compile(r"\$\{([\w.]+:[^,${}]*)[,}]")


@cache
def own_targets() -> frozenset[str]:
    """Every ``_target_`` that a run's configuration gets from ``conf/``."""
    return frozenset(target for text in _texts() for target in _TARGET.findall(text))


@cache
def own_calls() -> frozenset[str]:
    """Every call of a resolver that it gets from there, up to its first comma: ``oc.env:CROSSLOCATE_CACHE``."""
    return frozenset(call for text in _texts() for call in _CALL.findall(text))


def require_trusted(config: Any, source: str) -> None:
    """Check that a configuration calls nothing but what ``conf/`` calls, before any of it is resolved or built.

    Args:
        config: Plain values: dictionaries, lists, texts, numbers.
        source: Where it comes from, for the error.

    Raises:
        CheckpointError: It calls something else; names the key, what is called, and how to allow it.
    """
    trusted = tuple(name.strip() for name in os.environ.get(TRUSTED, "").split(",") if name.strip())
    for key, value in _leaves(config, ""):
        name = key.rpartition(".")[2]
        if name == "_target_" and not (isinstance(value, str) and _admitted(value, own_targets(), trusted)):
            raise _refused(source, key, value)
        if isinstance(value, str) and "${" in value:
            for call in _calls(value, f"{source}: {key}"):
                if not _admitted(call, own_calls(), trusted):
                    raise _refused(source, key, "${" + call + "}", call)


def _admitted(name: str, own: frozenset[str], trusted: tuple[str, ...]) -> bool:
    return name in own or any(name.startswith(t) if t.endswith(".") else name == t for t in trusted)


def _refused(source: str, key: str, value: Any, name: str | None = None) -> CheckpointError:
    name = value if name is None else name
    return CheckpointError(
        f"{source}: its configuration calls {key}={value!r}, which is not of crosslocate's own configuration and is "
        f"not run. If you trust the file, and it is code of yours, start again with {TRUSTED}={name} in the "
        "environment (several with commas between them; mypackage. for all of a package)"
    )


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value with its full key; containers aside, unless one stands where a target should."""
    todo = [(key, node)]
    while todo:
        key, node = todo.pop()
        if not isinstance(node, Mapping | list | tuple) or key.endswith("_target_"):
            yield key, node
        if isinstance(node, Mapping | list | tuple):
            named = node.items() if isinstance(node, Mapping) else enumerate(node)
            todo += reversed([(f"{key}.{name}" if key else str(name), value) for name, value in named])


def _calls(text: str, where: str) -> list[str]:
    """Calls of resolvers in a text, each as its name and its first argument."""
    from omegaconf.errors import OmegaConfBaseException
    from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser
    from omegaconf.grammar_parser import parse

    try:
        todo: list[Any] = [parse(text)]
    except (OmegaConfBaseException, RecursionError) as error:
        raise CheckpointError(f"{where}={text!r} is no interpolation that can be read") from error
    calls = []
    while todo:
        node = todo.pop()
        todo += list(getattr(node, "children", None) or [])
        if isinstance(node, OmegaConfGrammarParser.InterpolationResolverContext):
            arguments = node.sequence()
            first = arguments.getText().partition(",")[0] if arguments is not None else ""
            calls.append(f"{node.resolverName().getText()}:{first.partition('${')[0]}")
    return calls


def _texts() -> Iterator[str]:
    """The files of ``conf/`` that a run may be made of: train.yaml, and all options of the groups that lists name."""
    root = conf_dir()
    todo = [root / "train.yaml"]
    read = set(todo)
    while todo:
        path = todo.pop()
        text = path.read_text(encoding="utf-8")
        yield text
        for folder in _groups(text, path.parent):
            options = set(folder.rglob("*.yaml")) - read
            read |= options
            todo += sorted(options)


def _groups(text: str, folder: Path) -> Iterator[Path]:
    """Folders of the groups that the defaults list of a file names: ``refresh: full``, ``override /loss: triplet``."""
    import yaml

    if "defaults:" not in text:
        return
    for entry in yaml.safe_load(text).get("defaults", []):
        for key in entry if isinstance(entry, Mapping) else []:
            group = key.split()[-1].partition("@")[0]
            yield conf_dir() / group[1:] if group.startswith("/") else folder / group
