import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import HOME, grid_dem, jacksboro

from crosslocate.errors import ConfigError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.dem import Dem, interpolate
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.visibility import VisibleTerrain, visible_terrain

REFRACTION = 0.13


def at_home(*heights):
    count = len(heights)
    return np.full(count, HOME[0]), np.full(count, HOME[1]), np.array(heights, float)


def brute_force(dem, longitude, latitude, elevation, reach, step=15.0):
    """Posts within reach that nothing on the straight way to them hides, looked at every 15 m; their area and reach."""
    row, column = (a.ravel() for a in np.mgrid[: dem.shape[0], : dem.shape[1]])
    lon, lat = dem.position_of(column, row)
    distance = geodesic_distance(longitude, latitude, lon, lat)
    near = (distance < reach) & (distance > 20.0)
    column, row, distance = column[near], row[near], distance[near]
    start = dem.pixel_of(longitude, latitude)
    drop = (1.0 - REFRACTION) / (2.0 * 6.371e6)
    target = (dem.elevation[row, column] - elevation) / distance - drop * distance
    visible = np.isfinite(target)
    for s in np.arange(step, reach, step):
        behind = np.flatnonzero(visible & (distance > s + 0.5 * step))
        share = s / distance[behind]
        way = [origin + (end[behind] - origin) * share for origin, end in zip(start, (column, row), strict=True)]
        height = (interpolate(dem.elevation, *way) - elevation) / s - drop * s
        visible[behind[height > target[behind]]] = False
    (west, east, _), (north, _, south) = dem.position_of([0, 1, 0], [0, 0, 1])
    cell = geodesic_distance(west, latitude, east, latitude) * geodesic_distance(longitude, north, longitude, south)
    return visible.sum() * float(cell), distance[visible].max(initial=0.0)


def test_the_area_in_sight_is_that_of_a_brute_force_line_of_sight():
    rng, dem = np.random.default_rng(0), jacksboro()
    lon, lat = rng.uniform(-84.32, -84.17, 12), rng.uniform(36.24, 36.37, 12)
    elevation = dem.elevation_at(lon, lat) + rng.choice([2.0, 30.0, 100.0], 12)
    area, farthest = visible_terrain(Terrain.of(dem), lon, lat, elevation, reach=6000.0)
    exact, far = np.array([brute_force(dem, *at, 6000.0) for at in zip(lon, lat, elevation, strict=True)]).T
    assert np.corrcoef(area, exact)[0, 1] > 0.99
    assert np.median(area / exact) == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.log((area + 1e5) / (exact + 1e5))).max() < 0.15
    assert np.abs(farthest - far).max() < 0.15 * 6000.0


def test_a_plain_is_seen_to_the_horizon():
    dem = grid_dem(lambda e, n: 0.0 * e, spacing=100.0, posts=301)
    heights = np.array([1.0, 5.0, 10.0])
    area, farthest = visible_terrain(Terrain.of(dem), *at_home(*heights), reach=14_000.0)
    horizon = np.sqrt(2.0 * 6.371e6 * heights / (1.0 - REFRACTION))
    np.testing.assert_allclose(area, np.pi * np.minimum(horizon, 14_000.0) ** 2, rtol=0.1)
    np.testing.assert_allclose(farthest, np.minimum(horizon, 14_000.0), rtol=0.05)


def test_a_wall_hides_what_is_behind_it_and_a_tower_sees_over_it():
    dem = grid_dem(lambda e, n: np.where(np.abs(np.hypot(e, n) - 1000.0) < 60.0, 40.0, 0.0), spacing=20.0, posts=401)
    area, farthest = visible_terrain(Terrain.of(dem), *at_home(2.0, 200.0), reach=3900.0)
    assert area[0] == pytest.approx(np.pi * 1000.0**2, rel=0.1)
    assert farthest[0] < 1100.0
    shadow = 1060.0 / (1.0 - 40.0 / 200.0)  # where the wall's shadow ends
    assert area[1] == pytest.approx(np.pi * (3900.0**2 - shadow**2 + 1000.0**2), rel=0.1)


