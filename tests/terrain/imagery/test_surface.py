from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import NO_CURVATURE, camera_at_home, dem_in, grid_dem

from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem, interpolate
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.imagery.relief import Relief
from crosslocate.terrain.imagery.surface import colours_to_normals, normal_colours, surface_normals

CASES = {
    "degrees": (WGS84_CRS, Affine(0.001, 0, 11.2, 0, -0.0007, 47.27)),
    "degrees, south row first": (WGS84_CRS, Affine(0.001, 0, 11.2, 0, 0.0007, 47.13)),
    "edge of a UTM zone": ("EPSG:32633", Affine(70, 0, 212_000, 0, -70, 5_241_000)),
    "turned grid": ("EPSG:32632", Affine(50, 20, 668_000, 20, -50, 5_233_000)),
}


def below(dem, spread=0.02, height=3000.0):
    """The ground straight below a camera at HOME."""
    camera = camera_at_home(height, pitch=-np.pi / 2, horizontal_fov=spread, width=5, height=5)
    hits = RayCaster(dem, NO_CURVATURE).cast(camera)
    assert not hits.sky.any()
    return Relief(hits.terrain).at(hits)


@pytest.mark.parametrize("case", CASES)
def test_slopes_are_metres_per_metre_toward_true_east_and_north(case):
    crs, transform = CASES[case]
    ground = below(dem_in(crs, transform, (200, 200), lambda e, n: 0.3 * e - 0.2 * n))
    np.testing.assert_allclose(ground.east, 0.3, atol=1e-3)
    np.testing.assert_allclose(ground.north, -0.2, atol=1e-3)


def slope_of_posts(posts):
    """Changes per post, central where both neighbours are known, else to the one that is: plain Python."""
    across, down = np.zeros(posts.shape), np.zeros(posts.shape)
    for (i, j), here in np.ndenumerate(posts):
        for out, (di, dj) in ((across, (0, 1)), (down, (1, 0))):
            steps = []
            for sign in (-1, 1):
                a, b = i + sign * di, j + sign * dj
                if 0 <= a < posts.shape[0] and 0 <= b < posts.shape[1]:
                    step = sign * (posts[a, b] - here)
                    if np.isfinite(step):
                        steps.append(step)
            out[i, j] = np.mean(steps) if steps else 0.0
    return across, down


def hits_at(terrain, column, row, distance=1.0, focal=1e6):
    """Something that looks like hits, at raster coordinates of the first layer."""
    sky = distance * np.ones_like(column) < 0
    return SimpleNamespace(
        distance=np.full(column.shape, distance, np.float32),
        sky=sky,
        terrain=terrain,
        camera=SimpleNamespace(focal_length=focal),
        pixel=lambda layer: (column, row),
    )


def test_slopes_are_those_of_the_posts_around_also_beside_voids_and_borders():
    rng = np.random.default_rng(4)
    posts = rng.normal(0, 10, (17, 23)).astype(np.float32)
    posts[rng.random(posts.shape) < 0.15] = np.nan
    dem = Dem(posts, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")  # on the central meridian
    column, row = rng.uniform(0, 22, (1, 500)), rng.uniform(0, 16, (1, 500))
    ground = Relief(Terrain.of(dem)).at(hits_at(Terrain.of(dem), column, row))
    across, down = (interpolate(slope.astype(np.float32), column, row) for slope in slope_of_posts(posts))
    np.testing.assert_allclose(ground.east, across / 10, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(ground.north, -down / 10, rtol=1e-3, atol=2e-3)


def test_far_slopes_are_those_of_the_levels_that_a_pixel_covers():
    """Ripples of eight posts on a slope: seen near, gone far away, and the slope stays."""
    dem = grid_dem(lambda e, n: 0.2 * e + 8 * np.cos(np.pi * e / 120), 30.0, 201)
    terrain = Terrain.of(dem)
    column, row = np.random.default_rng(5).uniform(40, 160, (2, 1, 800))
    deviation = []
    for footprint in (10, 30, 60, 120, 240):
        ground = Relief(terrain).at(hits_at(terrain, column, row, footprint * 500.0, 500.0))
        deviation.append(float(np.std(ground.east)))
        assert np.mean(ground.east) == pytest.approx(0.2, abs=0.02)
        np.testing.assert_allclose(ground.north, 0.0, atol=1e-3)
    assert deviation[0] == pytest.approx(deviation[1])  # a pixel is smaller than a cell
    assert deviation[1] > deviation[2] > 0.3 * deviation[1]
    assert max(deviation[3:]) < 0.1 * deviation[1]


def test_the_first_layer_that_covers_a_place_gives_its_slope():
    fine = grid_dem(lambda e, n: 0.5 * e, 10.0, 41)
    coarse = grid_dem(lambda e, n: 0.1 * n, 40.0, 101)
    camera = camera_at_home(1500.0, pitch=-np.pi / 2, horizontal_fov=1.0, width=41, height=41)
    hits = RayCaster(coarse, NO_CURVATURE).cast(camera)
    both = Hits(camera, hits.distance, Terrain.of(fine, coarse), hits.refraction)
    ground = Relief(both.terrain).at(both)
    east, north = hits.pixel(0)[0] * 40 - 2000, 2000 - hits.pixel(0)[1] * 40
    inside = (np.abs(east) < 200) & (np.abs(north) < 200)
    np.testing.assert_array_equal(ground.layer, np.where(inside, 0, 1))
    np.testing.assert_allclose(ground.east, np.where(inside, 0.5, 0.0), atol=2e-3)
    np.testing.assert_allclose(ground.north, np.where(inside, 0.0, 0.1), atol=2e-3)


def test_normals_of_a_tilted_plane():
    a, b = 0.3, -0.2
    dem = grid_dem(lambda e, n: a * e + b * n)
    hits = RayCaster(dem, NO_CURVATURE).cast(camera_at_home(20.0, pitch=-0.3))
    normals = surface_normals(hits, Relief(hits.terrain).at(hits))
    assert normals.dtype == np.float32
    assert np.isnan(normals[hits.sky]).all()
    expected = np.array([-a, -b, 1.0]) / np.sqrt(1 + a * a + b * b)
    np.testing.assert_allclose(normals[~hits.sky], np.broadcast_to(expected, normals[~hits.sky].shape), atol=1e-4)


def test_normals_change_smoothly_over_cells():
    dem = grid_dem(lambda e, n: 200 * np.sin(e / 200) * np.cos(n / 260))
    hits = RayCaster(dem).cast(camera_at_home(900.0, pitch=-1.0, horizontal_fov=0.5, width=200, height=150))
    assert not hits.sky.any()
    normals = surface_normals(hits, Relief(hits.terrain).at(hits))
    jumps = np.abs(np.diff(normals, axis=1)).max()
    assert jumps < 0.05
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-5)


def test_colours_hold_normals_to_half_a_degree():
    rng = np.random.default_rng(6)
    normals = rng.normal(size=(40, 50, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[0, :5] = np.nan
    colours = normal_colours(normals)
    assert colours.dtype == np.uint8
    assert (colours[0, :5] == 0).all()
    again = colours_to_normals(colours)
    assert np.isnan(again[0, :5]).all()
    cosine = (again * normals)[1:].sum(axis=-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    np.testing.assert_array_equal(normal_colours(np.array([[[0, 0, 1]]], np.float32)), [[[128, 128, 255]]])
