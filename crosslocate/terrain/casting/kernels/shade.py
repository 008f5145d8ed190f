"""Cast shade."""

import math
from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import entry_point
from crosslocate.terrain.casting.kernels.march import march
from crosslocate.terrain.casting.kernels.rays import horizon
from crosslocate.terrain.casting.kernels.tracks import follow


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
