"""Views of level cameras: one march for each image column."""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled, entry_point
from crosslocate.terrain.casting.kernels.images import BATCH, write
from crosslocate.terrain.casting.kernels.pieces import CHUNK, PIECE, compare, fit_chunk
from crosslocate.terrain.casting.kernels.rays import MILD, horizon
from crosslocate.terrain.casting.kernels.tracks import follow, stretch
from crosslocate.terrain.casting.kernels.walks import meet, walk


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
