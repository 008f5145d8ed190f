"""Tracks of rays on the layers of a terrain, and the stretches in which they see one sheet.

Column and row of level 0 of a layer are polynomials of ground distance s: ``path[0:6]`` and ``path[6:12]`` hold their
coefficients, lowest power first; ``paths`` one such row for each layer. In a stretch they are parabolas of s.
"""

from typing import Any

from crosslocate.terrain.casting.kernels.compiled import compiled

OVERLAP = 1e-4
"""Metres added to every step so that rounding cannot leave the march on a cell border."""


@compiled
def follow(eye: Any, sin_azimuth: float, cos_azimuth: float, paths: Any) -> float:
    """Fill ``paths`` [L, 12] for one azimuth and return the curvature of the earth along it (Euler's formula)."""
    for layer in range(len(paths)):
        for axis in range(2):
            paths[layer, 6 * axis] = eye.origin[layer, axis]
            coefficients = eye.coefficients[layer, axis]
            first = 0
            for degree in range(1, 6):
                # sum over i of c[i] sin^i cos^(degree - i), by Horner in sin with cos powers built from the other end
                total = coefficients[first + degree]
                power = 1.0
                for i in range(degree - 1, -1, -1):
                    power *= cos_azimuth
                    total = total * sin_azimuth + coefficients[first + i] * power
                paths[layer, 6 * axis + degree] = total
                first += degree + 1
    return eye.curvature[0] * cos_azimuth * cos_azimuth + eye.curvature[1] * sin_azimuth * sin_azimuth


@compiled
def expand(paths: Any, layer: int, first: int, s: float) -> tuple[float, float, float]:
    """Value, derivative and half the second derivative at s of the polynomial ``paths[layer, first : first + 6]``."""
    p = paths[layer, first + 5]
    d = 0.0
    b = 0.0
    for k in range(4, -1, -1):
        b = b * s + d
        d = d * s + p
        p = p * s + paths[layer, first + k]
    return p, d, b


@compiled
def entry(paths: Any, layer: int, right: float, bottom: float, s: float, end: float) -> float:
    """Ground distance in (s, end) where a track enters the rectangle of a layer from outside; ``end`` if it does not.

    The track is taken as straight, again from where it is found to enter: after four times the place is exact.
    """
    near = s
    for _ in range(4):
        c0, c1, _ = expand(paths, layer, 0, near)
        r0, r1, _ = expand(paths, layer, 6, near)
        low, high = s - near, end - near
        for at, speed, size in ((c0, c1, right), (r0, r1, bottom)):
            if abs(speed) < 1e-30:
                if at < 0.0 or at >= size:
                    return end
            else:
                a, b = -at / speed, (size - at) / speed
                low, high = max(low, min(a, b)), min(high, max(a, b))
        if low >= high:
            return end
        near += low
    return min(max(near + OVERLAP, s + OVERLAP), end)


@compiled
def stretch(table: Any, first: Any, unit: Any, stride: float, paths: Any, s: float, limit: float, part: Any) -> int:
    """Find the sheet that a ray sees from ground distance s on.

    Args:
        table: Of ``Ground``.
        first: Of ``Ground``.
        unit: Of ``Eye``.
        stride: Of ``Eye``.
        paths: The tracks on all layers.
        s: Where the stretch begins.
        limit: Where it ends at the latest.
        part: Filled with the parabolas of column and row of the sheet around s (value, derivative, half the second
            derivative; column, then row), the end of the stretch, and where they are taken, [8].

    Returns:
        The sheet; -1 in a gap between layers, -2 behind the last one.
    """
    layers = len(paths)
    begin = 0.0 if s < 0.5 * stride else s
    end = min(limit, begin + stride)
    d = s - begin
    for layer in range(layers):
        sheet = first[layer]
        if begin > 0.0:
            c0, c1, c2 = expand(paths, layer, 0, s)
            r0, r1, r2 = expand(paths, layer, 6, s)
        else:
            c0, c1, c2 = paths[layer, 0], paths[layer, 1], paths[layer, 2]
            r0, r1, r2 = paths[layer, 6], paths[layer, 7], paths[layer, 8]
        right, bottom = table[sheet, 0] - 1.0, table[sheet, 1] - 1.0
        column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
        if not (0.0 <= column < right and 0.0 <= row < bottom):
            if layers > 1:
                end = entry(paths, layer, right, bottom, s, end)
            continue
        levels = first[layer + 1] - sheet
        switch = 2.0 * unit[layer]
        level = 0
        share = 1.0
        while level + 1 < levels and switch <= s:
            level += 1
            share *= 0.5
            switch *= 2.0
        if level + 1 < levels:
            end = min(end, switch)
        while level > 0 and not (
            column * share < table[sheet + level, 0] - 1.0 and row * share < table[sheet + level, 1] - 1.0
        ):
            level -= 1  # the last posts of a coarser level may lie before the border of the layer
            share *= 2.0
        part[0], part[1], part[2] = c0 * share, c1 * share, c2 * share
        part[3], part[4], part[5] = r0 * share, r1 * share, r2 * share
        part[6], part[7] = end, begin
        return sheet + level
    part[6] = end
    return -1 if layers > 1 else -2
