"""Where rays of known length end, compiled: heights, ground distances and offsets of all pixels in one pass.

Loops over columns have no branches, so that they are compiled to vector instructions.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.casting.camera import Camera

Floats = NDArray[np.float64]

SERIES_REACH = 500_000.0
"""Metres of ray up to which the arc tangent is taken from its series: arguments stay below 0.09."""


def measure(camera: Camera, distance: NDArray[np.float32], refraction: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Places of hits, seen from a camera, ``[H, W]`` each.

    Args:
        camera: The camera.
        distance: Ray lengths in metres, negative in the sky, ``[H, W]``.
        refraction: Coefficient k with which rays were cast.

    Returns:
        Geodesic distance to the point below (-1 in the sky), elevation, metres east and metres north of the camera in
        azimuthal equidistant coordinates (NaN in the sky).
    """
    ground, elevation, east, north = np.empty((4, *distance.shape))  # one large piece of memory is faster to get
    meridional, transverse = (float(radius) for radius in radii_of_curvature(camera.latitude))
    right, up = camera.image_plane()
    near = float(distance.max()) < SERIES_REACH
    earth = (1.0 - refraction) / meridional, (1.0 - refraction) / transverse
    _measure(distance, right, up, camera.axes(), *earth, camera.elevation, near, ground, elevation, east, north)
    return ground, elevation, east, north


def ray_directions(camera: Camera) -> NDArray[np.float32]:
    """Unit vectors of the pixels' rays, east-north-up at the camera, in single precision, ``[H, W, 3]``."""
    rays = np.empty((camera.height, camera.width, 3), np.float32)
    _fill_rays(*camera.image_plane(), camera.axes(), rays)
    return rays


def turn_longitudes(longitude: Floats) -> None:
    """Bring longitudes that are less than a turn outside into [-180, 180), in place; NaN stays."""
    _turn(longitude.reshape(-1))


@njit(nogil=True, cache=True, error_model="numpy")
def _measure(
    distance: Any,
    right: Any,
    up: Any,
    axes: Any,
    along: float,
    across: float,
    height: float,
    near: bool,
    ground: Any,
    elevation: Any,
    east: Any,
    north: Any,
) -> None:
    """``along`` and ``across``: curvature of the earth along the meridian and across it, with refraction."""
    for v in range(len(up)):
        x0, y0, z0 = up[v] * axes[1, 0] + axes[2, 0], up[v] * axes[1, 1] + axes[2, 1], up[v] * axes[1, 2] + axes[2, 2]
        for u in range(len(right)):
            x, y, z = right[u] * axes[0, 0] + x0, right[u] * axes[0, 1] + y0, right[u] * axes[0, 2] + z0
            level2 = x * x + y * y
            away, level = level2 > 0.0, math.sqrt(level2)
            safe = level if away else 1.0
            to_east, to_north = x / safe, (y / safe if away else 1.0)
            radius = 1.0 / (to_north * to_north * along + to_east * to_east * across)
            sky = distance[v, u] < 0.0
            part = (0.0 if sky else distance[v, u]) / math.sqrt(level2 + z * z)
            outward, rise = part * level, height + part * z
            # from h (h + 2 R) = outward^2 + (R + rise)^2 - R^2: no difference of large numbers, however large R is
            inward = radius + rise
            whole = math.sqrt(outward * outward + inward * inward)
            h = (outward * outward + rise * (2.0 * radius + rise)) / (radius + whole)
            t = outward / inward
            s = radius * _arc(t) if near else radius * math.atan2(outward, inward)
            ground[v, u] = -1.0 if sky else s
            elevation[v, u] = math.nan if sky else h
            east[v, u] = math.nan if sky else s * to_east
            north[v, u] = math.nan if sky else s * to_north


@njit(inline="always", error_model="numpy")
def _arc(t: float) -> float:
    """Arc tangent by its series, to the last bit up to 0.1."""
    q = t * t
    tail = 1.0 / 9.0 - q * (1.0 / 11.0 - q * (1.0 / 13.0 - q * (1.0 / 15.0)))
    return t * (1.0 - q * (1.0 / 3.0 - q * (1.0 / 5.0 - q * (1.0 / 7.0 - q * tail))))


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_rays(right: Any, up: Any, axes: Any, rays: Any) -> None:
    for v in range(len(up)):
        x0, y0, z0 = up[v] * axes[1, 0] + axes[2, 0], up[v] * axes[1, 1] + axes[2, 1], up[v] * axes[1, 2] + axes[2, 2]
        for u in range(len(right)):
            x, y, z = right[u] * axes[0, 0] + x0, right[u] * axes[0, 1] + y0, right[u] * axes[0, 2] + z0
            length = math.sqrt(x * x + y * y + z * z)
            rays[v, u, 0], rays[v, u, 1], rays[v, u, 2] = x / length, y / length, z / length


@njit(nogil=True, cache=True)
def _turn(longitude: Any) -> None:
    for n in range(len(longitude)):
        value = longitude[n]
        longitude[n] = value - 360.0 if value >= 180.0 else (value + 360.0 if value < -180.0 else value)
