import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.terrain.elevation.pyramid import LEVELS, build_pyramid


def level_of(pyramid, level, rows):
    blocks = -(-rows // (1 << level))
    start, width = pyramid.offsets[level], pyramid.widths[level]
    return pyramid.tops[start : start + blocks * width].reshape(blocks, width)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 150), st.integers(2, 150), st.integers(0, 2**32 - 1))
def test_blocks_hold_the_highest_post_of_their_cells_and_the_ring_around(rows, columns, seed):
    rng = np.random.default_rng(seed)
    posts = rng.normal(size=(rows, columns)).astype(np.float32)
    pyramid = build_pyramid(posts)
    assert pyramid.highest == posts.max()
    for level in range(LEVELS):
        size, ring = 1 << level, int(level > 0)
        tops = level_of(pyramid, level, rows - 1)
        assert tops.shape == (-(-(rows - 1) // size), -(-(columns - 1) // size))
        for i, j in zip(rng.integers(tops.shape[0], size=5), rng.integers(tops.shape[1], size=5), strict=True):
            cells = [slice(max(k * size - ring, 0), (k + 1) * size + ring + 1) for k in (i, j)]
            assert tops[i, j] == posts[cells[0], cells[1]].max()


def test_cells_with_a_void_lie_below_everything():
    posts = np.arange(12, dtype=np.float32).reshape(3, 4)
    posts[1, 1] = np.nan
    tops = level_of(build_pyramid(posts), 0, 2)
    assert tops.tolist() == [[-1, -1, 7], [-1, -1, 11]]


def test_a_single_cell_has_all_levels():
    pyramid = build_pyramid(np.array([[1, 2], [3, 4]], np.float32))
    assert pyramid.tops.tolist() == [4.0] * LEVELS
    assert pyramid.highest == pytest.approx(4)
