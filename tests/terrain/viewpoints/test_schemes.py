import re

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import chisquare
from synthetic_terrain import dem_in, jacksboro

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import ecef, geodesic_distance
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.area import Box, area_of, read_polygons
from crosslocate.terrain.viewpoints.listed import Listed, Track
from crosslocate.terrain.viewpoints.positions import DATABASE, QUERIES, Site
from crosslocate.terrain.viewpoints.schemes import Grid, NearDatabase, Nowhere, Scattered
from crosslocate.terrain.viewpoints.thinning import apart

TERRAIN = Terrain.of(jacksboro())


def site(bounds=None, terrain=TERRAIN, **more):
    return Site(Box(bounds) if bounds else area_of(None, terrain, 0.0), terrain, **more)


def draw(scheme, where, seed=0):
    return scheme.positions(where, np.random.default_rng(seed))


def flat(west, south, east, north, step, elevation=100.0):
    """A terrain of one height in degrees."""
    from affine import Affine

    rows, columns = round((north - south) / step) + 1, round((east - west) / step) + 1
    posts = np.full((rows, columns), elevation, np.float32)
    return Terrain.of(Dem(posts, Affine(step, 0, west, 0, -step, north), "EPSG:4326"))


def test_a_grid_has_a_place_in_every_cell_and_keeps_its_spacing():
    grid = draw(Grid(400.0), site())
    near = cKDTree(ecef(grid.longitude, grid.latitude)).query(ecef(grid.longitude, grid.latitude), 2)[0][:, 1]
    assert near.min() > 400.0 * 0.99
    assert near.max() < 400.0 * 1.01
    west, south, east, north = TERRAIN.bounds
    size = geodesic_distance(west, south, west, north) * geodesic_distance(west, 36.4, east, 36.4)
    assert len(grid) == pytest.approx(size / 400.0**2, rel=0.02)
    np.testing.assert_allclose(grid.ground, jacksboro().elevation_at(grid.longitude, grid.latitude))
    assert grid.left_out == {"without_elevation": 0, "on_water": 0}


def test_a_larger_region_keeps_the_places_of_a_smaller_one():
    small, large = draw(Grid(300.0), site((-84.3, 36.2, -84.2, 36.3))), draw(Grid(300.0), site())
    at = {name: row for row, name in enumerate(large.name.tolist())}
    assert len(at) == len(large)
    rows = [at[name] for name in small.name.tolist()]
    np.testing.assert_array_equal(large.longitude[rows], small.longitude)
    np.testing.assert_array_equal(large.latitude[rows], small.latitude)


def test_a_grid_across_the_antimeridian_has_no_seam():
    terrain = flat(179.9, -17.05, 180.1, -16.95, 0.005)
    grid = draw(Grid(500.0), site((179.92, -17.03, 180.08, -16.97), terrain))
    assert (grid.longitude < 0).any()
    assert (grid.longitude > 0).any()
    near = cKDTree(ecef(grid.longitude, grid.latitude)).query(ecef(grid.longitude, grid.latitude), 2)[0][:, 1]
    np.testing.assert_allclose(near, 500.0, rtol=0.01)


def test_sea_voids_and_what_is_outside_are_left_out_and_counted():
    dem = dem_in(
        "EPSG:4326", _transform(), (120, 120), lambda e, n: np.where(e < 0, 0.0, np.where(n < 0, np.nan, 50.0))
    )
    terrain = Terrain.of(dem)
    everywhere = draw(Grid(200.0), site(terrain.bounds, terrain, sea=None))
    dry = draw(Grid(200.0), site(terrain.bounds, terrain, sea=0.0))
    wide = draw(
        Grid(200.0), site(tuple(np.array(terrain.bounds) + np.array([-0.02, -0.02, 0.02, 0.02])), terrain, sea=0.0)
    )
    assert 0.0 in everywhere.ground
    assert dry.ground.min() > 0.0
    assert np.isfinite(dry.ground).all()
    assert dry.left_out["on_water"] == len(everywhere) - len(dry) > 0
    assert everywhere.left_out["on_water"] == 0
    assert dry.left_out["without_elevation"] == everywhere.left_out["without_elevation"] > 0
    np.testing.assert_array_equal(wide.name, dry.name)
    assert wide.left_out["without_elevation"] > dry.left_out["without_elevation"]


def _transform():
    from affine import Affine

    return Affine(0.001, 0, 11.24, 0, -0.001, 47.26)


@pytest.mark.parametrize("spacing", [0.5, -1.0, 2e6])
def test_an_impossible_spacing_is_refused(spacing):
    with pytest.raises(ConfigError, match=r"survey\.database\.spacing="):
        Grid(spacing).check(DATABASE)


def test_a_grid_of_too_many_cells_is_refused_before_they_are_made():
    with pytest.raises(ConfigError, match=r"survey\.database\.spacing=50\.0.*at most"):
        draw(Grid(50.0), site((-180.0, -60.0, 180.0, 60.0)))


