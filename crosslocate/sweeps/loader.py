"""Configurations composed once: for the check of a sweep, for Hydra's own check, and for jobs of this process.

To compose a job's configuration takes a sixth of a second. Hydra does it for every job before the first starts, and
again when the job starts; the check of a sweep would do it a third time.
"""

import pickle
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig


class RememberingLoader:
    """Hydra's loader of configurations, which gives out copies of those of jobs that it was told to remember.

    Pickled, for jobs in other processes, it is the loader inside: what such a job finds in the files of the
    configuration when it starts can then be compared with what was found when it was submitted.

    Args:
        loader: Composes all that is not remembered.
    """

    def __init__(self, loader: "ConfigLoader") -> None:
        self.loader = loader
        self._composed: dict[tuple[str, ...], bytes] = {}

    def remember(self, overrides: Sequence[str], composed: bytes) -> None:
        """Keep what `packed` made of the configuration of the job with these overrides."""
        self._composed[tuple(overrides)] = composed

    def load_sweep_config(self, master_config: "DictConfig", sweep_overrides: list[str]) -> "DictConfig":
        """The configuration of a job; nobody else has the same object."""
        composed = self._composed.get(tuple(sweep_overrides))
        if composed is None:
            return self.loader.load_sweep_config(master_config, sweep_overrides)
        config = unpacked(composed)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.loader,)


def packed(config: "DictConfig") -> bytes:
    """A configuration in little memory: 8 kB instead of 240."""
    return zlib.compress(pickle.dumps(config), 1)


def unpacked(composed: bytes) -> "DictConfig":
    """What was `packed` in this process or one that it forked."""
    config: DictConfig = pickle.loads(zlib.decompress(composed))
    return config


def without_hydra(composed: bytes) -> dict[str, Any]:
    """A packed configuration as plain values, interpolations as they were written, without Hydra's own."""
    content: Any = OmegaConf.to_container(unpacked(composed), resolve=False)
    return {key: value for key, value in content.items() if key != "hydra"}


def _itself(loader: "ConfigLoader") -> "ConfigLoader":
    return loader
