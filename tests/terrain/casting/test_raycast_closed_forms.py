"""The ray caster against terrains whose views are known in closed form."""

import numpy as np
import pytest
from synthetic_terrain import (
    HOME,
    NO_CURVATURE,
    camera_at_home,
    dem_in,
    effective_radius,
    grid_dem,
    jacksboro_caster,
)

from crosslocate.geo import destination, geodesic_distance, wgs84
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Affine
from crosslocate.terrain.imagery.modalities import axial_depth

POSES = [(0.0, 0.0), (-0.2, 0.0), (-0.1, 0.3), (0.15, -2.0), (-np.pi / 2, 0.0)]


@pytest.mark.parametrize(("pitch", "roll"), POSES)
def test_tilted_plane_is_exact(pitch, roll):
    a, b = 0.11, -0.07
    caster = RayCaster(grid_dem(lambda e, n: a * e + b * n), refraction=NO_CURVATURE)
    camera = camera_at_home(12.0, yaw=0.7, pitch=pitch, roll=roll)
    rays = camera.ray_directions()
    with np.errstate(divide="ignore"):
        expected = 12.0 / (a * rays[..., 0] + b * rays[..., 1] - rays[..., 2])
    reach = expected * np.abs(rays[..., :2]).max(-1)
    hits = caster.cast(camera)
    assert (hits.sky | (expected > 0)).all()
    inside = (expected > 0) & (reach < 2990)
    assert inside.any()
    np.testing.assert_allclose(hits.distance[inside], expected[inside], rtol=2e-6)
    np.testing.assert_allclose(
        hits.ground_distance[inside], (expected * np.hypot(rays[..., 0], rays[..., 1]))[inside], rtol=2e-6, atol=1e-4
    )


def test_axial_depth_of_a_wall_square_to_the_axis_is_constant():
    caster = RayCaster(grid_dem(lambda e, n: np.where(n >= 300, 400.0, 0.0), spacing=1.0, posts=801), NO_CURVATURE)
    camera = camera_at_home(200.0, horizontal_fov=np.radians(40))
    hits = caster.cast(camera)
    wall = (hits.elevation > 1) & (hits.elevation < 399)
    assert wall.sum() > 400
    expected = 299.0 + hits.elevation[wall] / 400.0  # the wall climbs within one cell of 1 m
    np.testing.assert_allclose(axial_depth(hits)[wall], expected, rtol=2e-6)
    assert (axial_depth(hits)[hits.sky] == -1).all()


@pytest.mark.parametrize("refraction", [0.0, 0.13])
@pytest.mark.parametrize("pitch", [0.0, -0.01])
def test_sphere_seen_from_above(refraction, pitch):
    caster = RayCaster(grid_dem(lambda e, n: 0 * e, spacing=500.0, posts=221), refraction)
    height = 150.0
    camera = camera_at_home(height, pitch=pitch, yaw=0.4, horizontal_fov=0.05, width=21, height=81)
    hits = caster.cast(camera)
    azimuth, angle = camera.ray_angles()
    radius = np.vectorize(lambda a: effective_radius(caster, HOME[1], a))(azimuth)
    # intersection of the ray with the circle: t^2 + 2 t (R + c) sin(e) + (R + c)^2 - R^2 = 0
    half = (radius + height) * np.sin(angle)
    discriminant = half**2 - height * (2 * radius + height)
    sees = (discriminant > 0) & (angle < 0)
    np.testing.assert_array_equal(~hits.sky, sees)
    expected = -half[sees] - np.sqrt(discriminant[sees])
    np.testing.assert_allclose(hits.distance[sees], expected, rtol=1e-5)
    ground = radius[sees] * np.arcsin(expected * np.cos(angle[sees]) / radius[sees])
    np.testing.assert_allclose(hits.ground_distance[sees], ground, rtol=1e-5)


