import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_terrain import jacksboro

from crosslocate.errors import TerrainError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem, embedded_dem, interpolate

UTM32 = "EPSG:32632"


def test_embedded_model_lies_where_its_highest_mountain_is():
    dem = embedded_dem()
    row, column = np.unravel_index(np.nanargmax(dem.elevation), dem.shape)
    lon, lat = dem.position_of(column, row)
    cross_mountain = (-84.23056, 36.19833)
    assert geodesic_distance(lon, lat, *cross_mountain) < 60.0
    assert dem.elevation[row, column] == 1076.0


@pytest.mark.parametrize(
    ("name", "lon", "lat", "height"),
    [
        ("Jacksboro", -84.1838, 36.3298, 325),
        ("Rocky Top", -84.1536, 36.2206, 262),
        ("Caryville", -84.2222, 36.2995, 332),
    ],
)
def test_embedded_model_agrees_with_towns(name, lon, lat, height):
    assert jacksboro().elevation_at(lon, lat) == pytest.approx(height, abs=12), name


def test_bounds_are_posts_not_pixel_edges():
    west, south, east, north = jacksboro().bounds
    assert west == pytest.approx(-84.41375 + 1 / 2400)
    assert north == pytest.approx(36.44625 - 1 / 2400)
    assert east == pytest.approx(west + 402 / 1200)
    assert south == pytest.approx(north - 343 / 1200)


def test_bilinear_interpolation_by_hand():
    raster = np.array([[0, 10, 20], [100, 110, 140]], np.float32)
    assert interpolate(raster, 0.5, 0.25) == pytest.approx(5 + 25)
    assert interpolate(raster, 1.5, 0.5) == pytest.approx((10 + 20 + 110 + 140) / 4)
    assert interpolate(raster, 2, 1) == 140  # the last post belongs to the raster
    assert np.isnan(interpolate(raster, [-0.01, 2.01, 1.0, 1.0], [0.0, 0.0, -0.01, 1.01])).all()


def test_voids_spread_to_their_cells_only():
    raster = np.ones((3, 3), np.float32)
    raster[0, 0] = np.nan
    assert np.isnan(interpolate(raster, 0.5, 0.5))
    assert interpolate(raster, 1.0, 1.5) == 1.0


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([WGS84_CRS, UTM32, "EPSG:3035", "EPSG:4258"]),
    st.floats(0, 99),
    st.floats(0, 79),
)
def test_raster_and_geographic_coordinates_are_inverse(crs, column, row):
    transforms = {
        WGS84_CRS: Affine(0.001, 0, 9.0, 0, -0.001, 47.0),
        "EPSG:4258": Affine(0.001, 0, 9.0, 0.0001, -0.001, 47.0),
        UTM32: Affine(30, 0, 600_000, 0, -30, 5_200_000),
        "EPSG:3035": Affine(25, 3, 4_400_000, 3, -25, 2_600_000),
    }
    dem = Dem(np.zeros((80, 100), np.float32), transforms[crs], crs)
    back = dem.pixel_of(*dem.position_of(column, row))
    assert back == pytest.approx((column, row), abs=1e-4)


def test_projected_models_know_meridian_and_scale():
    dem = Dem(np.zeros((50, 50), np.float32), Affine(200, 0, 500_000, 0, -200, 5_240_000), UTM32)
    lon, lat = dem.position_of(np.array([0.0, 0.0]), np.array([0.0, 49.0]))
    np.testing.assert_allclose(lon, 9.0, atol=1e-9)  # the central meridian of the zone, scale 0.9996
    assert geodesic_distance(lon[0], lat[0], lon[1], lat[1]) == pytest.approx(49 * 200 / 0.9996, rel=1e-6)


def test_a_model_across_the_antimeridian():
    dem = Dem(np.arange(400, dtype=np.float32).reshape(20, 20), Affine(0.1, 0, 179.0, 0, -0.1, 10.0), WGS84_CRS)
    assert dem.elevation_at(-179.95, 10.0) == pytest.approx(10.5, abs=1e-4)
    assert dem.elevation_at(180.05, 10.0) == pytest.approx(10.5, abs=1e-4)
    assert not dem.contains(178.9, 10.0)
    west, _, east, _ = dem.bounds
    assert (west, east) == pytest.approx((179.0, 180.9))


def test_a_fingerprint_that_is_known_is_not_computed():
    dem = jacksboro()
    assert Dem(dem.elevation, dem.transform, dem.crs, "known").fingerprint() == "known"


def test_fingerprint_tells_models_apart():
    dem = jacksboro()
    changed = dem.elevation.copy()
    changed[5, 7] += 1
    same = Dem(dem.elevation.copy(), dem.transform, dem.crs)
    assert same.fingerprint() == dem.fingerprint()
    others = (
        Dem(changed, dem.transform, dem.crs),
        Dem(dem.elevation, Affine(*dem.transform[:2], dem.transform.c + 1e-3, *dem.transform[3:6]), dem.crs),
        Dem(dem.elevation, dem.transform, "EPSG:4258"),
        Dem(dem.elevation.reshape(403, 344), dem.transform, dem.crs),
    )
    assert len({dem.fingerprint(), *(other.fingerprint() for other in others)}) == 5


@pytest.mark.parametrize(
    ("posts", "transform", "message"),
    [
        (np.zeros((1, 5)), Affine.identity(), r"\(1, 5\)"),
        (np.zeros(5), Affine.identity(), r"\(5,\)"),
        (np.full((3, 4), np.nan), Affine.identity(), "none of the 12 posts"),
        (np.zeros((3, 4)), Affine.scale(1, 0), "onto a line"),
    ],
)
def test_unusable_arrays_are_refused(posts, transform, message):
    with pytest.raises(TerrainError, match=message):
        Dem(posts.astype(np.float32), transform, WGS84_CRS)
