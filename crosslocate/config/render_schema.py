"""Types and rules of ``conf/render.yaml``; values and defaults live in that file and in ``conf/terrain`` alone."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from crosslocate.config.schema import PathsConfig
from crosslocate.errors import ConfigError


@dataclass
class RenderConfig:
    """``conf/render.yaml``."""

    terrain: Any = MISSING
    output: str = MISSING
    workers: int | None = MISSING
    sheet: int = MISSING
    paths: PathsConfig = MISSING


def validate_render(cfg: Any) -> None:
    """Check a rendering before the elevation model is read.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(missing[0], None, "a value: it has no default", f"Add {missing[0]}=... to the command line")
    if cfg.workers is not None and cfg.workers < 1:
        raise ConfigError("workers", cfg.workers, "an integer of at least 1, or null for all cores")
    if cfg.sheet < 0:
        raise ConfigError("sheet", cfg.sheet, "an integer of at least 0")
