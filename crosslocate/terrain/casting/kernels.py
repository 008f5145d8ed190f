"""Compiled kernels of the ray caster.

Every ray lies in a vertical plane. In that plane, with the earth a circle of (effective) radius 1 / k, ground distance
s, t = k s, S = sin(t) / k, V = (1 - cos(t)) / k and the camera at the origin at height c above the circle, terrain of
height h stands at

    X = (1 + k h) S              horizontally, and
    Y = (h - c) - (1 + k h) V    vertically;

it is above a ray of slope m exactly where Y - m X > 0. Some facts make the march exact and fast:

* In one cell the ground track is a straight line to 1 mm, so the bilinear surface is a parabola in s, and with it X
  and Y: the first intersection is the root of a quadratic. No step length, no tolerance, nothing to miss.
* For terrain no higher than ``top``, Y - m X is bounded by a concave function of s. Where its tangent stays below zero
  the whole block of the pyramid of tops is stepped over.
* The height of a ray above sea level is convex, and within a few kilometres a parabola of s. In batches of pieces of
  two cells the tops of the blocks around them are compared with it, without a branch; only in pieces where terrain may
  reach it cells are looked at, in the order in which the track crosses the lines between posts.

For cameras that are not level: the surroundings are cut into sectors about as narrow as a pixel. Along each
of them a march notes how the slope that no terrain exceeds so far grows with distance (its envelope). A ray of slope m
starts where the envelope reaches m; one above all of it sees the sky. Sectors are equal steps of the diamond angle,
which orders directions like the azimuth but needs no trigonometry.

A ray goes through stretches: in each it sees one sheet (a level of detail of a layer, see ``elevation.sheets``), and
raster column and row are parabolas of s. ``path[0:6]`` and ``path[6:12]`` hold column and row of level 0 as polynomials
of s from which stretches are taken, lowest power first; ``paths`` one such row for each layer.
All functions are scalar float64; posts and images are float32.

Everything compiled is in this one file on purpose: numba's cache looks at the file a kernel is in, not at the files of
the kernels it calls, and would go on using old code after a change there.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

MARGIN = 2e-3
"""Metres by which terrain is taken to be higher than it is, against rounding."""

EDGE = 1e-9
"""Cells by which a block is left towards the first column or row: a track right along its border leaves it far out."""

OVERLAP = 1e-4
"""Metres added to every step so that rounding cannot leave the march on a cell border."""

STEEPEST = 1e6
"""Slopes are clamped to this: a vertical ray is taken as one that moves a micrometre per metre of height."""

SLACK = 1e-6
"""Added to envelopes against rounding, and against the change of the earth's radius across a sector."""

TOP_LEVELS = 6
"""Sizes of blocks in the pyramids of tops: 2 to 64 cells."""

HALF_WIDE = 0.4
"""Half width in cells up to which one block of tops is looked up for a piece of a sector; four beyond it."""

WIDEST = 1.5
"""Half width in cells up to which sectors are surveyed: four blocks of tops and the ring around them cover a piece."""

NEAR_CELLS = 6.0
"""Distance in cells up to which sectors are surveyed in parts of cells."""

NEAR_GROWTH = 1.3
"""Ratio of the outer to the inner distance of these parts, from half a metre on."""

LEAST_GROWTH = 1.004
"""Ratio of distances of successive entries of an envelope, at least."""

BORDER = 2.0
"""Cells along the border of a sheet in which sectors are not surveyed."""

FILLED = 6
"""Rays that meet one cell from which on they are taken together."""

CHUNK = 64
"""Pieces of a column that are looked at together, at most."""

PIECE = 1.98
"""Length of a piece in cells: from its middle a block of 2 x 2 cells and the ring around it cover it."""

MILD = 4.0
"""Slopes up to which the height of a ray is taken as a parabola."""