def test_random_positions_are_uniform_per_area_at_high_latitudes():
    terrain = flat(10.0, 60.0, 30.0, 84.0, 0.5)
    found = draw(Scattered(20_000), site((10.0, 60.0, 30.0, 84.0), terrain))
    edges = np.linspace(60.0, 84.0, 13)
    # area of the zones by summing thin strips: length of the parallel times that of the meridian
    fine = np.linspace(60.0, 84.0, 12 * 400 + 1)
    middle = 0.5 * (fine[1:] + fine[:-1])
    length = geodesic_distance(10.0, middle, 10.001, middle) * geodesic_distance(10.0, fine[1:], 10.0, fine[:-1])
    expected = length.reshape(12, 400).sum(axis=1)
    counts = np.histogram(found.latitude, edges)[0]
    assert chisquare(counts, 20_000 * expected / expected.sum()).pvalue > 0.001
    assert chisquare(np.histogram(found.longitude, np.linspace(10, 30, 11))[0]).pvalue > 0.001


def test_random_positions_keep_their_spacing_and_come_in_the_order_of_their_draw():
    thin, free = draw(Scattered(300, 500.0), site()), draw(Scattered(40_000), site())
    near = cKDTree(ecef(thin.longitude, thin.latitude)).query(ecef(thin.longitude, thin.latitude), 2)[0][:, 1]
    assert near.min() >= 500.0
    few = draw(Scattered(100, 500.0), site())
    np.testing.assert_array_equal(few.longitude, thin.longitude[:100])
    assert np.isin(thin.longitude, free.longitude).all()
    assert list(thin.name[:2]) == ["r000000", "r000001"]


def test_random_positions_depend_on_the_seed_alone():
    one, again, other = draw(Scattered(50), site(), 1), draw(Scattered(50), site(), 1), draw(Scattered(50), site(), 2)
    np.testing.assert_array_equal(one.longitude, again.longitude)
    assert not np.isin(one.longitude, other.longitude).any()


def test_random_positions_lie_in_a_polygon(tmp_path):
    (tmp_path / "a.json").write_text(
        '{"type": "Polygon", "coordinates": [[[-84.4, 36.2], [-84.2, 36.2], [-84.4, 36.4], [-84.4, 36.2]]]}'
    )
    found = draw(Scattered(200), Site(read_polygons(tmp_path / "a.json"), TERRAIN))
    assert len(found) == 200
    assert ((found.longitude + 84.4) + (found.latitude - 36.2) <= 0.2).all()


@pytest.mark.parametrize("where", [(0.0, 0.0, 1.0, 1.0), (-84.2301, 36.3, -84.23, 36.3001)])
def test_too_many_random_positions_are_an_error_with_figures(where):
    with pytest.raises(TerrainError, match=r"of the 5,000 asked for, at a spacing of 1000 m"):
        draw(Scattered(5000, 1000.0), site(where))


def test_positions_near_the_database_use_all_of_it_and_stay_near():
    database = draw(Grid(2000.0), site())
    database = database.take(slice(None), altitude=database.ground + 5.0)
    near = draw(NearDatabase(3 * len(database), 300.0), site(database=database))
    distance, place = cKDTree(ecef(database.longitude, database.latitude)).query(ecef(near.longitude, near.latitude))
    assert distance.max() <= 300.5
    assert (np.bincount(place) >= 1).mean() > 0.95
    assert np.mean(distance < 150.0) == pytest.approx(0.25, abs=0.05)  # uniform per area
    at = draw(NearDatabase(len(database)), site(database=database))
    assert sorted(at.longitude) == sorted(database.longitude)
    np.testing.assert_array_equal(at.altitude, at.ground + 5.0)


@pytest.mark.parametrize(("scheme", "name"), [(NearDatabase(), "near"), (Nowhere(), "none")])
def test_a_scheme_for_queries_is_none_for_the_database(scheme, name):
    with pytest.raises(ConfigError, match=rf"viewpoints@survey\.database='{name}' is not allowed.* grid, random"):
        scheme.check(DATABASE)
    scheme.check(QUERIES)
    assert len(draw(scheme, site(database=draw(Nowhere(), site())))) == 0


@pytest.mark.parametrize("key", [DATABASE, QUERIES])
@pytest.mark.parametrize(
    ("scheme", "value"),
    [
        (Scattered(count=0), "count=0"),
        (Scattered(spacing=-1.0), "spacing=-1.0"),
        (Listed("a", spacing=-2.0), "spacing=-2.0"),
        (Track("a", spacing=np.nan), "spacing=nan"),
        (Track("a", kinds=["roads"]), "kinds='roads'"),
        (Track("a", kinds=[]), "kinds="),
    ],
)
def test_impossible_values_are_named_by_their_key(scheme, value, key):
    with pytest.raises(ConfigError, match="^" + re.escape(f"{key}.{value}")):
        scheme.check(key)


@pytest.mark.parametrize("scheme", [NearDatabase(count=0), NearDatabase(distance=-1.0)])
def test_impossible_values_near_the_database_are_named_by_their_key(scheme):
    with pytest.raises(ConfigError, match=r"^survey\.queries\.(count=0|distance=-1\.0)"):
        scheme.check(QUERIES)


def test_a_site_knows_whose_positions_are_chosen():
    assert site().key == DATABASE
    assert site(database=draw(Nowhere(), site())).key == QUERIES


def test_thinning_keeps_the_first_and_nothing_that_is_near():
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(-84.3, -84.28, 800), rng.uniform(36.2, 36.22, 800)
    points, kept = ecef(lon, lat), []
    for row, point in enumerate(points):
        if all(np.linalg.norm(point - points[k]) >= 120.0 for k in kept):
            kept.append(row)
    np.testing.assert_array_equal(np.flatnonzero(apart(lon, lat, 120.0)), kept)
    assert apart(lon, lat, 0.0).all()
    assert apart(lon[:0], lat[:0], 5.0).shape == (0,)