@pytest.mark.parametrize(("refraction", "rule"), [(0.0, 3.57), (0.13, 3.83)])
def test_horizon_dips_and_lies_where_the_textbook_says(refraction, rule):
    height = 100.0
    caster = RayCaster(grid_dem(lambda e, n: 0 * e, spacing=500.0, posts=221), refraction)
    radius = effective_radius(caster, HOME[1], 0.0)
    dip = np.arccos(radius / (radius + height))
    camera = camera_at_home(height, pitch=-dip + 1e-6, horizontal_fov=3e-8, width=3, height=301)  # 1e-8 rad a pixel
    hits = caster.cast(camera)
    first = int(np.argmax(~hits.sky[:, 1]))
    assert -camera.ray_angles()[1][first, 1] == pytest.approx(dip, abs=3e-8)
    horizon = hits.ground_distance[first, 1]
    assert horizon == pytest.approx(radius * dip, rel=0.015)  # a ray 1e-8 below the horizon ends 400 m before it
    assert horizon / 1000 == pytest.approx(rule * np.sqrt(height), rel=0.02)  # the textbook's 3.57 km sqrt(h)


def pyramid_surface(apex, slope, at):
    return lambda e, n: np.maximum(0.0, apex - slope * np.maximum(np.abs(e), np.abs(n - at)))


@pytest.mark.parametrize("roll", [0.0, 1e-9])
def test_square_pyramid(roll):
    apex, slope, at = 600.0, 0.8, 1500.0
    caster = RayCaster(grid_dem(pyramid_surface(apex, slope, at)), NO_CURVATURE)
    camera = camera_at_home(100.0, roll=roll, width=201, height=151)
    hits = caster.cast(camera)
    east, north, up = np.moveaxis(camera.ray_directions(), -1, 0)
    # near face: z = apex - slope (at - n)
    face = (100.0 - apex + slope * at) / (slope * north - up)
    e, n, z = face * east, face * north, 100.0 + face * up
    on_face = (np.abs(e) < at - n - 30) & (z > 0) & (face > 0)
    assert on_face.sum() > 500
    np.testing.assert_allclose(hits.distance[on_face], face[on_face], rtol=2e-6)
    middle = camera.width // 2
    top_row = int(np.argmax(~hits.sky[:, middle]))
    angle = camera.ray_angles()[1][top_row, middle]
    assert np.arctan2(apex - 100.0, at) - angle == pytest.approx(
        0.5 / camera.focal_length, abs=0.5 / camera.focal_length
    )


@pytest.mark.parametrize("roll", [0.0, 1e-9])
def test_wall_hides_what_is_behind_it(roll):
    top, at = 80.0, 1000.0
    caster = RayCaster(grid_dem(lambda e, n: np.where(n == at, top, 0.0), spacing=10.0, posts=401), NO_CURVATURE)
    camera = camera_at_home(20.0, roll=roll, width=101, height=101, horizontal_fov=0.3)
    hits = caster.cast(camera)
    _, north, up = np.moveaxis(camera.ray_directions(), -1, 0)
    climb = top / 10.0
    wall = (20.0 + climb * (at - 10.0)) / (climb * north - up)  # the face rises from (at - 10, 0) to (at, top)
    height_there = 20.0 + wall * up
    ground = np.divide(-20.0, up, out=np.zeros_like(up), where=up != 0)
    expected = np.where(height_there > 0, wall, ground)
    expected[height_there > top] = -1.0
    np.testing.assert_allclose(hits.distance, expected, rtol=2e-6)
    assert hits.sky.any()
    assert (height_there < 0).any()


def radial(e, n):
    r = np.hypot(e, n)
    return 300.0 * np.exp(-(((r - 1200.0) / 300.0) ** 2)) + 40.0 * np.cos(r / 90.0)


@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (0.1, 0.0), (0.05, 0.3)])
def test_radial_terrain_looks_the_same_after_quarter_turns(pitch, roll):
    caster = RayCaster(grid_dem(radial), NO_CURVATURE)
    views = [
        caster.cast(camera_at_home(120.0, yaw=0.3 + turn * np.pi / 2, pitch=pitch, roll=roll)).distance
        for turn in range(4)
    ]
    assert 0.1 < (views[0] < 0).mean() < 0.9
    for view in views[1:]:
        np.testing.assert_allclose(view, views[0], rtol=1e-5)