BATCH = 16
"""Image columns that are collected before they are written."""

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions that allocate nothing: they do not count references to arrays, which took longer than the march."""

entry_point = njit(cache=True, nogil=True, error_model="numpy")
"""For functions that Python calls, which hold on to the arrays."""


class Ground(NamedTuple):
    """Arrays of a terrain as the kernels take them.

    ``table`` holds, for each sheet, its columns, its rows, the index of its first post, and for the blocks of each size
    the index of the first top and the number of blocks in a row, [S, 3 + 2 K]. ``first`` is the number of the first
    sheet of each layer and of the end, [L + 1].
    """

    posts: NDArray[np.float32]
    tops: NDArray[np.float32]
    table: NDArray[np.int64]
    first: NDArray[np.int64]
    highest: float
    triangles: bool


class Eye(NamedTuple):
    """The point rays start from.

    ``origin`` (column, row) and ``coefficients`` are those of the ``GroundTrack`` of each layer, [L, 2] and
    [L, 2, 20]; ``curvature`` holds the inverses of the effective radii along the meridian and across it; ``height`` is
    in metres above sea level. Level l > 0 of a layer is seen from ``unit[layer] * 2**l`` metres on. ``stride`` is the
    longest stretch in metres in which parabolas follow the tracks. No layer finer than the one at the eye comes nearer
    than ``alone`` metres.
    """

    origin: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    curvature: NDArray[np.float64]
    unit: NDArray[np.float64]
    height: float
    max_distance: float
    stride: float
    alone: float


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


@compiled
def horizon(curvature: float, height: float, highest: float, slope: float) -> float:
    """Ground distance beyond which a ray of this slope stays above ``highest``; 0 when it is above it everywhere."""
    rise = (highest - height) / (1.0 + curvature * highest)
    discriminant = slope * slope + 2.0 * curvature * rise
    if discriminant < 0.0:
        return 0.0
    # t = sqrt(m^2 + 2 k rise) - m, written so that it is exact for an earth as good as flat
    denominator = math.sqrt(discriminant) + slope
    if denominator <= 0.0:
        return np.inf if rise >= 0.0 or slope < 0.0 else 0.0
    distance = 2.0 * rise / denominator
    return 0.0 if distance <= 0.0 else distance * (1.0 + curvature * distance) + 1.0


@compiled
def arc(curvature: float, s: float) -> tuple[float, float]:
    """S = sin(k s) / k and V = (1 - cos(k s)) / k by their series, good to 1e-12 for s up to 500 km."""
    t = s * curvature
    t2 = t * t
    sine = s * (1.0 - t2 / 6.0 * (1.0 - t2 / 20.0))
    versine = 0.5 * s * t * (1.0 - t2 / 12.0 * (1.0 - t2 / 30.0))
    return sine, versine


@compiled
def seek(
    posts: Any,
    tops: Any,
    table: Any,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    slope: float,
    s: float,
    level: int,
    finest: int,
    border: float,
) -> tuple[float, float, float, float, float, float]:
    """Go along a ray through a stretch, from s to the first cell that may reach it.

    Args:
        posts: Of ``Ground``.
        tops: Of ``Ground``.
        table: Of ``Ground``.
        sheet: The sheet of the stretch.
        part: As filled by :func:`stretch`.
        curvature: Of the earth along the ray.
        height: Of the camera.
        slope: Of the ray.
        s: Where to start.
        level: Level of the block to try first.
        finest: Level of the blocks to stop at, 0 for cells.
        border: Cells along the border of the sheet that do not belong to it.

    Returns:
        s, column and row where the cell is entered, their derivatives by s, and the length of the track in the cell;
        the length is -1 when the ray leaves the sheet or the stretch before, at the returned s.
    """
    c0, c1, c2, r0, r1, r2 = part[0], part[1], part[2], part[3], part[4], part[5]
    end, begin = part[6], part[7]
    width, first = table[sheet, 0], table[sheet, 2]
    left, right, bottom = border, width - 1 - border, table[sheet, 1] - 1 - border
    while s < end:
        d = s - begin
        column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
        if not (left <= column < right and left <= row < bottom):
            return s, 0.0, 0.0, 0.0, 0.0, -1.0
        along, down = c1 + 2.0 * d * c2, r1 + 2.0 * d * r2
        j, i = int(column), int(row)
        sine, versine = arc(curvature, s)
        bend = versine + slope * sine
        fall = sine * curvature + slope * (1.0 - versine * curvature)
        while True:
            block_i, block_j = i >> level, j >> level
            if level > 0:
                top = tops[table[sheet, 2 + level] + block_i * table[sheet, 2 + TOP_LEVELS + level] + block_j]
            else:
                at = first + i * width + j
                top = max(max(posts[at], posts[at + 1]), max(posts[at + width], posts[at + width + 1]))
            swell = 1.0 + curvature * top
            above = top - height - swell * bend
            if above < 0.0 or level == finest:
                size = 1 << level
                # out of the block or, where its last cells are missing, out of the sheet
                length = np.inf
                if along > 0.0:
                    length = (min((block_j + 1) * size, right) - column) / along
                elif along < 0.0:
                    length = (max(block_j * size, left) - EDGE - column) / along
                if down > 0.0:
                    length = min(length, (min((block_i + 1) * size, bottom) - row) / down)
                elif down < 0.0:
                    length = min(length, (max(block_i * size, left) - EDGE - row) / down)
                length = max(length, 0.0) + OVERLAP
                if above < 0.0 and above - swell * fall * length < 0.0:
                    s += length
                    level = min(level + 1, TOP_LEVELS)
                    break
                if level == finest:
                    return s, column, row, along, down, min(length, end - s)
            level -= 1
    return end, 0.0, 0.0, 0.0, 0.0, -1.0


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


@compiled
def march(
    posts: Any,
    tops: Any,
    table: Any,
    first: Any,
    triangles: bool,
    unit: Any,
    stride: float,
    paths: Any,
    part: Any,
    curvature: float,
    height: float,
    slope: float,
    s: float,
    limit: float,
) -> float:
    """Horizontal distance X of the first intersection of a ray; infinite when there is none before ``limit``.

    The ray is known to be clear of terrain up to the ground distance s.
    """
    level = 0
    while s < limit:
        sheet = stretch(table, first, unit, stride, paths, s, limit, part)
        if sheet < 0:
            s = part[6] if sheet == -1 else np.inf
            continue
        while True:
            s, column, row, along, down, length = seek(
                posts, tops, table, sheet, part, curvature, height, slope, s, level, 0, 0.0
            )
            if length < 0.0:
                break
            j, i = int(column), int(row)
            width = table[sheet, 0]
            at = table[sheet, 2] + i * width + j
            x0, x1, x2, y0, y1, y2, x3, length = cross_cell(
                posts, width, triangles, at, curvature, height, s, column - j, row - i, along, down, length
            )
            u = first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
            if u >= 0.0:
                return x0 + u * (x1 + u * (x2 + u * x3))
            s += length
            level = 1
        level = 0
    return np.inf


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
def parabola(curvature: float, height: float, slope: float, s: float, span: float) -> tuple[float, float, float, float]:
    """Height above sea level of a ray around ground distance s.

    Returns:
        Value, derivative, half the second derivative, and an error that the parabola does not exceed on s to s + span.
    """
    sine, versine = arc(curvature, s)
    cosine = 1.0 - curvature * versine
    rise = versine + slope * sine
    first = curvature * sine + slope * cosine
    second = curvature * (cosine - slope * curvature * sine)
    share = 1.0 / (1.0 - curvature * rise)
    h1 = first * (1.0 + curvature * height) * share * share
    h2 = (0.5 * second * share + curvature * first * first * share * share) * (1.0 + curvature * height) * share
    steep = abs(slope) + 0.1
    third = curvature * curvature * (1.0 + 8.0 * steep + 8.0 * steep * steep * steep)
    return (height + rise) * share, h1, h2, MARGIN + 0.25 * third * span * span * span


@compiled
def scan(
    tops: Any,
    base: int,
    width: int,
    c0: float,
    c1: float,
    c2: float,
    r0: float,
    r1: float,
    r2: float,
    h0: float,
    h1: float,
    h2: float,
    step: float,
    count: int,
    places: Any,
    gaps: Any,
) -> int:
    """Compare terrain with a ray in pieces of a track; a loop without branches.

    Args:
        tops: Of ``Ground``.
        base: Index of the first top of the blocks of 2 x 2 cells.
        width: Blocks in a row.
        c0: Column of the first piece's beginning, in blocks, with ``c1`` and ``c2`` a parabola of the distance from it.
        c1: See ``c0``.
        c2: See ``c0``.
        r0: The same of the row.
        r1: See ``r0``.
        r2: See ``r0``.
        h0: The same of the height of the ray.
        h1: See ``h0``.
        h2: See ``h0``.
        step: Length of a piece in metres, at most `PIECE` cells.
        count: Number of pieces.
        places: Work space, int64.
        gaps: Receives how far terrain may rise above the lowest point of the ray in each piece.

    Returns:
        Number of pieces where it may.
    """
    found = 0
    for k in range(count):
        d = (k + 0.5) * step
        at = np.floor(r0 + d * (r1 + d * r2)) * width + np.floor(c0 + d * (c1 + d * c2))
        places[k] = int(at)
        gaps[k] = h0 + d * (h1 + d * h2) - 0.5 * step * abs(h1 + 2.0 * d * h2)  # it is convex
    for k in range(count):
        gap = tops[np.uint64(base + places[k])] - gaps[k]
        gaps[k] = gap
        found += gap > 0.0
    return found


@compiled
def scan_wide(
    tops: Any,
    base: int,
    width: int,
    c0: float,
    c1: float,
    c2: float,
    r0: float,
    r1: float,
    r2: float,
    h0: float,
    h1: float,
    h2: float,
    step: float,
    count: int,
    places: Any,
    gaps: Any,
) -> int:
    """As :func:`scan`, but for pieces that reach a cell further to all four sides: up to four blocks cover them."""
    found = 0
    for k in range(count):
        d = (k + 0.5) * step
        column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
        left, upper = np.floor(column - 0.499), np.floor(row - 0.499)
        places[k] = int(upper * width + left)
        right, lower = np.floor(column + 0.499) - left, np.floor(row + 0.499) - upper
        places[CHUNK + k] = int(right)
        places[2 * CHUNK + k] = int(lower * width)
        gaps[k] = h0 + d * (h1 + d * h2) - 0.5 * step * abs(h1 + 2.0 * d * h2)  # it is convex
    for k in range(count):
        at = base + places[k]
        right, lower = places[CHUNK + k], places[2 * CHUNK + k]
        upper_top = max(tops[np.uint64(at)], tops[np.uint64(at + right)])
        at += lower
        lower_top = max(tops[np.uint64(at)], tops[np.uint64(at + right)])
        gap = max(upper_top, lower_top) - gaps[k]
        gaps[k] = gap
        found += gap > 0.0
    return found


@compiled
def fit_chunk(table: Any, sheet: int, part: Any, s: float, step: float, count: int, border: float) -> int:
    """How many pieces from s on lie in the sheet and run through it monotonously: ``count``, halved until they do.

    So many cells along its border count as outside.
    """
    right, bottom = table[sheet, 0] - 1.0 - border, table[sheet, 1] - 1.0 - border
    d = s - part[7]
    along, down = part[1] + 2.0 * d * part[2], part[4] + 2.0 * d * part[5]
    column, row = part[0] + d * (part[1] + d * part[2]), part[3] + d * (part[4] + d * part[5])
    if not (border <= column < right and border <= row < bottom):
        return 0
    while count > 0:
        e = d + count * step
        column, row = part[0] + e * (part[1] + e * part[2]), part[3] + e * (part[4] + e * part[5])
        if (
            border <= column < right
            and border <= row < bottom
            and along * (part[1] + 2.0 * e * part[2]) >= 0.0
            and down * (part[4] + 2.0 * e * part[5]) >= 0.0
        ):
            return count
        count >>= 1
    return 0


@compiled
def compare(
    tops: Any,
    table: Any,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    slope: float,
    s: float,
    step: float,
    count: int,
    wide: bool,
    places: Any,
    gaps: Any,
) -> int:
    """Compare terrain with a ray in ``count`` pieces from s on that lie in the sheet; see :func:`scan` for the rest.

    Wide pieces reach up to 2 `PIECE` from their middle, others half as far.
    """
    d = s - part[7]
    h0, h1, h2, error = parabola(curvature, height, slope, s, count * step)
    c0, c1, c2 = part[0] + d * (part[1] + d * part[2]), part[1] + 2.0 * d * part[2], part[2]
    r0, r1, r2 = part[3] + d * (part[4] + d * part[5]), part[4] + 2.0 * d * part[5], part[5]
    c0, c1, c2, r0, r1, r2 = 0.5 * c0, 0.5 * c1, 0.5 * c2, 0.5 * r0, 0.5 * r1, 0.5 * r2
    base, width = table[sheet, 3], table[sheet, 3 + TOP_LEVELS]
    h0 -= error
    if wide:
        return scan_wide(tops, base, width, c0, c1, c2, r0, r1, r2, h0, h1, h2, step, count, places, gaps)
    return scan(tops, base, width, c0, c1, c2, r0, r1, r2, h0, h1, h2, step, count, places, gaps)


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


@compiled
def meet(
    posts: Any,
    tops: Any,
    table: Any,
    triangles: bool,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    s: float,
    level: int,
    n: int,
    slopes: Any,
    secants: Any,
    out: Any,
) -> tuple[float, int]:
    """Go from s to the end of a stretch, and fill in the lengths of the rays that end there.

    Returns:
        Where it ended, and the number of the first ray that goes on.
    """
    width = table[sheet, 0]
    while True:
        s, column, row, along, down, length = seek(
            posts, tops, table, sheet, part, curvature, height, slopes[n], s, level, 0, 0.0
        )
        if length < 0.0:
            return s, n
        j, i = int(column), int(row)
        at = table[sheet, 2] + i * width + j
        x0, x1, x2, y0, y1, y2, x3, length = cross_cell(
            posts, width, triangles, at, curvature, height, s, column - j, row - i, along, down, length
        )
        n = answer(x0, x1, x2, y0, y1, y2, x3, length, n, slopes, secants, out)
        if n == len(slopes):
            return s, n
        s += length
        level = 1


@compiled
def lines(position: float, speed: float, bend: float, length: float, cuts: Any) -> int:
    """Where a track crosses lines between posts: distances at which position + speed u + bend u^2 is an integer.

    The parabola is nearly straight on the length. ``cuts`` receives the distances and, at the end, infinity.

    Returns:
        Number of crossings before ``length``; -1 when the parabola is too curved.
    """
    end = position + length * (speed + length * bend)
    if speed > 0.0:
        count, nearest, step = int(end) - int(position), int(position) + 1, 1
    else:
        count, nearest, step = int(position) - int(end), int(position), -1
    if count > 0:
        if abs(bend) * length > 1e-3 * abs(speed):
            return -1
        pace = 1.0 / speed
        turn = bend * pace
        for k in range(count):
            u = (nearest + k * step - position) * pace
            cuts[k] = u - turn * u * u * (1.0 - 2.0 * turn * u)
    cuts[count] = np.inf
    return count


@compiled
def walk(
    posts: Any,
    tops: Any,
    table: Any,
    triangles: bool,
    sheet: int,
    part: Any,
    cuts: Any,
    curvature: float,
    height: float,
    s: float,
    end: float,
    n: int,
    slopes: Any,
    secants: Any,
    out: Any,
) -> int:
    """Go from cell to cell from s to ``end``, all of it inside the sheet, and fill in the rays that end there.

    Returns:
        The number of the first ray that goes on.
    """
    count = len(slopes)
    c0, c1, c2, r0, r1, r2, origin = part[0], part[1], part[2], part[3], part[4], part[5], part[7]
    start = s - origin
    column, row = c0 + start * (c1 + start * c2), r0 + start * (r1 + start * r2)
    along, down = c1 + 2.0 * start * c2, r1 + 2.0 * start * r2
    length = end - s
    across, below = lines(column, along, c2, length, cuts[0]), lines(row, down, r2, length, cuts[1])
    if across < 0 or below < 0:
        part[6] = end
        return meet(posts, tops, table, triangles, sheet, part, curvature, height, s, 0, n, slopes, secants, out)[1]
    width = table[sheet, 0]
    h0, h1, h2, error = parabola(curvature, height, slopes[n], s, length)
    ray = h0 - error
    right, lower, step = 1 if along > 0.0 else -1, 1 if down > 0.0 else -1, width if down > 0.0 else -width
    j, i = int(column), int(row)
    at = table[sheet, 2] + i * width + j
    v = w = 0
    begin = 0.0
    for _ in range(across + below + 1):
        to_side, to_row = cuts[0, v], cuts[1, w]
        sideways = to_side < to_row
        leave = min(min(to_side, to_row), length)
        ahead = h0 + leave * (h1 + leave * h2) - error
        top = max(max(posts[at], posts[at + 1]), max(posts[at + width], posts[at + width + 1]))
        if top > min(ray, ahead):
            before = n
            while begin < leave:
                d = start + begin
                x0, x1, x2, y0, y1, y2, x3, size = cross_cell(
                    posts,
                    width,
                    triangles,
                    at,
                    curvature,
                    height,
                    s + begin,
                    c0 + d * (c1 + d * c2) - j,
                    r0 + d * (r1 + d * r2) - i,
                    c1 + 2.0 * d * c2,
                    r1 + 2.0 * d * r2,
                    leave - begin + OVERLAP,
                )
                n = answer(x0, x1, x2, y0, y1, y2, x3, size, n, slopes, secants, out)
                if n == count:
                    return n
                begin += size
            if n > before:
                h0, h1, h2, error = parabola(curvature, height, slopes[n], s, length)
                ahead = h0 + leave * (h1 + leave * h2) - error
        v, w = (v + 1, w) if sideways else (v, w + 1)
        j, i = (j + right, i) if sideways else (j, i + lower)
        at += right if sideways else step
        ray, begin = ahead, leave
    return n


@compiled
def cast_column(
    posts: Any,
    tops: Any,
    table: Any,
    first: Any,
    triangles: bool,
    highest: float,
    unit: Any,
    stride: float,
    height: float,
    max_distance: float,
    paths: Any,
    part: Any,
    places: Any,
    gaps: Any,
    cuts: Any,
    curvature: float,
    slopes: Any,
    secants: Any,
    out: Any,
) -> int:
    """March once for rays of one azimuth with growing slopes; ``out`` receives their lengths.

    Returns:
        How many of them meet terrain: all from the first on, up to the sky line.
    """
    n, count, room = 0, len(slopes), CHUNK // 8
    s = 0.0
    while n < count:
        limit = min(max_distance, horizon(curvature, height, highest, slopes[n]))
        if s >= limit:
            break
        sheet = stretch(table, first, unit, stride, paths, s, limit, part)
        if sheet < 0:
            s = part[6] if sheet == -1 else np.inf
            continue
        end = part[6]
        while s < end:
            d, e = s - part[7], end - part[7]
            pace = max(
                max(abs(part[1] + 2.0 * d * part[2]), abs(part[1] + 2.0 * e * part[2])),
                max(abs(part[4] + 2.0 * d * part[5]), abs(part[4] + 2.0 * e * part[5])),
            )
            step = PIECE / pace
            pieces = 0
            if abs(slopes[n]) < MILD:
                pieces = fit_chunk(table, sheet, part, s, step, min(room, int((end - s) / step) + 1), 0.0)
            if pieces == 0:
                part[6] = end
                s, n = meet(
                    posts, tops, table, triangles, sheet, part, curvature, height, s, 0, n, slopes, secants, out
                )
                break
            found = compare(
                tops, table, sheet, part, curvature, height, slopes[n], s, step, pieces, False, places, gaps
            )
            begin, k = s, 0
            s = min(begin + pieces * step, end)
            room = min(2 * room, CHUNK)
            if found == 0:
                continue
            before = n
            while k < pieces:
                if gaps[k] > 0.0:
                    k_end = k + 1
                    while k_end < pieces and gaps[k_end] > 0.0:
                        k_end += 1
                    n = walk(
                        posts,
                        tops,
                        table,
                        triangles,
                        sheet,
                        part,
                        cuts,
                        curvature,
                        height,
                        begin + k * step,
                        min(begin + k_end * step, end),
                        n,
                        slopes,
                        secants,
                        out,
                    )
                    if n == count:
                        return n
                    k = k_end
                    if n > before:
                        s = min(begin + k * step, end)
                        end = min(end, horizon(curvature, height, highest, slopes[n]))
                        room = max(min(room, 2 * k), CHUNK // 8)
                        break
                k += 1
    return n


@compiled
def write(batch: Any, first: int, columns: int, out: Any) -> None:
    """Put image columns, whose pixels run from the bottom to the top, into an image."""
    height = out.shape[0]
    for w in range(height):
        for v in range(columns):
            out[w, first + v] = batch[v, height - 1 - w]


@entry_point
def cast_level(ground: Any, eye: Any, yaw: float, right: Any, up: Any, out: Any) -> None:
    """Cast a level camera: one march per image column fills its pixels from the bottom to the top.

    Args:
        ground: ``Ground``.
        eye: ``Eye``.
        yaw: Heading of the optical axis in radians.
        right: Offsets of pixel columns from the axis at unit focal length, ``[W]``.
        up: The same of pixel rows, upward, ``[H]``.
        out: Length of every pixel's ray in metres, float32 ``[H, W]``; preset to the value of the sky.
    """
    posts, tops, table, first_sheet, unit = ground.posts, ground.tops, ground.table, ground.first, eye.unit
    paths = np.empty((len(eye.unit), 12))
    part = np.empty(8)
    slopes, secants = np.empty(len(up)), np.empty(len(up))
    places, gaps, cuts = np.empty(CHUNK, np.int64), np.empty(CHUNK), np.empty((2, 2 * CHUNK + 2))
    batch = np.empty((BATCH, len(up)), np.float32)
    sky = out[0, 0]
    for first in range(0, len(right), BATCH):
        columns = min(BATCH, len(right) - first)
        for v in range(columns):
            offset = right[first + v]
            azimuth = yaw + math.atan(offset)
            curvature = follow(eye, math.sin(azimuth), math.cos(azimuth), paths)
            shrink = 1.0 / math.sqrt(1.0 + offset * offset)
            for n in range(len(up)):
                slopes[n] = up[len(up) - 1 - n] * shrink
                secants[n] = math.sqrt(1.0 + slopes[n] * slopes[n])
            met = cast_column(
                posts,
                tops,
                table,
                first_sheet,
                ground.triangles,
                ground.highest,
                unit,
                eye.stride,
                eye.height,
                eye.max_distance,
                paths,
                part,
                places,
                gaps,
                cuts,
                curvature,
                slopes,
                secants,
                batch[v],
            )
            batch[v, met:] = sky
        write(batch, first, columns, out)


@compiled
def sector_of(east: float, north: float, sectors: int) -> int:
    """Number of the sector that holds a direction."""
    share = east / (abs(east) + abs(north) + 1e-300)
    diamond = 1.0 - share if north < 0.0 else (3.0 + share)
    return min(int(diamond * 0.25 * sectors), sectors - 1)


@compiled
def direction_of(diamond: float) -> tuple[float, float]:
    """Unit vector (east, north) of a diamond angle in [0, 4]: 0 is east, 1 south, 2 west, 3 north."""
    east = 1.0 - diamond if diamond <= 2.0 else diamond - 3.0
    north = abs(east) - 1.0 if diamond <= 2.0 else 1.0 - abs(east)
    norm = math.sqrt(east * east + north * north)
    return east / norm, north / norm


@compiled
def patch(first: float, second: float, third: float, fourth: float, x: float, y: float, triangles: bool) -> float:
    """Height in a cell: of the bilinear patch, or of the higher one of the planes of its two triangles."""
    across, below = first + x * (second - first), third + x * (fourth - third)
    if triangles:
        return max(across + y * (fourth - second), below - (1.0 - y) * (third - first))
    return across + y * (below - across)


@compiled
def highest_in(
    posts: Any, table: Any, triangles: bool, sheet: int, west: float, east: float, north: float, south: float
) -> float:
    """Height that terrain in a box of raster coordinates does not exceed; minus infinity when there is none.

    Exact in small boxes: there the part of a cell in the box decides, which is highest at a corner.
    """
    width, rows = table[sheet, 0], table[sheet, 1]
    j0, j1 = max(math.floor(west), 0), min(math.floor(east), width - 2)
    i0, i1 = max(math.floor(north), 0), min(math.floor(south), rows - 2)
    highest = -np.inf
    if j1 - j0 > 1 or i1 - i0 > 1:
        for i in range(i0, i1 + 2):
            at = table[sheet, 2] + i * width
            for j in range(j0, j1 + 2):
                top = float(posts[at + j])
                if top > highest:  # false for a void
                    highest = top
        return highest
    for i in range(i0, i1 + 1):
        for j in range(j0, j1 + 1):
            at = table[sheet, 2] + i * width + j
            first, second = float(posts[at]), float(posts[at + 1])
            third, fourth = float(posts[at + width]), float(posts[at + width + 1])
            y0, y1 = max(north - i, 0.0), min(south - i, 1.0)
            x0, x1 = max(west - j, 0.0), min(east - j, 1.0)
            north_west = patch(first, second, third, fourth, x0, y0, triangles)
            north_east = patch(first, second, third, fourth, x1, y0, triangles)
            south_west = patch(first, second, third, fourth, x0, y1, triangles)
            fourth = patch(first, second, third, fourth, x1, y1, triangles)
            first, second, third = north_west, north_east, south_west
            top = max(max(first, second), max(third, fourth))
            if top > highest:  # false in a cell with a void
                highest = top
    return highest


@compiled
def breadth(eye: Any, ground: Any, sheet: int) -> float:
    """Cells of a sheet in a metre on the ground around the eye, in the direction where they are smallest."""
    layer = 0
    while ground.first[layer + 1] <= sheet:
        layer += 1
    most = 0.0
    for axis in range(2):
        east, north = eye.coefficients[layer, axis, 1], eye.coefficients[layer, axis, 0]
        most = max(most, math.sqrt(east * east + north * north))
    return 1.05 * most / (1 << (sheet - ground.first[layer]))


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


@compiled
def survey(
    ground: Any,
    eye: Any,
    sector: int,
    sectors: int,
    paths: Any,
    part: Any,
    places: Any,
    gaps: Any,
    starts: Any,
    slopes: Any,
) -> int:
    """Find the envelope of one sector: the slope that terrain surely stays below, by distance.

    Args:
        ground: ``Ground``.
        eye: ``Eye``.
        sector: Number of the sector.
        sectors: Their number.
        paths: Work space, [L, 12].
        part: Work space, [8].
        places: Work space, int64 [3 * CHUNK].
        gaps: Work space, [CHUNK].
        starts: Receives ground distances, growing from 0.
        slopes: Receives slopes, growing: no terrain of the sector before ``starts[n + 1]`` exceeds ``slopes[n]``.

    Returns:
        Number of entries. The last slope is infinite where the sector gets too wide to be surveyed.
    """
    posts, tops, table, first, unit = ground.posts, ground.tops, ground.table, ground.first, eye.unit
    height, highest_of_all, reach = eye.height, ground.highest, eye.max_distance
    east, north = direction_of(4.0 * (sector + 0.5) / sectors)
    left, left_ = direction_of(4.0 * sector / sectors)
    half_width = abs(east * left_ - north * left) * 1.01
    curvature = follow(eye, east, north, paths)
    outside = False
    count, steepest, near, s, pace = 0, -np.inf, 0.5, 0.0, 1.0
    while s < reach:
        limit = horizon(curvature, height, highest_of_all, steepest) if count > 0 else np.inf
        if s >= limit:
            return count
        sheet = stretch(table, first, unit, eye.stride, paths, s, min(limit, reach, eye.alone), part)
        if sheet < 0 or s >= eye.alone:
            break
        c0, c1, c2, r0, r1, r2 = part[0], part[1], part[2], part[3], part[4], part[5]
        end, begin = part[6], part[7]
        right, bottom = table[sheet, 0] - 1 - BORDER, table[sheet, 1] - 1 - BORDER
        pace = max(abs(c1), abs(r1))
        spread = half_width * breadth(eye, ground, sheet)
        fine = NEAR_CELLS / pace
        room = CHUNK // 8
        while s < end:
            # a piece, or a chunk of pieces of which those may count that rise above the envelope so far
            pieces, step = 1, 0.0
            gaps[0] = 1.0
            if s < fine:
                near = max(near, s * NEAR_GROWTH)
                step = min(near, end) - s
            else:
                step = 1.0 / pace
                wide = (s + room * PIECE / pace) * spread + 1e-3
                if wide <= WIDEST and abs(steepest) < MILD:
                    narrow = wide <= HALF_WIDE
                    step = ((PIECE if narrow else 2.0 * PIECE) - 2.0 * wide) / pace
                    pieces = fit_chunk(table, sheet, part, s, step, min(room, int((end - s) / step) + 1), BORDER)
                    if pieces > 0:
                        found = compare(
                            tops,
                            table,
                            sheet,
                            part,
                            curvature,
                            height,
                            steepest,
                            s,
                            step,
                            pieces,
                            not narrow,
                            places,
                            gaps,
                        )
                        if found == 0:
                            s += pieces * step
                            room = min(2 * room, CHUNK)
                            continue
                    else:
                        pieces, step = 1, 1.0 / pace
                        gaps[0] = 1.0
            chunk = s
            before = steepest
            s = min(chunk + pieces * step, end)
            for k in range(pieces):
                if not gaps[k] > 0.0:
                    continue
                if steepest > before and k > 8:
                    s = min(chunk + k * step, end)
                    break
                at, stop = chunk + k * step, min(chunk + (k + 1) * step, end)
                while at < stop:
                    length = min(1.0 / pace, stop - at)
                    d = at - begin
                    column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
                    along, down = c1 + 2.0 * d * c2, r1 + 2.0 * d * r2
                    if not (BORDER <= column < right and BORDER <= row < bottom):
                        outside = True
                        break
                    wide = (at + length) * spread + 1e-3
                    if wide > WIDEST:
                        return close(curvature, height, highest_of_all, starts, slopes, count, at, reach)
                    highest = highest_in(
                        posts,
                        table,
                        ground.triangles,
                        sheet,
                        min(column, column + along * length) - wide,
                        max(column, column + along * length) + wide,
                        min(row, row + down * length) - wide,
                        max(row, row + down * length) + wide,
                    )
                    if highest > -np.inf:
                        # Y is largest at the near end; X is taken at the end that makes Y / X largest.
                        sine, versine = arc(curvature, at)
                        rise = highest - height - (1.0 + curvature * highest) * versine
                        if rise <= 0.0:
                            sine, _ = arc(curvature, at + length)
                        slope = min(rise / ((1.0 + curvature * highest) * sine) + SLACK, STEEPEST)
                        if slope > steepest:
                            steepest = slope
                            if count == 0 or at >= starts[count - 1] * LEAST_GROWTH:
                                if count == len(starts) - 1:
                                    return close(curvature, height, highest_of_all, starts, slopes, count, at, reach)
                                starts[count] = at if count > 0 else 0.0
                                count += 1
                            slopes[count - 1] = slope
                    at += length
                if outside:
                    s = at
                    break
            if outside:
                break
            room = max(room // 2, CHUNK // 8) if steepest > before else min(2 * room, CHUNK)
            if steepest > before and s < end:
                end = min(end, max(horizon(curvature, height, highest_of_all, steepest), s))
        if outside:  # the border of the sheet: beyond it others may lie beside the middle of the sector
            break
    if s >= reach:
        return count
    s = max(s - 2.0 * BORDER / pace, 0.0)
    return close(curvature, height, highest_of_all, starts, slopes, count, s, reach)


@entry_point
def cast_rays(
    ground: Any,
    eye: Any,
    axes: Any,
    right: Any,
    up: Any,
    counts: Any,
    starts: Any,
    slopes: Any,
    edges: Any,
    out: Any,
) -> None:
    """Cast one march per pixel, starting where the envelope of its sector first reaches the slope of its ray.

    Args:
        ground: ``Ground``.
        eye: ``Eye``.
        axes: Unit vectors to the right, up and forward of the camera, east-north-up, ``[3, 3]``.
        right: As in :func:`cast_level`.
        up: As in :func:`cast_level`.
        counts: Entries of the envelope of each sector, ``[N]``; -1 for one not yet surveyed.
        starts: Distances of the entries of the envelopes, ``[N, K]``.
        slopes: Their slopes, ``[N, K]``.
        edges: Tracks on all layers along the first edge of each sector, ``[N + 1, L, 12]``.
        out: As in :func:`cast_level`.
    """
    posts, tops, table, first_sheet, unit = ground.posts, ground.tops, ground.table, ground.first, eye.unit
    sectors = len(counts)
    paths = np.empty((len(eye.unit), 12))
    part = np.empty(8)
    places, gaps = np.empty(3 * CHUNK, np.int64), np.empty(CHUNK)
    batch = np.empty((BATCH, len(up)), np.float32)
    sky = out[0, 0]
    meridional, transverse = eye.curvature[0], eye.curvature[1]
    for first in range(0, len(right), BATCH):
        columns = min(BATCH, len(right) - first)
        batch[:] = sky
        for v in range(columns):
            offset = right[first + v]
            sector, entries, n = -1, 0, 0
            left_east = left_north = right_east = right_north = scale = 0.0
            for w in range(len(up) - 1, -1, -1):
                east = axes[2, 0] + up[w] * axes[1, 0] + offset * axes[0, 0]
                north = axes[2, 1] + up[w] * axes[1, 1] + offset * axes[0, 1]
                upward = axes[2, 2] + up[w] * axes[1, 2] + offset * axes[0, 2]
                level_length = max(math.sqrt(east * east + north * north), 1e-12)
                shrink = 1.0 / level_length
                slope = min(max(upward * shrink, -STEEPEST), STEEPEST)
                now = sector_of(east, north, sectors)
                if now != sector:
                    sector = now
                    left_east, left_north = direction_of(4.0 * sector / sectors)
                    right_east, right_north = direction_of(4.0 * (sector + 1) / sectors)
                    scale = 1.0 / (left_east * right_north - left_north * right_east)
                    if counts[sector] < 0:
                        counts[sector] = survey(
                            ground, eye, sector, sectors, paths, part, places, gaps, starts[sector], slopes[sector]
                        )
                        follow(eye, left_east, left_north, edges[sector])
                        follow(eye, right_east, right_north, edges[sector + 1])
                    entries = counts[sector]
                    n = min(n, entries)
                while n > 0 and slopes[sector, n - 1] >= slope:
                    n -= 1
                while n < entries and slopes[sector, n] < slope:
                    n += 1
                if n == entries:
                    continue
                east, north = east * shrink, north * shrink
                near = (east * right_north - north * right_east) * scale
                far = (left_east * north - left_north * east) * scale
                for layer in range(len(paths)):
                    for k in range(12):
                        paths[layer, k] = near * edges[sector, layer, k] + far * edges[sector + 1, layer, k]
                    paths[layer, 0], paths[layer, 6] = edges[sector, layer, 0], edges[sector, layer, 6]
                curvature = meridional * north * north + transverse * east * east
                x = march(
                    posts,
                    tops,
                    table,
                    first_sheet,
                    ground.triangles,
                    unit,
                    eye.stride,
                    paths,
                    part,
                    curvature,
                    eye.height,
                    slope,
                    starts[sector, n],
                    eye.max_distance,
                )
                if x < np.inf:
                    if abs(slope) < STEEPEST:
                        batch[v, len(up) - 1 - w] = x * shrink * math.sqrt(1.0 + offset * offset + up[w] * up[w])
                    else:
                        batch[v, len(up) - 1 - w] = x * math.sqrt(1.0 + slope * slope)
        write(batch, first, columns, out)


@entry_point
def cast_shade(
    ground: Any,
    eye: Any,
    azimuth: float,
    slope: float,
    lift: float,
    columns: Any,
    rows: Any,
    elevations: Any,
    out: Any,
) -> None:
    """Mark the points from which a ray along one azimuth and slope meets terrain.

    Args:
        ground: ``Ground``.
        eye: ``Eye``; its linear tracks and its radius serve for all points.
        azimuth: Direction of the light in radians.
        slope: Tangent of its elevation angle.
        lift: Metres by which points are raised, so that their own facet does not shade them by rounding.
        columns: Raster columns of the points on each layer ``[L, n]``, NaN for none.
        rows: Raster rows of the points on each layer ``[L, n]``.
        elevations: Elevations of the points in metres ``[n]``.
        out: Boolean ``[n]``, false on entry.
    """
    posts, tops, table, first_sheet, unit = ground.posts, ground.tops, ground.table, ground.first, eye.unit
    layers = len(columns)
    paths = np.empty((layers, 12))
    part = np.empty(8)
    curvature = follow(eye, math.sin(azimuth), math.cos(azimuth), paths)
    for layer in range(layers):
        for power in range(2, 6):
            paths[layer, power] = paths[layer, 6 + power] = 0.0
    for n in range(len(elevations)):
        if columns[0, n] == columns[0, n]:
            for layer in range(layers):
                paths[layer, 0], paths[layer, 6] = columns[layer, n], rows[layer, n]
            height = elevations[n] + lift
            limit = horizon(curvature, height, ground.highest, slope)
            x = march(
                posts,
                tops,
                table,
                first_sheet,
                ground.triangles,
                unit,
                eye.stride,
                paths,
                part,
                curvature,
                height,
                slope,
                0.0,
                min(limit, eye.max_distance),
            )
            out[n] = x < np.inf
