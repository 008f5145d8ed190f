"""Normals of the terrain, smooth across cells."""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.imagery.relief import Ground


def surface_normals(hits: Hits, ground: Ground) -> NDArray[np.float32]:
    """Unit normals at the hits, float32 ``[H, W, 3]``, in the east-north-up frame OF THE HIT; NaN in the sky.

    So the same slope has the same normal whoever looks at it: the third component is the cosine of its steepness, the
    first two tell its aspect. The frame is turned against the camera's by the angle between their verticals, 0.27
    degrees at 30 km.
    """
    normals = np.empty((*hits.distance.shape, 3), np.float32)
    _fill_normals(hits.distance, ground.east, ground.north, normals)
    return normals


def normal_colours(normals: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Normals as colours: red east, green north, blue up, each 255 (n + 1) / 2; black in the sky, RGB ``[H, W, 3]``."""
    colours = np.empty(normals.shape, np.uint8)
    _fill_colours(np.ascontiguousarray(normals, np.float32).reshape(-1), colours.reshape(-1))
    return colours


def colours_to_normals(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The normals that colours ``[H, W, 3]`` stand for, of unit length, to half a degree; NaN in the sky."""
    normals = colours.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[(colours == 0).all(axis=-1)] = np.nan
    return normals


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_normals(distance: Any, east: Any, north: Any, normals: Any) -> None:
    height, width = distance.shape
    for v in range(height):
        for u in range(width):
            x, y = -np.float64(east[v, u]), -np.float64(north[v, u])
            up = math.nan if distance[v, u] < 0 else 1.0
            length = math.sqrt(x * x + y * y + up)  # up squared is up
            normals[v, u, 0], normals[v, u, 1], normals[v, u, 2] = x / length, y / length, up / length


@njit(nogil=True, cache=True)
def _fill_colours(normals: Any, colours: Any) -> None:
    for n in range(len(normals)):
        value = np.rint(np.float32(127.5) * (normals[n] + np.float32(1.0)))
        colours[n] = np.uint8(value if value >= 0 else np.float32(0))
