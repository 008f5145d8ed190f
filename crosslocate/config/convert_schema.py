"""Types and rules of ``conf/convert.yaml`` and ``conf/check.yaml``; values and defaults live in those files alone."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from crosslocate.config.schema import PathsConfig
from crosslocate.errors import ConfigError

SOURCES = ("meta", "catalog", "dataset")


@dataclass
class ImagesConfig:
    """Where the images of a single meta structure are, and what they show."""

    folder: str | None = MISSING
    modality: str | None = MISSING


@dataclass
class SourceConfig:
    """What both start from."""

    meta: str | None = MISSING
    catalog: str | None = MISSING
    dataset: Any = None
    split: str | None = MISSING
    database: ImagesConfig = MISSING
    queries: ImagesConfig = MISSING
    utm_zone: int = MISSING
    paths: PathsConfig = MISSING


@dataclass
class ConvertConfig(SourceConfig):
    """``conf/convert.yaml``."""

    output: str = MISSING
    within: float | None = MISSING
    distance: Any = MISSING
    places: str | None = MISSING


@dataclass
class CheckConfig(SourceConfig):
    """``conf/check.yaml``."""

    report: str | None = MISSING
    modalities: list[str] | None = MISSING
    gap: float | None = MISSING
    decode: bool = MISSING
    workers: int | None = MISSING
    shown: int = MISSING


def validate_convert(cfg: Any) -> None:
    """Check a conversion before any data is touched.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    from omegaconf import OmegaConf

    _check_source(cfg)
    if OmegaConf.is_missing(cfg, "output"):
        raise ConfigError("output", None, "a folder for catalogs, or a .npy file for a meta structure")
    if Path(cfg.output).suffix not in ("", ".npy") and not Path(cfg.output).is_dir():
        raise ConfigError("output", cfg.output, "a folder for catalogs, or a .npy file for a meta structure")
    if cfg.within is not None and not (math.isfinite(cfg.within) and cfg.within >= 0):
        raise ConfigError("within", cfg.within, "metres, at least 0, or null for all views")


def validate_check(cfg: Any) -> None:
    """Check the configuration of a check.

    Raises:
        ConfigError: Names the key, the value and what is allowed.
    """
    _check_source(cfg)
    if cfg.workers is not None and cfg.workers < 1:
        raise ConfigError("workers", cfg.workers, "an integer of at least 1, or null for all cores")
    from crosslocate.formats.companions import FOLDERS

    for modality in cfg.modalities or ():
        if modality not in FOLDERS:
            raise ConfigError("modalities", modality, FOLDERS)
    if cfg.gap is not None and not (math.isfinite(cfg.gap) and cfg.gap >= 0):
        raise ConfigError("gap", cfg.gap, "metres, at least 0, or null")
    if cfg.shown < 0:
        raise ConfigError("shown", cfg.shown, "an integer of at least 0")


def _check_source(cfg: Any) -> None:
    given = [key for key in SOURCES if cfg[key] is not None]
    if len(given) != 1:
        hint = "meta=<file.npy or .mat>, catalog=<folder with catalogs> or dataset=<option>"
        raise ConfigError("meta", cfg.meta, f"exactly one of {', '.join(SOURCES)}", f"Given: {given}; {hint}")
    if cfg.meta is not None and Path(cfg.meta).suffix not in (".npy", ".mat"):
        raise ConfigError("meta", cfg.meta, "a file that ends in .npy or .mat")
    if not 1 <= cfg.utm_zone <= 60:
        raise ConfigError("utm_zone", cfg.utm_zone, "a zone from 1 to 60")
