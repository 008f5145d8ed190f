"""National systems: one coordinate operation for all of a raster, in both directions."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer

from crosslocate.geo import geodesic_distance
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.datum import WGS84_CRS, operation_around
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.describe import describe_terrain
from crosslocate.terrain.elevation.grid import Grid
from crosslocate.terrain.elevation.terrain import Terrain

PLACES = {
    "Italy, Aosta": ("EPSG:3003", 7.2, 45.8),
    "Italy, beyond its border": ("EPSG:3003", 6.6, 45.8),
    "Czechia and Slovakia": ("EPSG:5514", 18.5, 49.5),
    "Austria, western end": ("EPSG:31287", 9.7, 47.1),
    "Switzerland": ("EPSG:2056", 7.0, 46.0),
}


def grid_around(place, spacing=100.0, posts=2001):
    crs, lon, lat = PLACES[place]
    x, y = Transformer.from_crs(WGS84_CRS, crs, always_xy=True).transform(lon, lat)
    half = spacing * (posts - 1) / 2
    return Grid(Affine(spacing, 0, x - half, 0, -spacing, y + half), crs, posts, posts)


@pytest.mark.parametrize("place", PLACES)
def test_a_raster_has_no_steps_and_leads_back(place):
    grid = grid_around(place)
    column, row = np.meshgrid(np.arange(0.0, 2001, 25), np.arange(0.0, 2001, 25))
    lon, lat = grid.position_of(column, row)
    back = grid.pixel_of(lon, lat)
    assert np.hypot(back[0] - column, back[1] - row).max() * 100.0 < 1e-3
    for axis in (0, 1):  # second differences of distances: a step of a metre would show
        first, second = (np.moveaxis(values, axis, 0) for values in (lon, lat))
        away = geodesic_distance(first[:-1], second[:-1], first[1:], second[1:])
        assert np.abs(np.diff(away, axis=0)).max() < 0.5


@pytest.mark.parametrize("place", ["Italy, Aosta", "Italy, beyond its border", "Czechia and Slovakia"])
def test_rays_are_followed_to_100_km(place):
    _, lon, lat = PLACES[place]
    grid = grid_around(place, 10.0, 501)
    fine = Dem(np.full(grid.shape, 1000, np.float32), grid.transform, grid.crs)
    posts = np.full((1000, 1000), 1000, np.float32)
    coarse = Dem(posts, Affine(0.003, 0, lon - 1.5, 0, -0.003, lat + 1.5), WGS84_CRS)
    for elevation in (fine, Terrain.of(fine, coarse)):
        hits = RayCaster(elevation, max_distance=100_000.0).cast(Camera(lon, lat, 1100.0, 1.0, 0.0, 0.0, 1.0, 30, 21))
        assert (~hits.sky[-5:]).all()


def test_italian_operation_holds_beyond_its_area():
    # Monte Mario to WGS 84 (4), EPSG:1660: a difference of 80 m to none at all
    operation = operation_around("EPSG:3003", 1_313_486.8, 5_074_723.4)
    assert "Monte Mario to WGS 84 (4)" in operation.name
    assert operation.accuracy == 4.0
    lon, lat = operation.backward(1_313_486.8, 5_074_723.4)
    unshifted = Transformer.from_crs("EPSG:3003", "EPSG:4265", always_xy=True).transform(1_313_486.8, 5_074_723.4)
    assert 60.0 < geodesic_distance(lon, lat, *unshifted) < 100.0


def test_each_region_has_its_operation():
    names = {operation_around("EPSG:3003", *at).name for at in ((1_360_000.0, 5_073_000.0), (1_500_000.0, 4_428_000.0))}
    assert [any(f"WGS 84 ({n})" in name for name in names) for n in (4, 2)] == [True, True]  # the mainland, Sardinia


def test_inside_its_area_it_is_what_proj_chooses():
    operation = operation_around("EPSG:31287", 626_000.0, 483_000.0)
    exact = Transformer.from_crs("EPSG:31287", WGS84_CRS, always_xy=True).transform(626_000.0, 483_000.0)
    assert geodesic_distance(*operation.backward(626_000.0, 483_000.0), *exact) < 0.02


def test_a_summary_tells_which_operation_is_far_from_exact():
    for place, told in (("Italy, Aosta", True), ("Switzerland", False)):
        grid = grid_around(place, 10.0, 11)
        terrain = Terrain.of(Dem(np.zeros((11, 11), np.float32), grid.transform, grid.crs))
        lines = [line for line in describe_terrain(terrain).warnings() if "coordinate operation" in line]
        assert bool(lines) == told
        if told:
            assert "good to 4 m" in lines[0]
            assert "Monte Mario to WGS 84 (4)" in lines[0]
