"""Rays of one azimuth and growing slopes that meet the surface of one cell."""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.cells import first_root
from crosslocate.terrain.casting.kernels.compiled import compiled

FILLED = 6
"""Rays that meet one cell from which on they are taken together."""


@compiled
def fill(
    x0: float,
    x1: float,
    x2: float,
    y0: float,
    y1: float,
    y2: float,
    x3: float,
    length: float,
    slopes: Any,
    secants: Any,
    out: Any,
) -> None:
    """Lengths of rays that all meet one surface, by their slopes and secants; a loop without branches.

    Roots are taken in single precision: to a ten millionth of the way through the cell.
    """
    end = np.float32(length)
    for n in range(len(slopes)):
        slope = slopes[n]
        q0, q1, q2 = y0 - slope * x0, y1 - slope * x1, y2 - slope * x2
        discriminant = q1 * q1 - 4.0 * q2 * q0
        discriminant = discriminant if discriminant > 0.0 else 0.0
        u = np.float32(-2.0 * q0) / (np.float32(q1) + math.sqrt(np.float32(discriminant)))
        u = u if u < end else end
        u = u if q0 < 0.0 else np.float32(0.0)
        out[n] = (x0 + u * (x1 + u * (x2 + u * x3))) * secants[n]


@compiled
def answer(
    x0: float,
    x1: float,
    x2: float,
    y0: float,
    y1: float,
    y2: float,
    x3: float,
    length: float,
    n: int,
    slopes: Any,
    secants: Any,
    out: Any,
) -> int:
    """Fill in the lengths of the rays from n on that meet a surface; returns the number of the first that does not."""
    count = len(slopes)
    # rays up to the slope of the surface where it ends meet it
    far = x0 + length * (x1 + length * x2)
    last = y0 + length * (y1 + length * y2) - slopes[n] * far
    if last >= 0.0:
        step = (slopes[count - 1] - slopes[0]) / max(count - 1, 1)
        until = n + 1 + int(min(last / max(far * step, 1e-30), count - n - 1.0))
        if until - n >= FILLED:
            fill(x0, x1, x2, y0, y1, y2, x3, length, slopes[n:until], secants[n:until], out[n:until])
            n = until
    # those above it may meet it before
    while n < count:
        slope = slopes[n]
        u = first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
        if not u >= 0.0:
            break
        out[n] = (x0 + u * (x1 + u * (x2 + u * x3))) * secants[n]
        n += 1
    return n
