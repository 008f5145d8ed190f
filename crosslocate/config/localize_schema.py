"""Types and rules of ``conf/index.yaml`` and ``conf/localize.yaml``; values and defaults live in those files alone."""

import math
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from crosslocate.config.schema import PathsConfig
from crosslocate.config.validate import PRECISIONS
from crosslocate.errors import ConfigError


@dataclass
class IndexConfig:
    """``conf/index.yaml``."""

    checkpoint: str = MISSING
    root: str | None = MISSING
    split: str = MISSING
    output: str | None = MISSING
    batch_size: int = MISSING
    workers: int = MISSING
    prefetch: int = MISSING
    read_ahead: int = MISSING
    device: str = MISSING
    devices: Any = MISSING
    precision: str | None = MISSING
    compile: bool = MISSING
    dtype: str = MISSING
    verify: bool = MISSING
    threads: int | None = MISSING
    paths: PathsConfig = MISSING


@dataclass
class LocalizeConfig:
    """``conf/localize.yaml``."""

    photo: str = MISSING
    checkpoint: str = MISSING
    photo_fov: float | None = MISSING
    top: int = MISSING
    views: int = MISSING
    place_radius: float = MISSING
    place_heading: float = MISSING
    temperature: float = MISSING
    root: str | None = MISSING
    split: str = MISSING
    region: list[float] | None = MISSING
    altitude: list[float] | None = MISSING
    index: str | None = MISSING
    dem: str | None = MISSING
    output: str = MISSING
    search: Any = MISSING
    batch_size: int = MISSING
    workers: int = MISSING
    device: str = MISSING
    threads: int | None = MISSING
    paths: PathsConfig = MISSING


def validate_index(cfg: Any) -> None:
    """Check an index configuration before any data is touched.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    from crosslocate.retrieval.store_header import DTYPES

    _check_embedding(cfg)
    _at_least(cfg, "prefetch", 1)
    _at_least(cfg, "read_ahead", 0)
    number = isinstance(cfg.devices, int) and not isinstance(cfg.devices, bool)
    if cfg.devices != "auto" and not (number and cfg.devices >= 1):
        raise ConfigError("devices", cfg.devices, "an integer of at least 1, or auto: every GPU")
    if cfg.precision is not None and cfg.precision not in PRECISIONS:
        raise ConfigError("precision", cfg.precision, [*PRECISIONS, "null"])
    if cfg.dtype not in DTYPES:
        raise ConfigError("dtype", cfg.dtype, DTYPES)


def validate_localize(cfg: Any) -> None:
    """Check a localization before any data is touched.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    _given(cfg, "photo", "an image file, or the name of a query of the data set")
    _check_embedding(cfg)
    _at_least(cfg, "top", 1)
    _at_least(cfg, "views", cfg.top, "it is the number of views that places are formed from, so at least top")
    if cfg.photo_fov is not None and not 0.0 < cfg.photo_fov < 180.0:
        raise ConfigError("photo_fov", cfg.photo_fov, "degrees between 0 and 180, or null")
    for key, low, high in (("place_radius", 0.0, math.inf), ("place_heading", 0.0, 180.0)):
        if not low <= cfg[key] <= high or not math.isfinite(cfg[key]):
            raise ConfigError(key, cfg[key], f"a number from {low:g} to {high:g}")
    if not 0.0 < cfg.temperature < math.inf:
        raise ConfigError("temperature", cfg.temperature, "a number above 0")
    _check_selection(cfg)


def _check_selection(cfg: Any) -> None:
    if cfg.region is not None:
        region = list(cfg.region)
        good = len(region) == 4 and all(-limit <= v <= limit for v, limit in zip(region, (180, 90) * 2, strict=True))
        if not good or region[1] > region[3]:
            allowed = "[west, south, east, north], degrees from -180 to 180 and -90 to 90, south up to north, or null"
            raise ConfigError("region", region, allowed)
    if cfg.altitude is not None:
        altitude = list(cfg.altitude)
        if len(altitude) != 2 or not -math.inf < altitude[0] <= altitude[1] < math.inf:
            raise ConfigError("altitude", altitude, "[lowest, highest] in metres, or null")


def _check_embedding(cfg: Any) -> None:
    _given(cfg, "checkpoint", "a checkpoint file or the folder of a run")
    _at_least(cfg, "batch_size", 1)
    _at_least(cfg, "workers", 0)
    if cfg.threads is not None:
        _at_least(cfg, "threads", 1)


def _given(cfg: Any, key: str, what: str) -> None:
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(cfg, key):
        raise ConfigError(key, None, what, f"Add {key}=... to the command line")


def _at_least(cfg: Any, key: str, low: int, hint: str = "") -> None:
    if cfg[key] < low:
        raise ConfigError(key, cfg[key], f"an integer of at least {low}", hint)
