"""The ray caster against an independent marcher, its two paths against each other, its limits and its errors."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_terrain import (
    HOME,
    NO_CURVATURE,
    camera_at_home,
    clearance,
    grid_dem,
    jacksboro,
    jacksboro_caster,
)

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem

TOUCH = 2e-3
"""Metres by which a ray may brush terrain that is not counted as hit (single precision posts of 1000 m: 6e-5)."""


def assert_first_hit(caster, camera, hits, pixel, step, reach):
    """No terrain above the ray before the hit, terrain at the ray's height at the hit."""
    azimuth, angle = (float(a[pixel]) for a in camera.ray_angles())
    ground = float(hits.ground_distance[pixel])
    before = np.arange(step / 2, ground * (1 - 1e-6) if ground > 0 else reach, step)
    if len(before):
        assert clearance(caster, camera, azimuth, angle, before).max() < TOUCH
    if ground > 0:
        around = clearance(caster, camera, azimuth, angle, ground + np.array([-0.01, 0.0, 0.01]))
        out_of_void = around[0] == -np.inf and around[2] > 0
        assert out_of_void or abs(around[1]) < TOUCH * (1 + abs(np.tan(angle)))


@pytest.mark.parametrize("seed", range(6))
def test_no_pixel_misses_or_overshoots_real_terrain(seed):
    rng = np.random.default_rng(seed)
    caster = jacksboro_caster()
    lon, lat = rng.uniform(-84.38, -84.1), rng.uniform(36.19, 36.42)
    pitch, roll = (0.0, 0.0) if seed % 2 else (rng.uniform(-0.3, 0.1), rng.uniform(-0.2, 0.2))
    eye = float(caster.terrain.layers[0].elevation_at(lon, lat)) + rng.uniform(2, 60)
    camera = Camera(lon, lat, eye, rng.uniform(0, 7), pitch, roll, rng.uniform(0.4, 1.5), 60, 44)
    hits = caster.cast(camera)
    for _ in range(12):
        pixel = int(rng.integers(44)), int(rng.integers(60))
        assert_first_hit(caster, camera, hits, pixel, step=4.0, reach=33_000.0)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rough=st.floats(0.0, 60.0),
    pitch=st.one_of(st.just(0.0), st.floats(-1.5, 1.0)),
    refraction=st.sampled_from([0.0, 0.13]),
)
def test_no_pixel_misses_or_overshoots_rough_terrain_with_voids(seed, rough, pitch, refraction):
    rng = np.random.default_rng(seed)
    posts = rng.normal(0, rough, (25, 25)).astype(np.float32)
    posts[rng.random((25, 25)) < 0.03] = np.nan
    posts[11:14, 11:14] = np.minimum(np.nan_to_num(posts[11:14, 11:14]), 30)
    flat = grid_dem(lambda e, n: 0 * e, spacing=40.0, posts=25)
    caster = RayCaster(Dem(posts, flat.transform, flat.crs), refraction)
    camera = camera_at_home(31.0, yaw=float(rng.uniform(0, 7)), pitch=pitch, horizontal_fov=1.2, width=9, height=7)
    hits = caster.cast(camera)
    for row in range(7):
        for column in range(0, 9, 2):
            assert_first_hit(caster, camera, hits, (row, column), step=1.3, reach=700.0)


@pytest.mark.parametrize(("seed", "width", "height"), [(0, 100, 80), (1, 100, 80), (2, 100, 80), (3, 20, 1100)])
def test_both_paths_give_the_same_picture(seed, width, height):
    rng = np.random.default_rng(seed)
    caster = jacksboro_caster()
    lon, lat = rng.uniform(-84.38, -84.1), rng.uniform(36.19, 36.42)
    pose = lon, lat, float(caster.terrain.layers[0].elevation_at(lon, lat)) + 5, rng.uniform(0, 7)
    by_column = caster.cast(Camera(*pose, 0.0, 0.0, width / 100, width, height))
    by_ray = caster.cast(Camera(*pose, 1e-13, 0.0, width / 100, width, height))
    for name in ("distance", "ground_distance", "elevation"):
        one, other = getattr(by_column, name), getattr(by_ray, name)
        close = np.isclose(one, other, rtol=1e-4, equal_nan=True)  # tracks are straight in a cell to 1 mm
        assert close.mean() > 0.9995, name  # rays that touch a ridge may fall on either side of it


def test_a_small_turn_moves_the_picture_by_its_angle():
    caster = jacksboro_caster()
    camera = Camera(-84.2306, 36.1983, 1100.0, 1.0, 0.0, 0.0, 1.0, 101, 75)
    pixel = 1 / camera.focal_length
    straight = caster.cast(camera)
    up = caster.cast(Camera(-84.2306, 36.1983, 1100.0, 1.0, float(np.arctan(pixel)), 0.0, 1.0, 101, 75))
    # on the axis a pitch of one pixel moves rows by one
    np.testing.assert_allclose(up.distance[38, 50], straight.distance[37, 50], rtol=1e-4)


def test_nothing_is_seen_beyond_the_maximum_distance():
    lon, lat = -84.2306, 36.1983
    far = jacksboro_caster().cast(Camera(lon, lat, 1100.0, 1.0, 0.0, 0.0, 1.0, 60, 40))
    near = RayCaster(jacksboro(), max_distance=5000.0).cast(far.camera)
    assert near.ground_distance.max() <= 5000.0 < far.ground_distance.max()
    both = far.ground_distance <= 4999.0
    np.testing.assert_allclose(near.distance[both & ~far.sky], far.distance[both & ~far.sky], rtol=3e-7)
    assert near.sky[far.ground_distance > 5001].all()


