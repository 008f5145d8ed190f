"""Cast shade: which of the points a camera sees are hidden from the sun."""

import math

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.casting.kernels.shade import cast_shade
from crosslocate.terrain.casting.raycast import Hits, RayCaster

LIFT = 0.5
"""Metres by which points are raised before looking at the sun."""


def shadowed(caster: RayCaster, hits: Hits, sun_azimuth: float, sun_elevation: float) -> NDArray[np.bool_]:
    """Points of terrain that other terrain hides from the sun, bool ``[H, W]``; false in the sky.

    Slopes that face away from the sun are not marked for that reason: shading (the cosine to the normal) does it.
    Light travels along straight lines of the raster in the direction the sun has at the camera. At a point 30 km away
    the true direction differs by less than half a degree (convergence of the meridians below 60 degrees of latitude).

    Args:
        caster: The caster that made the hits.
        hits: What the camera sees.
        sun_azimuth: Radians clockwise from true north.
        sun_elevation: Radians above the horizontal plane.
    """
    camera = hits.camera
    eye = caster.eye(camera.longitude, camera.latitude, camera.elevation, camera.focal_length)
    dark = np.zeros(hits.distance.shape, np.bool_)
    pixels = [hits.pixel(layer) for layer in range(len(hits.terrain.layers))]
    columns, rows = (np.stack([pixel[axis].ravel() for pixel in pixels]) for axis in (0, 1))
    slope, elevation = math.tan(sun_elevation), hits.elevation.ravel()
    cast_shade(caster.ground, eye, float(sun_azimuth), slope, LIFT, columns, rows, elevation, dark.reshape(-1))
    return dark
