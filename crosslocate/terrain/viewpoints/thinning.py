"""Leaving out points that are too close to earlier ones."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.geo import ecef

Floats = NDArray[np.float64]


def require_spacing(key: str, spacing: float) -> None:
    """Raise ConfigError for a spacing that cannot work; ``key`` is that of the scheme that has it."""
    if not 0.0 <= spacing < np.inf:
        raise ConfigError(f"{key}.spacing", spacing, "0 metres or more")


def apart(longitude: Floats, latitude: Floats, spacing: float) -> NDArray[np.bool_]:
    """Which positions to keep so that none is closer than ``spacing`` metres to a kept one before it, [n].

    Distances are straight through the earth, which is never more than along it.
    """
    if spacing <= 0.0:
        return np.ones(len(longitude), bool)
    return np.asarray(_apart(ecef(longitude, latitude), float(spacing)))


@njit(cache=True, nogil=True)
def _apart(points: Floats, spacing: float) -> NDArray[np.bool_]:
    """Kept points lie in buckets by the cube of side ``spacing`` they are in: 27 cubes hold all that are near."""
    count = len(points)
    size = 16
    while size < 2 * count:
        size *= 2
    last = np.full(size, -1, np.int64)  # kept point of a bucket that came last, and of every kept one the one before
    before = np.empty(count, np.int64)
    kept = np.zeros(count, np.bool_)
    cubes = np.floor(points / spacing).astype(np.int64)
    for i in range(count):
        free = True
        for d in range(27):
            bucket = _bucket(cubes[i, 0] + d % 3 - 1, cubes[i, 1] + d // 3 % 3 - 1, cubes[i, 2] + d // 9 - 1, size)
            other = last[bucket]
            while free and other >= 0:
                x, y, z = points[i] - points[other]
                free = x * x + y * y + z * z >= spacing * spacing
                other = before[other]
            if not free:
                break
        if free:
            kept[i] = True
            bucket = _bucket(cubes[i, 0], cubes[i, 1], cubes[i, 2], size)
            before[i], last[bucket] = last[bucket], i
    return kept


@njit(cache=True, nogil=True)
def _bucket(x: int, y: int, z: int, size: int) -> int:
    return int((x * 73856093) ^ (y * 19349663) ^ (z * 83492791)) & (size - 1)