def test_the_border_of_the_model_is_the_end_of_the_world():
    caster = RayCaster(grid_dem(lambda e, n: 0 * e, spacing=10.0, posts=41), NO_CURVATURE)
    hits = caster.cast(camera_at_home(10.0, horizontal_fov=0.002, height=201, width=3))
    last = hits.ground_distance[:, 1].max()
    assert 190 < last <= 200


def test_rays_pass_through_voids():
    posts = np.zeros((41, 41), np.float32)
    posts[10:15, 15:26] = np.nan
    flat = grid_dem(lambda e, n: 0 * e, spacing=10.0, posts=41)
    caster = RayCaster(Dem(posts, flat.transform, flat.crs), NO_CURVATURE)
    hits = caster.cast(camera_at_home(10.0, horizontal_fov=0.3, height=101, width=3))
    seen = hits.ground_distance[:, 1]
    assert not ((seen > 50.1) & (seen < 109.9)).any()
    assert ((seen > 110) & (seen < 200)).any()


def test_looking_straight_down():
    caster = RayCaster(grid_dem(lambda e, n: 0.1 * e), NO_CURVATURE)
    hits = caster.cast(camera_at_home(50.0, pitch=-np.pi / 2, horizontal_fov=0.1))
    assert hits.distance[15, 20] == pytest.approx(50.0, rel=1e-5)
    assert hits.ground_distance[15, 20] < 1e-3
    assert not hits.sky.any()


def test_a_caster_is_the_same_after_pickling_and_in_threads():
    caster = RayCaster(jacksboro(), max_distance=20_000.0)
    cameras = [Camera(-84.2306, 36.1983, 1100.0, yaw, 0.0, 0.1, 1.0, 30, 20) for yaw in range(6)]
    one_by_one = [caster.cast(camera).distance for camera in cameras]
    again = pickle.loads(pickle.dumps(caster))
    with ThreadPoolExecutor(2) as pool:
        for before, after in zip(one_by_one, pool.map(again.cast, cameras), strict=True):
            np.testing.assert_array_equal(before, after.distance)


def test_a_view_across_the_antimeridian():
    posts = np.zeros((201, 201), np.float32)
    posts[:, 150] = 500.0
    caster = RayCaster(Dem(posts, Affine(0.001, 0, 179.9, 0, -0.001, 10.0), WGS84_CRS))
    hits = caster.cast(Camera(179.99, 9.9, 100.0, np.pi / 2, 0.0, 0.0, 0.5, 21, 15))
    assert hits.pixel()[0][7, 10] == pytest.approx(149.2, abs=0.1)  # 100 m up the wall of 500 m
    west = caster.cast(Camera(-179.99, 9.9, 100.0, np.pi / 2, 0.0, 0.0, 0.5, 21, 15))
    assert west.distance[7, 10] == pytest.approx(
        hits.distance[7, 10] - 0.02 * np.cos(np.radians(9.9)) * 111_320, rel=2e-3
    )


def test_cameras_that_cannot_stand_are_refused():
    dem = jacksboro()
    posts = dem.elevation.copy()
    posts[100, 100] = np.nan
    caster = RayCaster(Dem(posts, dem.transform, dem.crs))

    def cast_at(lon, lat, elevation):
        return caster.cast(Camera(lon, lat, elevation, 0.0, 0.0, 0.0, 1.0, 8, 6))

    with pytest.raises(TerrainError, match=r"\(10\.000000, 47\.000000\).*outside.*longitude -84\.4133 to -84\.0783"):
        cast_at(10.0, 47.0, 500.0)
    lon, lat = (float(a) for a in dem.position_of(100.2, 99.9))
    with pytest.raises(TerrainError, match="void"):
        cast_at(lon, lat, 5000.0)
    lon, lat = -84.2306, 36.1983
    ground = float(dem.elevation_at(lon, lat))
    with pytest.raises(
        TerrainError, match=rf"elevation {ground - 1:.2f} m, is not above the terrain there: {ground:.2f} m"
    ):
        cast_at(lon, lat, ground - 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refraction": 1.0}, "refraction is 1.0"),
        ({"refraction": -0.1}, "refraction is -0.1"),
        ({"max_distance": 0.0}, "max_distance is 0.0"),
        ({"max_distance": np.nan}, "max_distance is nan"),
        ({"surface": "smooth"}, "surface is 'smooth'; allowed: bilinear, triangles"),
        ({"detail": 0.0}, "detail is 0.0 posts per pixel"),
    ],
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(TerrainError, match=message):
        RayCaster(jacksboro(), **arguments)


def test_home_is_the_central_post():
    dem = grid_dem(lambda e, n: e + 2 * n)
    assert dem.pixel_of(*HOME) == pytest.approx((100, 100))
    assert dem.elevation_at(*HOME) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("pitch", [0.0, -0.05])
def test_stepping_over_blocks_changes_nothing(pitch):
    caster = jacksboro_caster()
    plodding = RayCaster(jacksboro())
    plodding.ground = plodding.ground._replace(tops=np.full_like(plodding.ground.tops, 9000.0))  # visits every cell
    for lon, lat, yaw in ((-84.2306, 36.1983, 0.5), (-84.15, 36.33, 4.0)):
        camera = Camera(lon, lat, float(jacksboro().elevation_at(lon, lat)) + 4, yaw, pitch, 0.0, 1.2, 120, 90)
        fast, slow = caster.cast(camera), plodding.cast(camera)
        np.testing.assert_array_equal(fast.sky, slow.sky)
        np.testing.assert_allclose(fast.ground_distance, slow.ground_distance, rtol=1e-4)
