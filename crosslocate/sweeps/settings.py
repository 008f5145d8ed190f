"""Runs that differ in their seed alone are one setting, measured several times."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from crosslocate.errors import DataError
from crosslocate.runs.fingerprint import IRRELEVANT, config_differences
from crosslocate.sweeps.runs import FINISHED, NOT_STARTED, Run, printable

SEED = "seed"
UNKNOWN = "-"
_NOTHING = object()
_EXACT = 1e15
"""Below it, every whole number is a float too."""
_IRRELEVANT = frozenset(IRRELEVANT) - {"experiment", "debug"}
"""These two are groups whose options set other keys."""


@dataclass(frozen=True)
class Spread:
    """Mean of measurements, and how far they spread.

    Args:
        mean: Of all.
        deviation: Sample standard deviation, with n - 1; None for one measurement.
        values: The measurements.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Setting:
    """Runs with the same values of all factors.

    Args:
        values: Value by factor, as texts.
        runs: Finished runs, one a seed.
    """

    values: Mapping[str, str]
    runs: tuple[Run, ...]

    def spread(self, metric: str) -> Spread:
        """Mean and spread of a metric over the runs that have it.

        Raises:
            DataError: No run has it.
        """
        values = tuple(run.metrics[metric] for run in self.runs if metric in run.metrics)
        if not values:
            raise DataError(f"no run of {self} has {metric}")
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return Spread(statistics.fmean(values), deviation, values)

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items()) or "the only setting"


def find_factors(runs: Sequence[Run]) -> list[str]:
    """Keys of command lines in whose values runs differ, but for the seed and what cannot change results.

    Runs that have not begun do not count, unless none has: of what they do not set themselves, nothing is known.

    Args:
        runs: The runs, finished or not.
    """
    begun = [run for run in runs if run.status != NOT_STARTED] or runs
    return [key for key in _keys(begun) if len({value_of(run, key) for run in begun}) > 1]


def find_differing(runs: Sequence[Run]) -> list[str]:
    """Keys that tell runs apart in a list of them: factors, and those that set runs that have not begun apart.

    Args:
        runs: The runs, finished or not.
    """
    factors = find_factors(runs)
    return [key for key in _keys(runs) if key in factors or len({value_of(run, key) for run in runs} - {UNKNOWN}) > 1]


def value_of(run: Run, key: str) -> str:
    """What a run had for a key: the option of a group, or a value, wherever it came from and however it was written."""
    if key in run.choices:
        return spelled(run.choices[key])
    node: Any = run.config
    for name in key.split("."):
        node = node.get(name, _NOTHING) if isinstance(node, Mapping) else _NOTHING
    if node is not _NOTHING:
        return spelled(node)
    return spelled(_parsed(key, run.overrides[key])) if key in run.overrides else UNKNOWN


def spelled(value: Any) -> str:
    """A value as YAML has it, in one line; equal numbers in one way: 0.001 for 1e-3, 2 for 2.0."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    if isinstance(value, float):
        return repr(value)
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def latest_of_each(runs: Sequence[Run]) -> list[Run]:
    """Finished runs without those that another one repeats later, with the same configuration and data."""
    latest: dict[str, Run] = {}
    for run in runs:
        if run.status == FINISHED:
            key = json.dumps(run.fingerprints, sort_keys=True) if run.fingerprints.get("config") else str(run.folder)
            if key not in latest or run.began >= latest[key].began:
                latest[key] = run
    kept = {id(run) for run in latest.values()}
    return [run for run in runs if id(run) in kept]


def group(runs: Sequence[Run], factors: Sequence[str]) -> list[Setting]:
    """Settings, with their values in the order of numbers, or else of the runs.

    Args:
        runs: Finished ones.
        factors: Keys that tell settings apart.
    """
    together: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        together[tuple(value_of(run, key) for key in factors)].append(run)
    return [Setting(dict(zip(factors, values, strict=True)), tuple(some)) for values, some in together.items()]


def levels(settings: Sequence[Setting], factor: str) -> list[str]:
    """Values of a factor: ascending where all are numbers, else as they come."""
    found = list(dict.fromkeys(setting.values[factor] for setting in settings))
    return sorted(found, key=float) if all(map(_is_number, found)) else found


def best_of(settings: Sequence[Setting], metric: str) -> Setting | None:
    """The setting with the best mean of a metric; the first of equals. None without settings."""
    return max(settings, key=lambda setting: goodness(setting, metric), default=None)


def goodness(setting: Setting, metric: str) -> float:
    """The mean of a metric, with its sign changed where small values are good."""
    mean = setting.spread(metric).mean
    return -mean if lower_is_better(metric) else mean


def lower_is_better(metric: str) -> bool:
    """Whether small values of a metric are good."""
    return any(part.startswith(("median_error", "loss")) for part in metric.split("/"))


def doubts(settings: Sequence[Setting]) -> list[str]:
    """What makes means and comparisons doubtful, a sentence each."""
    sentences = []
    for setting in settings:
        first, *others = setting.runs
        keys = Counter(key for run in others for key in config_differences(first.config, run.config) if key != SEED)
        if keys:
            named = ", ".join(printable(key) for key, _ in keys.most_common(5))
            sentences.append(f"runs of {setting} differ in more than their seed: {named}")
    data = {str(run.fingerprints.get("data")) for setting in settings for run in setting.runs}
    if len(data) > 1:
        sentences.append(f"the runs were measured on {len(data)} different data sets")
    return sentences


def _keys(runs: Sequence[Run]) -> list[str]:
    """Keys of command lines, but for the seed and what cannot change results."""
    keys = dict.fromkeys(key for run in runs for key in run.overrides)
    return [key for key in keys if key != SEED and not _is_irrelevant(key)]


@cache
def _parsed(key: str, text: str) -> Any:
    """The value of an override, as Hydra reads it, with its references as they are; the text where it cannot."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
    except (HydraException, RecursionError):
        return text
    return text if override.is_sweep_override() else override.value()


def _is_irrelevant(key: str) -> bool:
    return key.startswith("hydra.") or any(key == name or key.startswith(f"{name}.") for name in _IRRELEVANT)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
