"""A simulated photograph of what a camera sees, from the hits of its rays."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import Hits
from crosslocate.terrain.imagery.appearance import Appearance
from crosslocate.terrain.imagery.relief import Relief
from crosslocate.terrain.imagery.sensor import develop
from crosslocate.terrain.imagery.shading import radiance


def photo(
    relief: Relief,
    camera: Camera,
    hits: Hits,
    segments: NDArray[np.uint8],
    sunlit: NDArray[np.bool_],
    look: Appearance,
) -> NDArray[np.uint8]:
    """The 8-bit RGB photograph [H, W, 3], before JPEG compression (``look.jpeg_quality`` is for the encoder).

    The picture is a pure function of the arguments: the same view and appearance give the same bytes.

    Args:
        relief: Slopes of the terrain that was hit.
        camera: The camera.
        hits: Its hits.
        segments: Class of the ground at each hit, [H, W].
        sunlit: False where other terrain hides the sun, [H, W].
        look: Weather, light, season, and the properties of the camera.
    """
    light = radiance(
        look,
        camera.ray_directions().astype(np.float32),
        hits.distance,
        relief.ground(*hits.pixel()),
        segments,
        sunlit,
        1.0 / camera.focal_length,
    )
    return develop(light, look)
