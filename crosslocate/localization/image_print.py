"""A hash of a few images of a data set, the same wherever it lies; tells sets of equal names and poses apart."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crosslocate.data.catalog import Catalog
from crosslocate.data.completeness import require_images
from crosslocate.data.live import live_print, live_root
from crosslocate.data.requests import read_one
from crosslocate.errors import DataError

SAMPLE = 32
"""Views whose files are read, spread evenly over a catalog: few enough for a slow disk."""


def images_fingerprint(catalog: Catalog, modalities: Sequence[str]) -> str:
    """Hash of the files of some images, from folders or archives, 32 hexadecimal digits.

    Of images that are rendered when they are read, it is one of what they are rendered from.

    Args:
        catalog: Of the views.
        modalities: Images of a view that count.

    Raises:
        DataError: Files are missing or cannot be read.
    """
    rows = np.linspace(0, len(catalog) - 1, min(len(catalog), SAMPLE)).astype(np.int64)
    digest = hashlib.blake2b(digest_size=16)
    for name in modalities:
        if (root := live_root(catalog, name)) is not None:
            digest.update(live_print(root).encode())
            continue
        for path in catalog.paths(name, rows):
            content = read_one(Path(path))
            if isinstance(content, DataError):
                require_images([(catalog, modalities)])  # names everything that is missing
                raise content
            digest.update(hashlib.blake2b(content).digest())
    return digest.hexdigest()