def test_voids_and_the_edge_of_the_terrain_are_not_seen():
    dem = grid_dem(lambda e, n: np.where(n < 0.0, np.nan, 0.0), spacing=50.0, posts=81)
    area, _ = visible_terrain(Terrain.of(dem), *at_home(50.0), reach=5000.0)
    assert area[0] == pytest.approx(4000.0 * 2000.0, rel=0.05)


def test_layers_are_seen_as_one_terrain():
    def hills(east, north):
        return 300.0 * np.sin(east / 900.0) * np.cos(north / 700.0)

    wide, fine = grid_dem(hills, 60.0, 301), grid_dem(hills, 15.0, 201)
    where = at_home(310.0, 500.0)
    alone, _ = visible_terrain(Terrain.of(wide), *where, reach=8500.0)
    both, _ = visible_terrain(Terrain.of(fine, wide), *where, reach=8500.0)
    np.testing.assert_allclose(both, alone, rtol=0.03)
    centre = grid_dem(lambda e, n: hills(e, n) + 1000.0, 15.0, 201)
    hidden, farthest = visible_terrain(Terrain.of(centre, wide), *at_home(1005.0), reach=8500.0)
    assert farthest[0] < 8500.0
    assert hidden[0] < 0.5 * visible_terrain(Terrain.of(wide), *at_home(1005.0), reach=8500.0)[0][0]


def test_the_answer_depends_neither_on_company_nor_on_threads(tmp_path):
    rng, dem = np.random.default_rng(2), jacksboro()
    lon, lat = rng.uniform(-84.3, -84.2, 600), rng.uniform(36.25, 36.35, 600)
    elevation = dem.elevation_at(lon, lat) + 5.0
    terrain = Terrain.of(dem)
    one = visible_terrain(terrain, lon, lat, elevation, reach=3000.0)
    many = visible_terrain(terrain, lon, lat, elevation, reach=3000.0, workers=3)
    part = visible_terrain(terrain, lon[520:525], lat[520:525], elevation[520:525], reach=3000.0)
    terrain.posts.tofile(tmp_path / "posts")
    mapped = Terrain.mapped(
        [(dem.transform, dem.crs)], np.memmap(tmp_path / "posts", np.float32, "r"), terrain.tops, terrain.sheets
    )
    from_file = visible_terrain(mapped, lon, lat, elevation, reach=3000.0)
    for a, b, c, d in zip(one, many, part, from_file, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a[520:525], c, rtol=1e-12)
        np.testing.assert_array_equal(a, d)


def test_places_are_left_out_for_their_foot_or_for_little():
    rule = VisibleTerrain(least_area=2.0, least_distance=800.0)
    kept, why = rule.keep(np.array([5e6, 1.9e6, 5e6, 0.0]), np.array([900.0, 5000.0, 700.0, 0.0]))
    assert kept.tolist() == [True, False, False, False]
    assert why == {"sees_only_its_foot": 2, "sees_too_little": 1}
    with pytest.raises(ConfigError, match=r"survey\.visible\.reach"):
        VisibleTerrain(reach=1.0)


def test_a_place_in_the_pit_of_a_plain_sees_only_its_foot():
    posts = np.full((101, 101), 500.0, np.float32)
    posts[45:56, 45:56] = 300.0
    dem = Dem(posts, Affine(0.0005, 0, HOME[0] - 0.025, 0, -0.0005, HOME[1] + 0.025), "EPSG:4326")
    area, farthest = visible_terrain(Terrain.of(dem), *at_home(302.0), reach=2000.0)
    kept, why = VisibleTerrain(least_area=0.01, least_distance=500.0).keep(area, farthest)
    assert not kept[0]
    assert why["sees_only_its_foot"] == 1
