import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import jacksboro

from crosslocate.errors import TerrainError
from crosslocate.geo import destination
from crosslocate.terrain.casting.track import fit_ground_track
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem

ZEROS = np.zeros((3, 3), np.float32)
MODELS = {
    "one arc second, Alps": (Dem(ZEROS, Affine(1 / 3600, 0, 11, 0, -1 / 3600, 48), WGS84_CRS), 11.4, 47.3),
    "one arc second, Norway": (Dem(ZEROS, Affine(1 / 3600, 0, 11, 0, -1 / 3600, 62), WGS84_CRS), 11.4, 61.3),
    "UTM, edge of the zone": (Dem(ZEROS, Affine(30, 0, 700_000, 0, -30, 5_300_000), "EPSG:32632"), 11.9, 47.3),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("radius", "metres"), [(30_000.0, 1e-3), (100_000.0, 0.1)])
def test_tracks_follow_exact_geodesics(model, radius, metres):
    dem, lon, lat = MODELS[model]
    track = fit_ground_track(dem, lon, lat, radius)
    rng = np.random.default_rng(3)
    for azimuth in rng.uniform(0, 2 * np.pi, 20):
        distance = radius * np.sqrt(rng.uniform(0, 1, 30))
        exact = dem.pixel_of(*destination(lon, lat, azimuth, distance))
        found = track.positions(azimuth, distance)
        posts = np.hypot(found[0] - exact[0], found[1] - exact[1]).max()
        assert posts * 30.0 < metres
    assert track.error * 30.0 < metres


def test_jacobian_is_the_local_scale():
    track = fit_ground_track(jacksboro(), -84.2, 36.3, 10_000.0)
    north = 1 / (6_356_000.0 * np.pi / 180 / 1200)  # about one post every 92.5 m northward, rows grow southward
    expected = [[north / np.cos(np.radians(36.3)), 0], [0, -north]]
    np.testing.assert_allclose(track.jacobian, expected, rtol=0.01, atol=1e-9)


def test_a_pole_is_refused_with_the_error_in_posts():
    dem = Dem(ZEROS, Affine(0.001, 0, 0, 0, -0.001, 90), WGS84_CRS)
    with pytest.raises(TerrainError, match=r"posts off, 0\.02 allowed; use a smaller max_distance"):
        fit_ground_track(dem, 0.0, 89.9, 30_000.0)
