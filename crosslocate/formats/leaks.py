"""Splits of a data set that are closer than they should be, as problems of a check."""

from pathlib import Path
from typing import Any

from crosslocate.data.catalog import read_catalog
from crosslocate.data.leaks import leak_report
from crosslocate.errors import ConfigError, DataError
from crosslocate.formats.parts import FILES
from crosslocate.formats.problems import Problem
from crosslocate.formats.sources import catalog_root, named_set, split_folders


def leaks(cfg: Any) -> list[Problem]:
    """The closest positions of two splits, where ``cfg.gap`` metres or more are asked for; empty where all is well.

    Args:
        cfg: With ``catalog`` or ``dataset``, and ``gap``.

    Raises:
        ConfigError: The data set has no catalogs.
    """
    if cfg.meta is not None or named_set(cfg) is not None:
        raise ConfigError("gap", cfg.gap, "null where there are meta structures; gaps are checked between catalogs")
    root = catalog_root(cfg)
    folders = [root, *(root / name for name in split_folders(root))]
    paths = [path for folder in folders for file in FILES.values() if (path := Path(folder) / file).is_file()]
    try:
        leak_report(*(read_catalog(path) for path in paths), gap=cfg.gap)
    except DataError as error:
        return [Problem(root, "", None, "leak", str(error))]
    return []
