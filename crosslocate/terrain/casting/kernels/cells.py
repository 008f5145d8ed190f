"""Where a ray meets the surface in one cell."""

import math
from typing import Any

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.rays import arc
from crosslocate.terrain.casting.kernels.tracks import OVERLAP


@compiled
def cross_cell(
    posts: Any,
    width: int,
    triangles: bool,
    at: int,
    curvature: float,
    height: float,
    s: float,
    x: float,
    y: float,
    along: float,
    down: float,
    length: float,
) -> tuple[float, float, float, float, float, float, float, float]:
    """Terrain along the track in the cell whose first post is ``posts[at]`` as parabolas of u.

    u is the ground distance from the entry, where the track is at the share x of the columns and y of the rows of the
    cell; ``along`` and ``down`` are their derivatives.

    Returns:
        Coefficients of u^0, u^1, u^2 of X, of Y, and of u^3 of X (below a millimetre in the root, but not always in the
        length of the ray), NaN in a cell with a void post; and the length of the track on this
        surface: on triangles it may end at the diagonal (from the cell's first to its last post, north-west to
        south-east where rows run south).
    """
    first = float(posts[at])
    across = float(posts[at + 1]) - first
    below = float(posts[at + width]) - first
    twist = float(posts[at + width + 1]) - first - across - below
    if triangles:
        side, turn = x - y, along - down
        if side * turn < 0.0 and -side / turn < length:
            length = min(length, -side / turn + OVERLAP)
        if side + 0.5 * turn * length > 0.0:
            below += twist
        else:
            across += twist
        h0, h1, h2 = first + x * across + y * below, along * across + down * below, 0.0 * twist
    else:
        h0 = first + x * across + y * below + x * y * twist
        h1 = along * across + down * below + (x * down + y * along) * twist
        h2 = along * down * twist
    sine, versine = arc(curvature, s)
    cosine = 1.0 - versine * curvature
    k = curvature
    swell = 1.0 + h0 * k
    x0 = swell * sine
    x1 = swell * cosine + h1 * k * sine
    x2 = k * (h1 * cosine - 0.5 * swell * sine * k + h2 * sine)
    y0 = h0 - height - swell * versine
    y1 = h1 * cosine - swell * sine * k
    y2 = h2 * cosine - k * (0.5 * swell * cosine + h1 * sine * k)
    return x0, x1, x2, y0, y1, y2, h2 * k * cosine, length


@compiled
def first_root(q0: float, q1: float, q2: float, length: float) -> float:
    """Smallest u in [0, length] where q0 + q1 u + q2 u^2 reaches zero from below; -1 when there is none."""
    if q0 >= 0.0:
        return 0.0
    if q0 + length * (q1 + length * q2) < 0.0 and (q1 <= 0.0 or q1 + 2.0 * q2 * length >= 0.0):
        return -1.0  # below at both ends, and no crest between
    discriminant = q1 * q1 - 4.0 * q2 * q0
    if discriminant < 0.0:
        return -1.0
    denominator = q1 + math.sqrt(discriminant)
    if denominator <= 0.0:
        return -1.0
    u = -2.0 * q0 / denominator
    return u if u <= length else -1.0
