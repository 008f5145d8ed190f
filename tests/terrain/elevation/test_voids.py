import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.elevation.voids import fill_from_neighbours


def by_hand(posts, across, spacing):
    """Post by post, as the docstring says."""
    found = posts.copy()
    for i, j in zip(*np.nonzero(np.isnan(posts)), strict=True):
        values, weights = [], []
        for line, k, metres in ((posts[i], j, spacing[0]), (posts[:, j], i, spacing[1])):
            known = np.flatnonzero(~np.isnan(line))
            before, after = known[known < k], known[known > k]
            if len(before) and len(after) and (length := (after[0] - before[-1]) * metres) <= across:
                low, high = float(line[before[-1]]), float(line[after[0]])
                values.append(low + (high - low) * (k - before[-1]) / (after[0] - before[-1]))
                weights.append(1 / length)
        if values:
            found[i, j] = np.average(values, weights=weights)
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 25), st.integers(2, 25), st.floats(0.0, 1.0), st.sampled_from([0, 59, 60, 95, 200, 5000]),
    st.integers(1, 200), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_voids_are_filled_along_rows_and_columns_whatever_the_strips(rows, columns, share, across, strip, seed):
    rng = np.random.default_rng(seed)
    posts = rng.uniform(0, 100, (rows, columns)).astype(np.float32)
    posts[rng.uniform(size=posts.shape) < share] = np.nan
    posts[rng.integers(rows) :, : rng.integers(columns)] = np.nan
    expected, given_posts = by_hand(posts, across, (30.0, 20.0)), posts.copy()
    count = fill_from_neighbours(posts, across, (30.0, 20.0), strip)
    np.testing.assert_allclose(posts, expected, rtol=1e-5)
    assert count == np.isnan(given_posts).sum() - np.isnan(posts).sum()
    known = ~np.isnan(given_posts)
    np.testing.assert_array_equal(posts[known], given_posts[known])


def test_a_plane_is_continued_across_a_void_exactly():
    row, column = np.mgrid[:30, :40].astype(np.float32)
    plane = 3 * row + 5 * column
    posts = plane.copy()
    posts[8:20, 10:30] = np.nan
    assert fill_from_neighbours(posts, 1000.0, (30.0, 30.0)) == 240
    np.testing.assert_allclose(posts, plane, rtol=1e-6)


def test_nothing_is_continued_beyond_known_posts():
    posts = np.full((5, 5), np.nan, np.float32)
    posts[2, 2] = 7
    assert fill_from_neighbours(posts, 1e9, (1.0, 1.0)) == 0
    assert np.isnan(posts).sum() == 24


@pytest.mark.parametrize(("across", "filled"), [(59.9, 0), (60.0, 1)])
def test_the_width_is_that_between_known_posts(across, filled):
    posts = np.array([[1, np.nan, 3], [np.nan] * 3], np.float32)
    assert fill_from_neighbours(posts, across, (30.0, 30.0)) == filled


def test_voids_of_a_fine_model_are_filled_from_coarser_ones_in_memory():
    rng = np.random.default_rng(4)
    high = rng.uniform(0, 900, (40, 50)).astype(np.float32)
    coarse = Dem(high, Affine(0.01, 0, 7, 0, -0.01, 47), "EPSG:4326")
    bare = np.full((60, 60), 2000, np.float32)
    bare[20:30, 5:50] = np.nan
    fine = Dem(bare, Affine(0.001, 0, 7.1, 0, -0.001, 46.9), "EPSG:4326")
    terrain = Terrain.of(fine, coarse)
    row, column = np.nonzero(np.isnan(bare))
    expected = coarse.elevation_at(*fine.position_of(column, row))
    np.testing.assert_allclose(terrain.layers[0].elevation[row, column], expected, rtol=1e-6)
    assert np.isnan(fine.elevation).sum() == 450  # what was given is as it was
    place = tuple(float(value) for value in fine.position_of(25.5, 25.5))
    ground = float(terrain.elevation_at(*place))
    hits = RayCaster(terrain).cast(Camera(*place, ground + 5, 0.0, -1.4, 0.0, 0.5, 9, 7))
    np.testing.assert_allclose(hits.elevation, terrain.elevation_at(hits.longitude, hits.latitude), atol=0.01)
    assert hits.distance.max() < 10


@pytest.mark.parametrize("surface", ["bilinear", "triangles"])
def test_where_no_model_helps_a_void_is_one_for_rays_and_for_elevations(surface):
    holed = np.full((40, 50), 100, np.float32)
    holed[15:25, 15:25] = np.nan
    coarse = Dem(holed, Affine(0.01, 0, 7, 0, -0.01, 47), "EPSG:4326")
    bare = np.full((60, 60), 200, np.float32)
    bare[20:30, 20:30] = np.nan
    fine = Dem(bare, Affine(0.001, 0, 7.125, 0, -0.001, 46.85), "EPSG:4326")
    terrain = Terrain.of(fine, coarse)
    hits = RayCaster(terrain, surface=surface).cast(
        Camera(*(float(v) for v in fine.position_of(40, 25)), 900.0, np.radians(270), -0.3, 0.0, 1.2, 40, 30)
    )
    seen = ~hits.sky
    assert np.isfinite(terrain.elevation_at(hits.longitude[seen], hits.latitude[seen])).mean() > 0.999
    place = tuple(float(v) for v in fine.position_of(25.2, 25.4))
    assert np.isnan(terrain.elevation_at(*place))
    with pytest.raises(TerrainError, match="void"):
        RayCaster(terrain, surface=surface).cast(Camera(*place, 900.0, 0.0, 0.0, 0.0, 1.0, 8, 6))
