import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import NO_CURVATURE, camera_at_home, dem_in, grid_dem

from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem, interpolate
from crosslocate.terrain.imagery.surface import slopes, surface_normals

CASES = {
    "degrees": (WGS84_CRS, Affine(0.001, 0, 11.2, 0, -0.0007, 47.27)),
    "degrees, south row first": (WGS84_CRS, Affine(0.001, 0, 11.2, 0, 0.0007, 47.13)),
    "edge of a UTM zone": ("EPSG:32633", Affine(70, 0, 212_000, 0, -70, 5_241_000)),
    "turned grid": ("EPSG:32632", Affine(50, 20, 668_000, 20, -50, 5_233_000)),
}


@pytest.mark.parametrize("case", CASES)
def test_slopes_are_metres_per_metre_toward_true_east_and_north(case):
    crs, transform = CASES[case]
    dem = dem_in(crs, transform, (200, 200), lambda e, n: 0.3 * e - 0.2 * n)
    column, row = dem.pixel_of(11.3, 47.2)
    assert interpolate(slopes(dem).east, column, row) == pytest.approx(0.3, abs=2e-3)
    assert interpolate(slopes(dem).north, column, row) == pytest.approx(-0.2, abs=2e-3)


def test_slopes_beside_voids_and_borders_are_one_sided():
    posts = np.arange(5, dtype=np.float32)[None, :].repeat(4, 0) * 10
    posts[1, 2] = np.nan
    dem = Dem(posts, Affine(10, 0, 0, 0, -10, 0), "EPSG:32632")
    east = slopes(Dem(posts, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")).east
    np.testing.assert_allclose(np.delete(east.ravel(), 7), 1.0, rtol=1e-3)
    assert np.isfinite(slopes(dem).east).all()


def test_normals_of_a_tilted_plane():
    a, b = 0.3, -0.2
    dem = grid_dem(lambda e, n: a * e + b * n)
    hits = RayCaster(dem, NO_CURVATURE).cast(camera_at_home(20.0, pitch=-0.3))
    normals = surface_normals(dem, hits)
    assert normals.dtype == np.float32
    assert np.isnan(normals[hits.sky]).all()
    expected = np.array([-a, -b, 1.0]) / np.sqrt(1 + a * a + b * b)
    np.testing.assert_allclose(normals[~hits.sky], np.broadcast_to(expected, normals[~hits.sky].shape), atol=1e-4)


def test_normals_change_smoothly_over_cells():
    dem = grid_dem(lambda e, n: 200 * np.sin(e / 200) * np.cos(n / 260))
    hits = RayCaster(dem).cast(camera_at_home(900.0, pitch=-1.0, horizontal_fov=0.5, width=200, height=150))
    assert not hits.sky.any()
    normals = surface_normals(dem, hits)
    jumps = np.abs(np.diff(normals, axis=1)).max()
    assert jumps < 0.05
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-5)
