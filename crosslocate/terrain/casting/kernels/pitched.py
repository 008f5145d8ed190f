"""Views of pitched and rolled cameras: every pixel's ray starts where the envelope of its sector lets it start.

The rays of an image column go through their first cells together (``front``), the few that meet nothing there alone.
"""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled, entry_point
from crosslocate.terrain.casting.kernels.envelopes import survey
from crosslocate.terrain.casting.kernels.front import (
    AT,
    BASE,
    BOTTOM,
    EAST,
    END,
    MOST,
    NORTH,
    PIXEL,
    RIGHT,
    RISE,
    SECTOR,
    SHARE,
    SHRINK,
    SLOPE,
    WIDTH,
    WORK,
    S,
    U,
    X,
    column_tracks,
    directions,
    gather,
    locate,
    move,
    row_tracks,
    solve,
)
from crosslocate.terrain.casting.kernels.images import BATCH, write
from crosslocate.terrain.casting.kernels.march import march
from crosslocate.terrain.casting.kernels.pieces import CHUNK
from crosslocate.terrain.casting.kernels.rays import STEEPEST
from crosslocate.terrain.casting.kernels.slabs import SLABS
from crosslocate.terrain.casting.kernels.tracks import follow

STEPS = 6
"""Cells through which rays are taken together."""


@compiled
def layer_at(ground: Any, eye: Any) -> int:
    """The first layer that covers the eye."""
    table, first = ground.table, ground.first
    layer = 0
    while layer < len(eye.unit) - 1 and not (
        0.0 <= eye.origin[layer, 0] < table[first[layer], 0] - 1.0
        and 0.0 <= eye.origin[layer, 1] < table[first[layer], 1] - 1.0
    ):
        layer += 1
    return layer


@compiled
def place(ground: Any, eye: Any, layer: int, ray: int, s: float, work: Any) -> None:
    """Let a ray start at ground distance s, in the sheet of a layer that is seen from there on."""
    table, first = ground.table, ground.first
    levels = first[layer + 1] - first[layer]
    level, share, switch = 0, 1.0, 2.0 * eye.unit[layer]
    while level + 1 < levels and switch <= s:
        level += 1
        share *= 0.5
        switch *= 2.0
    sheet = first[layer] + level
    work[S + ray], work[U + ray], work[SHARE + ray] = s, 0.0, share
    work[BASE + ray], work[WIDTH + ray] = table[sheet, 2], table[sheet, 0]
    work[RIGHT + ray], work[BOTTOM + ray] = table[sheet, 0] - 1.0, table[sheet, 1] - 1.0
    end = min(min(eye.alone, eye.max_distance), s + eye.stride)
    work[END + ray] = min(end, switch) if level + 1 < levels else end


@compiled
def length_ratio(offset: float, ray: int, work: Any) -> float:
    """Length of a ray in its horizontal distance."""
    slope, rise = work[SLOPE + ray], work[RISE + ray]
    if abs(slope) < STEEPEST:
        return work[SHRINK + ray] * math.sqrt(1.0 + offset * offset + rise * rise)
    return math.sqrt(1.0 + slope * slope)


@compiled
def advance(
    ground: Any, eye: Any, layer: int, rays: int, paths: Any, part: Any, work: Any, offset: float, line: Any
) -> None:
    """Take rays to where they meet terrain.

    Args:
        ground: ``Ground``.
        eye: ``Eye``.
        layer: The one they start in.
        rays: Their number.
        paths: Work space, [L, 12].
        part: Work space, [8].
        work: Of the rays; they change places in it.
        offset: Of the image column from the axis at unit focal length.
        line: Receives the lengths of the rays that meet terrain, each at its `PIXEL`.
    """
    column_tracks(eye.coefficients[layer, 0], eye.origin[layer, 0], rays, work)
    row_tracks(eye.coefficients[layer, 1], eye.origin[layer, 1], rays, work)
    step = 0
    while rays > 0:
        locate(rays, work)
        gather(ground.posts, rays, work)
        solve(ground.triangles, eye.curvature, eye.height, rays, work)
        step += 1
        left = 0
        for ray in range(rays):
            x, s = work[X + ray], work[S + ray] + work[U + ray]
            if x < 0.0:
                if step < STEPS and work[AT + ray] >= 0.0 and s < work[END + ray]:
                    if left < ray:
                        move(ray, left, work)
                    left += 1
                    continue
                x = march(
                    ground.posts,
                    ground.tops,
                    ground.table,
                    ground.first,
                    ground.triangles,
                    eye.unit,
                    eye.stride,
                    paths,
                    part,
                    follow(eye, work[EAST + ray], work[NORTH + ray], paths),
                    eye.height,
                    work[SLOPE + ray],
                    s,
                    eye.max_distance,
                )
            if x < np.inf:
                line[int(work[PIXEL + ray])] = x * length_ratio(offset, ray, work)
        rays = left


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
    out: Any,
) -> None:
    """Cast a camera of any orientation.

    Args:
        ground: ``Ground``.
        eye: ``Eye``.
        axes: Unit vectors to the right, up and forward of the camera, east-north-up, ``[3, 3]``.
        right: As in :func:`cast_level`.
        up: As in :func:`cast_level`.
        counts: Entries of the envelope of each sector, ``[N]``; -1 for one not yet surveyed.
        starts: Distances of the entries of the envelopes, ``[N, K]``.
        slopes: Their slopes, ``[N, K]``.
        out: As in :func:`cast_level`.
    """
    sectors, height = len(counts), len(up)
    paths, edge, part = np.empty((len(eye.unit), 12)), np.empty((len(eye.unit), 12)), np.empty(8)
    places, gaps = np.empty(3 * CHUNK, np.int64), np.empty(CHUNK)
    batch, work, slabs = np.empty((BATCH, height), np.float32), np.empty(WORK), np.empty(SLABS)
    layer = layer_at(ground, eye)
    sky = out[0, 0]
    for first in range(0, len(right), BATCH):
        columns = min(BATCH, len(right) - first)
        batch[:] = sky
        for v in range(columns):
            offset = right[first + v]
            sector, entries, n = -1, 0, 0
            for begin in range(0, height, MOST):
                count = min(MOST, height - begin)
                for k in range(count):
                    work[RISE + k] = up[height - 1 - begin - k]
                directions(axes, offset, count, sectors, work)
                rays = 0
                for k in range(count):
                    now, slope = int(work[SECTOR + k]), work[SLOPE + k]
                    if now != sector:
                        sector = now
                        if counts[sector] < 0:
                            counts[sector] = survey(
                                ground,
                                eye,
                                sector,
                                sectors,
                                paths,
                                edge,
                                part,
                                places,
                                gaps,
                                slabs,
                                starts[sector],
                                slopes[sector],
                            )
                        entries = counts[sector]
                        n = min(n, entries)
                    while n > 0 and slopes[sector, n - 1] >= slope:
                        n -= 1
                    while n < entries and slopes[sector, n] < slope:
                        n += 1
                    if n == entries:
                        continue
                    work[PIXEL + rays], work[RISE + rays] = begin + k, work[RISE + k]
                    work[EAST + rays], work[NORTH + rays] = work[EAST + k], work[NORTH + k]
                    work[SLOPE + rays], work[SHRINK + rays] = slope, work[SHRINK + k]
                    place(ground, eye, layer, rays, starts[sector, n], work)
                    rays += 1
                advance(ground, eye, layer, rays, paths, part, work, offset, batch[v])
        write(batch, first, columns, out)
