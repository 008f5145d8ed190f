"""Places of hits against the same formulas in plain Python, with library functions."""

import math

import numpy as np
import pytest
from synthetic_terrain import HOME

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.positions import SERIES_REACH, measure, ray_directions, turn_longitudes


def plain(camera, length, ray, k):
    """Ground distance, elevation, east and north of one hit."""
    meridional, transverse = (float(radius) for radius in radii_of_curvature(camera.latitude))
    azimuth, angle = math.atan2(ray[0], ray[1]), math.atan2(ray[2], math.hypot(ray[0], ray[1]))
    radius = 1 / ((math.cos(azimuth) ** 2 / meridional + math.sin(azimuth) ** 2 / transverse) * (1 - k))
    outward, upward = length * math.cos(angle), radius + camera.elevation + length * math.sin(angle)
    ground = radius * math.atan2(outward, upward)
    return ground, math.hypot(outward, upward) - radius, ground * math.sin(azimuth), ground * math.cos(azimuth)


@pytest.mark.parametrize("farthest", [300.0, 100_000.0, 0.999 * SERIES_REACH, 3_000_000.0])
@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (-0.4, 0.3), (-math.pi / 2, 0.0)])
def test_places_follow_from_the_circle_of_the_ray(farthest, pitch, roll):
    camera, k = Camera(*HOME, 1500.0, 2.5, pitch, roll, 1.2, 13, 11), 0.13
    distance = np.random.default_rng(0).uniform(1.0, farthest, (11, 13)).astype(np.float32)
    distance[0, 0], distance[3, 5] = np.float32(farthest), -1.0
    measured = measure(camera, distance, k)
    rays = camera.ray_directions()
    for pixel in np.ndindex(distance.shape):
        found = [values[pixel] for values in measured]
        if distance[pixel] < 0:
            np.testing.assert_array_equal(found, [-1.0, np.nan, np.nan, np.nan])
        else:
            expected = plain(camera, float(distance[pixel]), rays[pixel], k)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-8)


def test_rays_are_those_of_the_camera_in_single_precision():
    camera = Camera(*HOME, 1500.0, 2.5, -0.3, 0.2, 1.2, 40, 30)
    np.testing.assert_allclose(ray_directions(camera), camera.ray_directions(), atol=6e-8)
    assert ray_directions(camera).dtype == np.float32


def test_longitudes_are_turned_into_their_range():
    longitude = np.array([-180.0, -180.5, 179.9, 180.0, 200.0, np.nan])
    turn_longitudes(longitude)
    np.testing.assert_allclose(longitude, [-180.0, 179.5, 179.9, -180.0, -160.0, np.nan])
