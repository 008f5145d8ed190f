import errno
import io
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crosslocate.data.images import decode
from crosslocate.errors import TerrainError
from crosslocate.terrain.job.files import DEPTH_CHANNEL, checksum, encode_exr, encode_png, rounded_depth, write_whole

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


def test_a_file_is_replaced_whole(tmp_path):
    path, scratch = tmp_path / "image.png", tmp_path / "1.part"
    path.write_bytes(b"old")
    crc = write_whole(path, b"new bytes", scratch)
    assert path.read_bytes() == b"new bytes"
    assert checksum(path) == crc
    assert not scratch.exists()
    assert checksum(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full"), (errno.EACCES, "denied")],
)
def test_a_write_that_fails_leaves_the_old_file_and_says_why(number, says, tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(b"old")

    def fail(self, data):
        raise OSError(number, "Permission denied" if number == errno.EACCES else "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(TerrainError, match=says) as error:
        write_whole(path, b"new", tmp_path / "1.part")
    assert str(path) in str(error.value)
    assert path.read_bytes() == b"old"
