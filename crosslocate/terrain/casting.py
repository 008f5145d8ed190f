"""Compiled loops over the pixels of a picture; the march of one ray is in ``kernels``."""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.envelope import clear_until, sector_of, survey
from crosslocate.terrain.kernels import STEEPEST, compiled, cross_cell, first_root, follow, horizon, march, seek


@compiled
def cast_level(terrain: Any, eye: Any, yaw: float, right: Any, up: Any, out: Any) -> None:
    """Cast a level camera: one march per image column fills its pixels from the bottom to the top.

    Args:
        terrain: ``Terrain``.
        eye: ``Eye``.
        yaw: Heading of the optical axis in radians.
        right: Offsets of pixel columns from the axis at unit focal length, ``[W]``.
        up: The same of pixel rows, upward, ``[H]``.
        out: Tuple of images ``[H, W]``: distance, ground distance, column, row, elevation; preset to their sky values.
    """
    distance, ground, hit_column, hit_row, hit_elevation = out
    path = np.empty(12)
    for v in range(len(right)):
        azimuth = yaw + math.atan(right[v])
        radius = follow(eye, math.sin(azimuth), math.cos(azimuth), path)
        shrink = 1.0 / math.sqrt(1.0 + right[v] * right[v])
        w = len(up) - 1
        s, level = 0.0, 0
        while w >= 0:
            slope = up[w] * shrink
            end = min(eye.max_distance, horizon(radius, eye.height, terrain.highest, slope))
            s, column, row, along, down, length = seek(terrain, path, radius, eye.height, slope, s, end, level)
            if s >= end:
                break
            x0, x1, x2, y0, y1, y2, h0, h1, h2 = cross_cell(
                terrain.elevation, radius, eye.height, s, column, row, along, down
            )
            while w >= 0:
                slope = up[w] * shrink
                u = first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
                if not u >= 0.0:
                    break
                distance[w, v] = (x0 + u * (x1 + u * x2)) * math.sqrt(1.0 + slope * slope)
                ground[w, v] = s + u
                hit_column[w, v] = column + u * along
                hit_row[w, v] = row + u * down
                hit_elevation[w, v] = h0 + u * (h1 + u * h2)
                w -= 1
            s += length
            level = 1


@compiled
def cast_rays(terrain: Any, eye: Any, axes: Any, right: Any, up: Any, rings: Any, envelopes: Any, out: Any) -> None:
    """Cast one march per pixel, starting where the envelope of its sector first reaches the slope of its ray.

    Args:
        terrain: ``Terrain``.
        eye: ``Eye``.
        axes: Unit vectors to the right, up and forward of the camera, east-north-up, ``[3, 3]``.
        right: As in :func:`cast_level`.
        up: As in :func:`cast_level`.
        rings: Ground distances that bound the rings of the envelopes ``[K + 1]``.
        envelopes: Work space for the envelopes of the sectors ``[N, K]``.
        out: As in :func:`cast_level`.
    """
    distance, ground, hit_column, hit_row, hit_elevation = out
    surveyed = np.zeros(len(envelopes), np.bool_)
    path = np.empty(12)
    edge = np.empty(12)
    for w in range(len(up)):
        for v in range(len(right)):
            east = axes[2, 0] + up[w] * axes[1, 0] + right[v] * axes[0, 0]
            north = axes[2, 1] + up[w] * axes[1, 1] + right[v] * axes[0, 1]
            upward = axes[2, 2] + up[w] * axes[1, 2] + right[v] * axes[0, 2]
            level_length = max(math.sqrt(east * east + north * north), 1e-12)
            slope = min(max(upward / level_length, -STEEPEST), STEEPEST)
            sector = sector_of(east, north, len(envelopes))
            if not surveyed[sector]:
                survey(terrain, eye, sector, rings, path, edge, envelopes)
                surveyed[sector] = True
            start = clear_until(envelopes[sector], rings, slope)
            if start > eye.max_distance:
                continue
            radius = follow(eye, east / level_length, north / level_length, path)
            length, s, column, row, elevation = march(terrain, path, radius, eye.height, slope, start, eye.max_distance)
            if s < np.inf:
                distance[w, v], ground[w, v] = length, s
                hit_column[w, v], hit_row[w, v], hit_elevation[w, v] = column, row, elevation


@compiled
def cast_shade(
    terrain: Any,
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
        terrain: ``Terrain``.
        eye: ``Eye``; its linear track and its radius serve for all points.
        azimuth: Direction of the light in radians.
        slope: Tangent of its elevation angle.
        lift: Metres by which points are raised, so that their own facet does not shade them by rounding.
        columns: Raster columns of the points ``[n]``, NaN for none.
        rows: Raster rows of the points ``[n]``.
        elevations: Elevations of the points in metres ``[n]``.
        out: Boolean ``[n]``, false on entry.
    """
    path = np.empty(12)
    radius = follow(eye, math.sin(azimuth), math.cos(azimuth), path)
    for power in range(2, 6):
        path[power] = path[6 + power] = 0.0
    for k in range(len(columns)):
        if columns[k] >= 0.0:
            path[0], path[6] = columns[k], rows[k]
            _, s, _, _, _ = march(terrain, path, radius, elevations[k] + lift, slope, 0.0, eye.max_distance)
            out[k] = s < np.inf
