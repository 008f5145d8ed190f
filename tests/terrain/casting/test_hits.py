"""Where hits lie on the earth, against exact geodesics."""

import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import HOME, camera_at_home, grid_dem, jacksboro_caster

from crosslocate.geo import destination, geodesic_distance
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain


@pytest.mark.parametrize(
    ("longitude", "latitude", "reach"),
    [(11.0, 47.0, 100_000.0), (179.95, -20.0, 60_000.0), (30.0, 84.0, 60_000.0), (30.0, 89.5, 20_000.0)],
)
def test_positions_are_those_of_geodesics_to_a_centimetre(longitude, latitude, reach):
    plain = Dem(
        np.zeros((41, 41), np.float32), Affine(5000, 0, -100_000, 0, -5000, 100_000), local_crs(longitude, latitude)
    )
    hits = RayCaster(plain, max_distance=reach).cast(Camera(longitude, latitude, 400.0, 0.7, -0.03, 0.1, 1.0, 60, 40))
    seen = ~hits.sky
    assert hits.ground_distance.max() > 0.4 * min(reach, 75_000)
    lon, lat = destination(longitude, latitude, hits.azimuth[seen], hits.ground_distance[seen])
    assert geodesic_distance(lon, lat, hits.longitude[seen], hits.latitude[seen]).max() < 0.01
    assert (np.abs(hits.longitude[seen]) <= 180).all()
    assert np.isnan(hits.longitude[~seen]).all()
    np.testing.assert_allclose(np.hypot(hits.east, hits.north)[seen], hits.ground_distance[seen], rtol=1e-12)


def local_crs(longitude, latitude):
    return f"+proj=aeqd +lon_0={longitude} +lat_0={latitude} +datum=WGS84 +units=m"


def test_pixels_are_those_of_the_positions():
    hits = jacksboro_caster().cast(Camera(-84.2306, 36.1983, 1100.0, 1.0, -0.1, 0.0, 1.0, 50, 40))
    column, row = hits.pixel()
    there = hits.terrain.layers[0].pixel_of(hits.longitude, hits.latitude)
    np.testing.assert_allclose(np.stack([column, row]), np.stack(there), atol=2e-4)
    assert set(np.unique(hits.layer)) == {-1, 0}
    assert ((hits.layer == -1) == hits.sky).all()


def test_the_layer_seen_is_the_first_that_covers_the_place():
    fine, coarse = grid_dem(lambda e, n: 0 * e, 10.0, 41), grid_dem(lambda e, n: 0 * e, 40.0, 101)
    hits = RayCaster(Terrain.of(fine, coarse)).cast(camera_at_home(50.0, pitch=-0.2))
    inside = np.maximum(np.abs(hits.east), np.abs(hits.north)) < 200
    np.testing.assert_array_equal(hits.layer, np.where(hits.sky, -1, np.where(inside, 0, 1)))
    assert set(np.unique(hits.layer)) == {-1, 0, 1}


def test_straight_down_is_under_the_camera():
    hits = RayCaster(grid_dem(lambda e, n: 0 * e, 10.0, 41)).cast(camera_at_home(50.0, pitch=-np.pi / 2))
    assert geodesic_distance(*HOME, hits.longitude[15, 20], hits.latitude[15, 20]) < 0.01
