"""A simulated photograph of what a camera sees, from the hits of its rays."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.casting.positions import ray_directions
from crosslocate.terrain.imagery.appearance import Appearance
from crosslocate.terrain.imagery.relief import Ground
from crosslocate.terrain.imagery.sensor import develop
from crosslocate.terrain.imagery.shading import radiance


def shaded_ground(hits: Hits, ground: Ground) -> NDArray[np.float32]:
    """What shading needs of the ground: position, rise and elevation, 0 in the sky, float32 ``[H, W, 5]``."""
    found = np.zeros((*hits.distance.shape, 5), np.float32)
    found[..., :2], found[..., 2], found[..., 3] = ground.place, ground.east, ground.north
    np.copyto(found[..., 4], hits.elevation, where=~hits.sky, casting="same_kind")
    return found


def photo(
    hits: Hits,
    ground: Ground,
    segments: NDArray[np.uint8],
    sunlit: NDArray[np.bool_],
    look: Appearance,
) -> NDArray[np.uint8]:
    """The 8-bit RGB photograph [H, W, 3], before JPEG compression (``look.jpeg_quality`` is for the encoder).

    The picture is a pure function of the arguments: the same view and appearance give the same bytes.

    Args:
        hits: What the camera sees.
        ground: The ground there.
        segments: Class of the ground at each hit, [H, W].
        sunlit: False where other terrain hides the sun, [H, W].
        look: Weather, light, season, and the properties of the camera.
    """
    light = radiance(
        look,
        ray_directions(hits.camera),
        hits.distance,
        shaded_ground(hits, ground),
        segments,
        sunlit,
        1.0 / hits.camera.focal_length,
    )
    return develop(light, look)
