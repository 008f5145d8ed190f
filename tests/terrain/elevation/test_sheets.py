import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS, FEWEST_POSTS, blocks, fill_levels, fill_tops, plan_sheets


@st.composite
def layers(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = []
    for _ in range(draw(st.integers(1, 3))):
        posts = rng.normal(1000, 500, (draw(st.integers(2, 70)), draw(st.integers(2, 70)))).astype(np.float32)
        posts[rng.uniform(size=posts.shape) < draw(st.sampled_from([0.0, 0.02, 0.5]))] = np.nan
        made.append(posts)
    return made


def filled(rasters, band=500):
    sheets = plan_sheets([raster.shape for raster in rasters])
    posts, tops = np.full(sheets.posts, 7e7, np.float32), np.full(sheets.tops, 7e7, np.float32)
    for k, raster in enumerate(rasters):
        sheets.view(int(np.flatnonzero((sheets.layer == k) & (sheets.level == 0))[0]), posts)[:] = raster
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crosslocate.terrain.elevation.sheets.BAND", band)
        fill_levels(posts, sheets)
        fill_tops(posts, tops, sheets)
    return sheets, posts, tops


@settings(max_examples=40, deadline=None)
@given(layers())
def test_a_coarser_post_is_the_weighted_mean_of_the_finer_ones_around_it(rasters):
    sheets, posts, _ = filled(rasters)
    assert not (posts == 7e7).any()
    weights = {-1: 1, 0: 2, 1: 1}
    for sheet in np.flatnonzero(sheets.level > 0):
        fine, coarse = sheets.view(sheet - 1, posts), sheets.view(sheet, posts)
        assert min(coarse.shape) >= FEWEST_POSTS
        assert coarse.shape == ((fine.shape[0] + 1) // 2, (fine.shape[1] + 1) // 2)
        for i, j in np.random.default_rng(0).integers(coarse.shape, size=(15, 2)):
            around = [
                (fine[2 * i + a, 2 * j + b], weights[a] * weights[b])
                for a in weights
                for b in weights
                if 0 <= 2 * i + a < fine.shape[0] and 0 <= 2 * j + b < fine.shape[1]
            ]
            known = [(value, weight) for value, weight in around if not np.isnan(value)]
            np.testing.assert_allclose(coarse[i, j], _mean(known), rtol=1e-5)


def _mean(known):
    return sum(float(v) * w for v, w in known) / sum(w for _, w in known) if known else np.nan


@settings(max_examples=40, deadline=None)
@given(layers())
def test_a_top_is_the_highest_post_of_sound_cells_of_the_block_and_the_ring_around(rasters):
    sheets, posts, tops = filled(rasters)
    assert not (tops == 7e7).any()
    for sheet in range(len(sheets.layer)):
        raster = sheets.view(sheet, posts)
        for k in range(BLOCK_LEVELS):
            size, first = 2 << k, int(sheets.top_offset[sheet, k])
            shape = blocks(raster.shape[0], k + 1), blocks(raster.shape[1], k + 1)
            found = tops[first : first + shape[0] * shape[1]].reshape(shape)
            for i, j in np.random.default_rng(k).integers(shape, size=(4, 2)):
                highest = -np.inf
                for row in range(max(i * size - 1, 0), min((i + 1) * size + 1, raster.shape[0] - 1)):
                    for column in range(max(j * size - 1, 0), min((j + 1) * size + 1, raster.shape[1] - 1)):
                        cell = raster[row : row + 2, column : column + 2]
                        if not np.isnan(cell).any():
                            highest = max(highest, cell.max())
                assert found[i, j] == highest


@settings(max_examples=10, deadline=None)
@given(layers(), st.integers(1, 3000))
def test_bands_make_no_difference(rasters, band):
    for one, other in zip(filled(rasters)[1:], filled(rasters, band)[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_single_cell_is_a_sheet():
    sheets, posts, tops = filled([np.array([[1, 2], [3, 4]], np.float32)])
    assert sheets.level.tolist() == [0]
    assert tops.tolist() == [4.0] * BLOCK_LEVELS
    assert sheets.posts == len(posts) == 4
