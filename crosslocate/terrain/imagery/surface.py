"""Normals of the terrain, smooth across cells."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.imagery.relief import Ground


def surface_normals(hits: Hits, ground: Ground) -> NDArray[np.float32]:
    """Unit normals at the hits, float32 ``[H, W, 3]``, in the east-north-up frame OF THE HIT; NaN in the sky.

    So the same slope has the same normal whoever looks at it: the third component is the cosine of its steepness, the
    first two tell its aspect. The frame is turned against the camera's by the angle between their verticals, 0.27
    degrees at 30 km.
    """
    normals = np.stack([-ground.east, -ground.north, np.where(hits.sky, np.nan, 1.0)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals.astype(np.float32)


def normal_colours(normals: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Normals as colours: red east, green north, blue up, each 255 (n + 1) / 2; black in the sky, RGB ``[H, W, 3]``."""
    return np.round(np.nan_to_num(127.5 * (normals + 1.0), nan=0.0)).astype(np.uint8)


def colours_to_normals(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The normals that colours ``[H, W, 3]`` stand for, of unit length, to half a degree; NaN in the sky."""
    normals = colours.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[(colours == 0).all(axis=-1)] = np.nan
    return normals