def test_opposite_rolls_mirror_a_radial_terrain():
    caster = RayCaster(grid_dem(radial), NO_CURVATURE)
    left = caster.cast(camera_at_home(120.0, pitch=0.1, roll=-0.25)).distance
    right = caster.cast(camera_at_home(120.0, pitch=0.1, roll=0.25)).distance
    np.testing.assert_allclose(left[:, ::-1], right, rtol=1e-5)


@pytest.mark.parametrize(
    ("crs", "transform", "shape"),
    [
        (WGS84_CRS, Affine(0.001, 0, 11.25, 0, -0.0007, 47.35), (240, 320)),
        ("EPSG:32632", Affine(60, 0, 671_000, 0, -60, 5_245_000), (320, 320)),
        ("EPSG:32633", Affine(60, 0, 217_000, 0, -60, 5_250_000), (400, 400)),
    ],
)
def test_a_peak_is_seen_at_its_geodesic_azimuth_in_every_crs(crs, transform, shape):
    azimuth, distance = np.radians(52.0), 9000.0
    e0, n0 = distance * np.sin(azimuth), distance * np.cos(azimuth)
    dem = dem_in(crs, transform, shape, lambda e, n: np.maximum(0.0, 1500.0 - np.hypot(e - e0, n - n0)))
    caster = RayCaster(dem, refraction=0.0)
    camera = Camera(*HOME, 300.0, azimuth, 0.0, 0.0, 0.4, 401, 401)
    hits = caster.cast(camera)
    skyline = np.argmax(~hits.sky, axis=0)
    peak = np.flatnonzero(skyline == skyline.min())
    assert abs(peak.mean() - 200) * 0.4 / 401 < np.radians(0.1)  # grid north is up to 2.6 degrees off
    row, column = skyline.min() + 1, int(peak.mean())
    lon, lat = dem.position_of(hits.pixel()[0][row, column], hits.pixel()[1][row, column])
    assert geodesic_distance(lon, lat, *destination(*HOME, azimuth, distance)) < 90.0
    assert hits.ground_distance[row, column] == pytest.approx(float(geodesic_distance(*HOME, lon, lat)), rel=1e-5)


def test_hits_lie_on_the_terrain_and_on_their_rays():
    caster = jacksboro_caster()
    lon, lat = -84.2306, 36.1983
    for pitch, roll in ((0.0, 0.0), (-0.05, 0.1)):
        camera = Camera(lon, lat, 1090.0, 2.0, pitch, roll, 1.0, 80, 60)
        hits = caster.cast(camera)
        seen = ~hits.sky
        assert 0.2 < seen.mean() < 0.9
        azimuth, angle = (a[seen] for a in camera.ray_angles())
        points = wgs84().fwd(
            np.full(seen.sum(), lon), np.full(seen.sum(), lat), np.degrees(azimuth), hits.ground_distance[seen]
        )
        column, row = caster.terrain.layers[0].pixel_of(*points[:2])
        np.testing.assert_allclose(hits.pixel()[0][seen], column, atol=1e-4)
        np.testing.assert_allclose(hits.pixel()[1][seen], row, atol=1e-4)
        np.testing.assert_allclose(hits.elevation[seen], caster.terrain.layers[0].elevation_at(*points[:2]), atol=2e-3)
        radius = np.array([effective_radius(caster, lat, a) for a in azimuth])
        t = hits.ground_distance[seen] / radius
        across, outward = (radius + hits.elevation[seen]) * np.sin(t), (radius + hits.elevation[seen]) * np.cos(t)
        np.testing.assert_allclose(np.hypot(across, outward - radius - 1090.0), hits.distance[seen], rtol=1e-6)
        np.testing.assert_allclose(np.arctan2(outward - radius - 1090.0, across), angle, atol=2e-6)
