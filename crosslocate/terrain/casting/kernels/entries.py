"""Entries of envelopes."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.rays import arc
from crosslocate.terrain.casting.kernels.slabs import SLACK

LEAST_GROWTH = 1.004
"""Ratio of distances of successive entries of an envelope, at least."""


@compiled
def note(starts: Any, slopes: Any, count: int, s: float, slope: float) -> int:
    """Add to an envelope that terrain from s on has a higher slope than all before; returns the number of entries."""
    while count > 0 and starts[count - 1] > s:
        count -= 1
    if count == 0:
        starts[0] = 0.0
        count = 1
    elif s > starts[count - 1] * LEAST_GROWTH:
        starts[count] = s
        count += 1
    slopes[count - 1] = slope
    return count


@compiled
def close(
    curvature: float, height: float, highest: float, starts: Any, slopes: Any, count: int, s: float, end: float
) -> int:
    """End an envelope at s: terrain beyond it is only known to be nowhere above ``highest``."""
    while count > 0 and starts[count - 1] >= s:
        count -= 1
    s = s if count > 0 else 0.0
    rise = (highest - height) / (1.0 + curvature * highest)
    slope = np.inf
    if rise <= 0.0:
        sine, _ = arc(curvature, end)
        slope = rise / sine + SLACK
    elif s > 0.0:
        sine, versine = arc(curvature, s)
        slope = (rise - versine) / sine + SLACK
    if count == 0 or slope > slopes[count - 1]:
        starts[count], slopes[count] = s, slope
        count += 1
    return count
