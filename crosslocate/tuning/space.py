"""What is tuned: ranges of numbers and choices, by configuration key."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from crosslocate.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str | None
"""What a setting can be; texts go into an override as they are."""
RANGE = frozenset(("low", "high", "log", "step"))


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; integers if both are.

    Attributes:
        low: The least.
        high: The greatest.
        log: Whether ratios count instead of differences.
        step: Distance of neighbouring values; None: any for floats, 1 for integers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that a configuration is checked with."""
        return self.low, self.high

    def distribution(self) -> "BaseDistribution":
        """As Optuna has it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Choice:
    """One of some values, or of a group's options."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All of them: any may be wrong."""
        return self.values

    def distribution(self) -> "BaseDistribution":
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


Space = dict[str, Range | Choice]


def read_space(node: Any) -> Space:
    """The space that a node of a configuration describes.

    Args:
        node: By configuration key of a training: ``{low, high}`` with ``log`` or ``step``, or ``{choices: [...]}``.

    Raises:
        ConfigError: A node that describes nothing, or that means nothing.
    """
    from omegaconf import OmegaConf

    nodes: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(nodes, Mapping) or not nodes:
        raise ConfigError("space", nodes, "at least one key of a training, with its range or choices")
    return {str(key): _setting(str(key), setting) for key, setting in nodes.items()}


def as_overrides(values: Mapping[str, Value]) -> list[str]:
    """Overrides of a training: ``key=value``."""
    return [f"{key}={as_text(value)}" for key, value in values.items()]


def _setting(key: str, node: Any) -> Range | Choice:
    where = f"space.{key}"
    if isinstance(node, Mapping) and set(node) == {"choices"}:
        return _choice(where, node["choices"])
    if isinstance(node, Mapping) and {"low", "high"} <= set(node) <= RANGE:
        return _range(where, node)
    raise ConfigError(where, node, "{low: ..., high: ...}, with log: true or step: ..., or {choices: [...]}")


def _choice(where: str, values: Any) -> Choice:
    plain = isinstance(values, Sequence) and not isinstance(values, str)
    if not plain or not values or not all(isinstance(value, Value) for value in values):
        raise ConfigError(f"{where}.choices", values, "a list of texts, numbers, true, false or null")
    if len({as_text(value) for value in values}) < len(values):
        raise ConfigError(f"{where}.choices", values, "a list without repetitions")
    return Choice(tuple(values))


def _range(where: str, node: Mapping[str, Any]) -> Range:
    low, high, step, log = node["low"], node["high"], node.get("step"), node.get("log", False)
    for name, number in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ConfigError(f"{where}.{name}", number, "a number")
    if low >= high:
        raise ConfigError(f"{where}.low", low, f"a number below high={high}")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise ConfigError(f"{where}.log", log, "true with low above 0 and without a step, or false")
    if step is not None:
        _require_step(f"{where}.step", low, high, step)
    return Range(low, high, log, step)


def _require_step(key: str, low: float, high: float, step: float) -> None:
    if step <= 0:
        raise ConfigError(key, step, "a number above 0")
    if isinstance(low, int) and isinstance(high, int) and step != int(step):
        raise ConfigError(key, step, "a whole number, as low and high are", f"Or low={float(low)} for other numbers")
    width = Decimal(str(high)) - Decimal(str(low))
    if width % Decimal(str(step)) != 0:
        raise ConfigError(key, step, f"a step by which high={high} is reached from low={low}: a part of {width}")


def as_text(value: Value) -> str:
    """A value as an override has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, float) else str(value)


def quoted(text: str) -> str:
    """A text as a value of an override, whatever characters are in it."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"
