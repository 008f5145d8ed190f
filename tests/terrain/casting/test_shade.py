import numpy as np
import pytest
from synthetic_terrain import (
    HOME,
    NO_CURVATURE,
    camera_at_home,
    clearance,
    grid_dem,
    jacksboro,
    jacksboro_caster,
)

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.casting.shade import LIFT, shadowed


@pytest.mark.parametrize("sun_elevation", [0.3, 0.6])
def test_the_shadow_of_a_wall_is_as_long_as_its_height_over_the_tangent(sun_elevation):
    top = 50.0
    dem = grid_dem(lambda e, n: np.where(n == 100, top, 0.0), spacing=10.0, posts=101)
    caster = RayCaster(dem, NO_CURVATURE)
    hits = caster.cast(camera_at_home(400.0, pitch=-np.pi / 2, horizontal_fov=1.0, width=61, height=61))
    north = (50 - hits.pixel()[1]) * 10.0
    flat = np.abs(hits.elevation) < 1e-3  # it follows from a length in single precision
    shade = shadowed(caster, hits, 0.0, sun_elevation)  # the sun stands in the north
    length = (top - LIFT) / np.tan(sun_elevation)
    behind = (north < 89.9) & (north > 100 - length + 0.1) & flat
    clear = ((north < 100 - length - 0.1) | (north > 110.1)) & flat
    assert behind.sum() > 100
    assert clear.sum() > 100
    assert shade[behind].all()
    assert not shade[clear].any()


def test_a_sun_overhead_casts_no_shade_and_the_sky_has_none():
    caster = jacksboro_caster()
    hits = caster.cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, 0.0, 0.0, 1.0, 60, 45))
    assert not shadowed(caster, hits, 1.0, np.pi / 2 - 1e-3).any()
    low = shadowed(caster, hits, 1.0, 0.02)
    assert 0.05 < low[~hits.sky].mean() < 1.0
    assert not low[hits.sky].any()


@pytest.mark.parametrize("azimuth", [0.8, 4.5])
def test_shade_of_real_terrain_is_what_a_marcher_finds(azimuth):
    caster, sun = jacksboro_caster(), 0.12
    hits = caster.cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, -0.1, 0.0, 1.0, 60, 45))
    dark = shadowed(caster, hits, azimuth, sun)
    points = np.argwhere((hits.ground_distance > 0) & (hits.ground_distance < 8000))
    chosen = points[np.random.default_rng(5).choice(len(points), 60, replace=False)]
    results = []
    for pixel in map(tuple, chosen):
        lon, lat = (float(a) for a in jacksboro().position_of(hits.pixel()[0][pixel], hits.pixel()[1][pixel]))
        stand = Camera(lon, lat, float(hits.elevation[pixel]) + LIFT, 0.0, 0.0, 0.0, 1.0, 1, 1)
        above = clearance(caster, stand, azimuth, sun, np.arange(3.0, 8000.0, 3.0)).max()
        if not -0.2 < above < 2.0:  # the edge of the shade moves a little with the direction of the sun
            results.append((above > 0, bool(dark[pixel])))
    assert len(results) > 50
    assert {expected for expected, _ in results} == {True, False}
    assert all(expected == found for expected, found in results)


def test_home_is_lit_on_a_plain():
    caster = RayCaster(grid_dem(lambda e, n: 0 * e))
    hits = caster.cast(Camera(*HOME, 10.0, 0.0, 0.0, 0.0, 1.0, 30, 20))
    assert not shadowed(caster, hits, 2.0, 0.05).any()
