"""Layout of the envelopes that let rays of pitched and rolled cameras start far out (filled in ``kernels``)."""

import math

import numpy as np
from numpy.typing import NDArray

RING_GROWTH = 1.1
"""Ratio of the outer to the inner distance of a ring."""

FIRST_RING = 0.5
"""Radius in metres of the disc around the camera that the first ring covers."""


def ring_distances(reach: float) -> NDArray[np.float64]:
    """Ground distances in metres that bound the rings: 0, the first, and on in equal ratios to ``reach`` or beyond."""
    count = max(1, math.ceil(math.log(max(reach / FIRST_RING, 1.0)) / math.log(RING_GROWTH)))
    return np.concatenate([[0.0], FIRST_RING * RING_GROWTH ** np.arange(count + 1)])


def sector_count(focal_length: float) -> int:
    """Sectors of the full circle that are about as wide as a pixel of a camera (focal length in pixels)."""
    return int(np.clip(2 * np.pi * focal_length, 256, 4096))
