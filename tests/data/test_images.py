"""Decoding by file type, resizing without mixing sky and terrain, and bringing fields of view together."""

import math

import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crosslocate.data.images import MODALITIES, decode, match_field_of_view, modality, resize
from crosslocate.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def write_exr(path, **channels):
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    OpenEXR.File(header, channels).write(str(path))
    return path


@pytest.mark.parametrize("name", ["R", "Y", "Z", "distance"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_depth_channel_by_name_or_because_it_is_the_only_one(tmp_path, name, dtype):
    depth = RNG.uniform(1, 5000, (5, 7)).astype(dtype)
    depth[0] = -1
    read = decode(write_exr(tmp_path / "d.exr", **{name: depth}), "depth")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, depth.astype(np.float32))


def test_depth_among_other_channels(tmp_path):
    depth = np.full((3, 4), 700, np.float32)
    other = np.zeros((3, 4), np.float32)
    path = write_exr(tmp_path / "d.exr", A=other, Z=depth, other=other)
    np.testing.assert_array_equal(decode(path, "depth"), depth)
    with pytest.raises(DataError, match=r"e\.exr: channels A, other; depth needs one of R, Y, Z, or a single one"):
        decode(write_exr(tmp_path / "e.exr", A=other, other=other), "depth")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_impossible_depth_names_the_pixel(tmp_path, value):
    depth = np.ones((3, 4), np.float32)
    depth[2, 1] = value
    with pytest.raises(DataError, match=rf"d\.exr: depth at row 2, column 1 is {value} \(1 such pixels\)"):
        decode(write_exr(tmp_path / "d.exr", R=depth), "depth")


def test_any_negative_depth_is_sky(tmp_path):
    depth = np.array([[-5.0, -0.5, 0.0, 2.0]], np.float32)
    read = decode(write_exr(tmp_path / "d.exr", R=depth), "depth")
    np.testing.assert_array_equal(read, [[-1, -1, 0, 2]])


def test_colours_come_in_rgb_order_and_gray_without_an_axis(tmp_path):
    rgb = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "s.png"), rgb[..., ::-1])
    np.testing.assert_array_equal(decode(tmp_path / "s.png", "segments"), rgb)
    gray = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "g.png"), gray)
    np.testing.assert_array_equal(decode(tmp_path / "g.png", "silhouettes"), gray)
    np.testing.assert_array_equal(decode(tmp_path / "g.png", "photo"), np.repeat(gray[..., None], 3, 2))


def test_the_content_decides_not_the_suffix(tmp_path):
    rgb = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "s.png"), rgb[..., ::-1])
    (tmp_path / "s.png").rename(tmp_path / "photo.jpg")
    np.testing.assert_array_equal(decode(tmp_path / "photo.jpg", "photo"), rgb)
    write_exr(tmp_path / "d.exr", R=np.ones((2, 2), np.float32)).rename(tmp_path / "d.png")
    assert decode(tmp_path / "d.png", "depth").shape == (2, 2)
    with pytest.raises(DataError, match="holds depth, not modality 'photo'"):
        decode(tmp_path / "d.png", "photo")
    with pytest.raises(DataError, match=r"photo\.jpg: not an OpenEXR file"):
        decode(tmp_path / "photo.jpg", "depth")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg: No such file"):
        decode(tmp_path / "gone.jpg", "photo")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg: not a complete image file \(0 bytes\)"):
        decode(tmp_path / "empty.jpg", "photo")
    whole = write_exr(tmp_path / "whole.exr", R=RNG.random((64, 64), np.float32)).read_bytes()
    (tmp_path / "half.exr").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"half\.exr: cannot be decoded as OpenEXR"):
        decode(tmp_path / "half.exr", "depth")
    with pytest.raises(ConfigError, match="modality='thermal' is not allowed; allowed: one of photo, segments"):
        modality("thermal")


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["photo", "silhouettes", "depth"]), st.booleans())
def test_no_bytes_get_past_the_reader(tmp_path_factory, data, name, exr):
    path = tmp_path_factory.getbasetemp() / "noise.bin"
    path.write_bytes((b"\x76\x2f\x31\x01" if exr else b"") + data)
    with pytest.raises(DataError, match=r"noise\.bin"):
        decode(path, name)


def area_means(image, height, width):
    return image.reshape(height, image.shape[0] // height, width, image.shape[1] // width, -1).mean((1, 3)).squeeze()


def test_resize_by_area():
    image = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    np.testing.assert_allclose(resize(image, (4, 5)), area_means(image.astype(float), 4, 5), atol=0.51)
    assert resize(image, (12, 20)) is image


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, (8, 12), elements=st.one_of(st.just(-1.0), st.floats(1, 5e4, width=32))))
def test_resized_depth_never_mixes_sky_and_terrain(depth):
    small = resize(depth, (4, 4))
    blocks = depth.reshape(4, 2, 4, 3).transpose(0, 2, 1, 3).reshape(16, 6)
    for value, block in zip(small.ravel(), blocks, strict=True):
        terrain = block[block >= 0]
        if len(terrain) > 3:
            assert value == pytest.approx(terrain.mean(), rel=1e-4)
        else:
            assert value == -1.0


def test_same_field_of_view_and_size_change_nothing():
    image = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(match_field_of_view(image, 1.0, 1.0, (24, 32), 0), image)


@pytest.mark.parametrize(("fov", "height", "width"), [(30, 240, 320), (60, 200, 300), (80, 120, 400), (100, 60, 50)])
def test_directions_land_where_the_matched_camera_sees_them(fov, height, width):
    """A picture whose values are the tangents of the viewing angles keeps them at the angles of the other camera."""
    fov, to_fov, size = math.radians(fov), math.radians(60), (96, 128)
    focal = width / 2 / math.tan(fov / 2)
    right = np.broadcast_to((np.arange(width) + 0.5 - width / 2) / focal, (height, width))
    down = np.broadcast_to(((np.arange(height) + 0.5 - height / 2) / focal)[:, None], (height, width))
    offset = 10.0  # keeps depth positive
    to_focal = size[1] / 2 / math.tan(to_fov / 2)
    expected_right = (np.arange(size[1]) + 0.5 - size[1] / 2) / to_focal
    expected_down = (np.arange(size[0]) + 0.5 - size[0] / 2) / to_focal
    for tangents, expected in ((right, expected_right[None]), (down, expected_down[:, None])):
        image = match_field_of_view((tangents + offset).astype(np.float32), fov, to_fov, size, -1.0)
        seen = image >= 0
        assert image.shape == size
        error = np.abs(image - offset - expected)[seen]
        assert error.max() < 1.5 / to_focal + 0.5 / focal  # a pixel of either camera
    covered = seen.any(0).mean(), seen.any(1).mean()
    wanted = min(1, math.tan(fov / 2) / math.tan(to_fov / 2)), min(1, height / focal / (size[0] / to_focal))
    np.testing.assert_allclose(covered, wanted, atol=2 / min(size))


@pytest.mark.parametrize("name", list(MODALITIES))
def test_pixels_outside_take_the_fill_of_the_modality(name):
    kind = MODALITIES[name]
    image = np.full(kind.shape((40, 40)), 200, np.float32 if name == "depth" else np.uint8)
    matched = match_field_of_view(image, math.radians(20), math.radians(60), (60, 80), kind.fill)
    assert matched.shape == kind.shape((60, 80))
    assert (matched[30, 40] == 200).all()
    assert (matched[0] == kind.fill).all()
    assert (matched[:, 0] == kind.fill).all()
