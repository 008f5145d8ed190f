import errno
import io
import re
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crosslocate.data.images import decode
from crosslocate.terrain.job.files import DEPTH_CHANNEL, encode_exr, encode_png, refuse_write, rounded_depth

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)


@settings(max_examples=30)
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-1, 65504, width=16)))
def test_half_exr_holds_every_half_float_exactly(depth):
    with OpenEXR.File(io.BytesIO(encode_exr(depth))) as file:
        channels = file.channels()
        assert list(channels) == [DEPTH_CHANNEL]
        assert channels[DEPTH_CHANNEL].pixels.dtype == np.float16
        np.testing.assert_array_equal(channels[DEPTH_CHANNEL].pixels.astype(np.float32), depth)


def test_float_exr_is_exact_and_the_catalog_reads_it(tmp_path):
    depth = np.random.default_rng(0).uniform(1, 1e5, (7, 9)).astype(np.float32)
    depth[0] = -1.0
    (tmp_path / "depth.exr").write_bytes(encode_exr(depth, np.float32))
    np.testing.assert_array_equal(decode(tmp_path / "depth.exr", "depth"), depth)


def test_the_same_depth_gives_the_same_bytes():
    depth = np.linspace(0, 100, 48, dtype=np.float32).reshape(6, 8)
    assert encode_exr(depth) == encode_exr(depth.copy())


def test_a_half_ends_where_it_ends_and_a_float_does_not():
    depth = np.array([[-1.0, 1.0, 65503.0, 65504.0, 65505.0, 7e4, 2e5]], np.float32)
    np.testing.assert_array_equal(rounded_depth(depth, np.float16)[0], [-1, 1, 65504, 65504, 65504, 65504, 65504])
    np.testing.assert_array_equal(rounded_depth(depth, np.float32), depth)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_keeps_every_pixel(shape, tmp_path):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    data = np.frombuffer(encode_png(image), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded if len(shape) == 2 else decoded[..., ::-1], image)


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "the disk is full.*make room"), (errno.EDQUOT, "the disk is full"), (errno.EACCES, "denied.*mend")],
)
def test_what_cannot_be_written_is_told_with_a_remedy(number, says):
    reason = "Permission denied" if number == errno.EACCES else "No space left on device"
    told = str(refuse_write(Path("folder/image.png"), OSError(number, reason)))
    assert "folder/image.png" in told
    assert re.search(says, told)
