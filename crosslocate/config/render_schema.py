"""Types and rules of ``conf/render.yaml``; values and defaults live in that file and in its groups alone."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from crosslocate.config.schema import PathsConfig
from crosslocate.errors import ConfigError


@dataclass
class RenderConfig:
    """``conf/render.yaml``."""

    terrain: Any = MISSING
    survey: Any = MISSING
    images: Any = MISSING
    container: Any = MISSING
    output: str = MISSING
    seed: int = MISSING
    workers: int | None = MISSING
    share: str | None = MISSING
    explain: bool = MISSING
    verify: bool = MISSING
    sheet: int = MISSING
    coverage: bool = MISSING
    paths: PathsConfig = MISSING


def validate_render(cfg: Any) -> None:
    """Check a rendering before the elevation model is read.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    from omegaconf import OmegaConf

    from crosslocate.terrain.job.chunks import Share

    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(missing[0], None, "a value: it has no default", f"Add {missing[0]}=... to the command line")
    if cfg.workers is not None and cfg.workers < 1:
        raise ConfigError("workers", cfg.workers, "an integer of at least 1, or null for all cores")
    for key in ("sheet", "seed"):
        if cfg[key] < 0:
            raise ConfigError(key, cfg[key], "an integer of at least 0")
    if cfg.share is not None:
        Share.read(cfg.share)
