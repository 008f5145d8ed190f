"""Views of pitched and rolled cameras: one march for each pixel, from where the envelope lets it start."""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import entry_point
from crosslocate.terrain.casting.kernels.envelopes import survey
from crosslocate.terrain.casting.kernels.images import BATCH, write
from crosslocate.terrain.casting.kernels.march import march
from crosslocate.terrain.casting.kernels.pieces import CHUNK
from crosslocate.terrain.casting.kernels.rays import STEEPEST
from crosslocate.terrain.casting.kernels.sectors import direction_of, sector_of
from crosslocate.terrain.casting.kernels.tracks import follow


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
