"""The jobs that a command line with ``-m`` stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
        number: From 0; names the job's folder.
        overrides: What Hydra composes it with.
        own: Those that it does not share with all other jobs.
    """

    number: int
    overrides: tuple[str, ...]
    own: tuple[str, ...]

    def __str__(self) -> str:
        return f"job {self.number}" + (f" ({' '.join(self.own)})" if self.own else "")


def is_expandable(config: "DictConfig") -> bool:
    """Whether the sweeper takes every combination of the values given, so that all jobs are known beforehand."""
    return bool(config.hydra.sweeper.get("_target_") == BASIC)


def expand(config: "DictConfig", loader: "ConfigLoader") -> list[Job]:
    """Every job, in the order and with the numbers that Hydra's basic sweeper gives them.

    Args:
        config: Configuration of the sweep, as Hydra hands it to its callbacks.
        loader: Finds the options of a group for ``group=glob(*)``.

    Raises:
        hydra.errors.HydraException: A value cannot be parsed, or a kind of sweep is not supported.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    params: Sequence[str] = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    task: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # as written, with its references
    parser = OverridesParser.create(config_loader=loader)
    [jobs] = BasicSweeper.split_arguments(parser.parse_overrides([*params, *task]), None)
    shared = set(jobs[0]).intersection(*jobs)
    return [
        Job(number, tuple(overrides), tuple(override for override in overrides if override not in shared))
        for number, overrides in enumerate(jobs)
    ]
