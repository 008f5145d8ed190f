import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from synthetic_terrain import grid_dem, jacksboro

from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem, interpolate
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.imagery import water as module
from crosslocate.terrain.imagery.water import WaterMap, large_flats


def whole(dem, lake_area=60_000.0):
    """Water of all posts at once, the plain way."""
    posts, (rows, columns) = dem.elevation, dem.shape
    filled = np.nan_to_num(posts, nan=-1e6)
    spread = ndimage.maximum_filter(filled, 3) - ndimage.minimum_filter(filled, 3)
    flat = ndimage.binary_dilation((spread <= 0.05) & np.isfinite(posts), np.ones((3, 3))) & np.isfinite(posts)
    left = set(zip(*(axis.tolist() for axis in np.nonzero(flat)), strict=True))
    water = np.zeros(dem.shape, np.float32)
    while left:
        area, edge = set(), [left.pop()]
        while edge:
            i, j = edge.pop()
            area.add((i, j))
            for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if near in left and abs(posts[near] - posts[i, j]) <= 0.05:
                    left.remove(near)
                    edge.append(near)
        falls = [
            posts[i + a, j + b] < posts[i, j] - 0.05
            for i, j in area
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if 0 <= i + a < rows and 0 <= j + b < columns
            if (i + a, j + b) not in area and np.isfinite(posts[i + a, j + b])
        ]
        span = 1 + max(np.ptp([i for i, _ in area]), np.ptp([j for _, j in area]))
        large = len(area) * abs(np.linalg.det(module.metres_per_post(dem))) >= lake_area
        if large and (span >= module.SPAN or sum(falls) < 0.2 * max(len(falls), 1)):
            water[tuple(np.transpose(list(area)))] = 1.0
    return water


def posts_of(dem):
    row, column = np.indices(dem.shape)
    return column.ravel().astype(float), row.ravel().astype(float)


def lake(side):
    posts = np.random.default_rng(0).uniform(500, 510, (60, 60)).astype(np.float32)
    posts[10 : 10 + side, 10 : 10 + side] = 480.0
    return Dem(posts, Affine(1 / 1200, 0, 11.0, 0, -1 / 1200, 47.0), WGS84_CRS)


def test_level_areas_are_water_when_large_enough():
    wet = WaterMap(Terrain.of(lake(8))).at(0, *posts_of(lake(8))).reshape(60, 60)
    assert wet[10:18, 10:18].all()
    assert wet.sum() == 64
    assert not WaterMap(Terrain.of(lake(3))).at(0, *posts_of(lake(3))).any()  # 9 posts of about 92 x 63 m


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([4, 7, 16]), st.integers(1, 30), st.sampled_from([5, 9, 64]), st.booleans()
)
def test_blocks_find_what_a_look_at_everything_finds(seed, block, lake_posts, span, voids):
    """Plateaus of a rough grid: long winding flats cross many blocks."""
    rng = np.random.default_rng(seed)
    posts = ndimage.gaussian_filter(rng.normal(size=(25, 31)), 1.5).repeat(2, 0).repeat(2, 1)
    posts = np.round(posts * 12).astype(np.float32)
    if voids:
        posts[rng.random(posts.shape) < 0.01] = np.nan
    dem = Dem(posts, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")
    area = lake_posts * 100.0
    old = module.BLOCK, module.SPAN
    try:
        module.BLOCK, module.SPAN = block, span
        wet = WaterMap(Terrain.of(dem), lake_area=area).at(0, *posts_of(dem))
        expected = whole(dem, area).ravel() >= 0.5
    finally:
        module.BLOCK, module.SPAN = old
    np.testing.assert_array_equal(wet, expected)


def test_the_floor_of_a_valley_in_whole_metres_is_no_water():
    """A valley that falls by one metre in 450 m, with a lake in it: terraces of equal posts, and water."""

    def surface(east, north):
        floor = np.round(600.0 - north / 450.0)
        floor = np.where(np.hypot(east, north) < 600, 598.0, floor)
        return np.where(np.abs(east) < 1200, floor, floor + np.round((np.abs(east) - 1200) * 0.5))

    dem = grid_dem(surface, 90.0, 81)
    east, north = np.meshgrid((np.arange(81) - 40) * 90.0, (40 - np.arange(81)) * 90.0)
    wet = WaterMap(Terrain.of(dem)).at(0, *posts_of(dem)).reshape(81, 81)
    lake = np.hypot(east, north) < 600
    assert wet[lake].mean() > 0.95
    wet[:8] = False  # the last terrace: what lies below it is not in the model
    assert wet[~lake].mean() < 0.005


def test_between_posts_half_of_the_ground_decides():
    dem = lake(20)
    rng = np.random.default_rng(3)
    column, row = rng.uniform(0, 59, 4000), rng.uniform(0, 59, 4000)
    wet = WaterMap(Terrain.of(dem)).at(0, column, row)
    np.testing.assert_array_equal(wet, interpolate(whole(dem), column, row) >= 0.5)
    assert wet.any()
    assert not wet.all()


def test_norris_lake_is_water():
    wet = WaterMap(Terrain.of(jacksboro())).at(0, *posts_of(jacksboro())).reshape(jacksboro().shape)
    column, row = (round(float(a)) for a in jacksboro().pixel_of(-84.09, 36.26))
    assert wet[row - 15 : row + 15, column - 12 : column + 12].any()
    assert 0 < wet.mean() < 0.02
    np.testing.assert_array_equal(wet, whole(jacksboro()) >= 0.5)


def test_fine_models_are_looked_at_in_a_coarser_level():
    """A lake of 200 m in a model of 2 m: 10,000 posts, of which no halo is made."""

    def surface(east, north):
        slope = 300 + 0.3 * np.hypot(east, north)
        return np.where((np.abs(east) < 100) & (np.abs(north) < 100), 300.0, slope)

    dem = grid_dem(surface, 2.0, 401)
    water = WaterMap(Terrain.of(dem), lake_area=20_000.0)
    at = np.array([100.0, 200.0, 240.0, 290.0, 320.0, 380.0])
    assert water.at(0, at, np.full(6, 200.0)).tolist() == [False, True, True, False, False, False]


def test_a_map_is_the_same_after_pickling():
    water = WaterMap(Terrain.of(lake(8)), flat_range=0.01, lake_area=20_000.0)
    before = water.at(0, *posts_of(lake(8)))
    again = pickle.loads(pickle.dumps(water))
    assert (again.flat_range, again.lake_area) == (0.01, 20_000.0)
    np.testing.assert_array_equal(again.at(0, *posts_of(lake(8))), before)
    assert before.any()


@pytest.mark.parametrize("spread", [0.04, 0.06])
def test_the_range_of_flat_ground_is_a_limit(spread):
    posts = np.zeros((9, 9), np.float32)
    posts[4, 4] = spread
    assert large_flats(posts, 0.05, 81).all() == (spread < 0.05)
