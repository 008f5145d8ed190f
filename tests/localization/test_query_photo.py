import math

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from crosslocate.data.catalog import read_catalog
from crosslocate.data.reader import ImageReader
from crosslocate.errors import ConfigError, DataError
from crosslocate.localization.photo import exif_fov, find_photo, read_queries


@pytest.fixture
def queries(tiny_dataset):
    return read_catalog(tiny_dataset / "queries.parquet")


def save_jpeg(path, width, height, focal=None):
    image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    exif = Image.Exif()
    if focal is not None:
        exif.get_ifd(0x8769)[0xA405] = focal
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize("match_fov", [None, math.radians(60)])
def test_a_query_is_read_as_the_data_modules_reader_reads_it(queries, match_fov):
    row = 7
    photo = find_photo(queries.name(row), ["photo", "depth"], queries, None)
    assert photo.fov_source == "data set"
    assert (photo.truth.longitude, photo.truth.latitude) == (queries.longitude[row], queries.latitude[row])
    assert photo.truth.heading == pytest.approx(queries.yaw[row])
    got = photo.read((12, 16), match_fov)
    expected = ImageReader(queries, ["photo", "depth"], (12, 16), match_fov=match_fov).read([row])
    for name in ("photo", "depth"):
        assert got[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(got[name], expected[name])


def test_a_given_field_of_view_overrules_the_data_set_and_exif(queries, tmp_path):
    assert find_photo(queries.name(0), ["photo"], queries, 0.5).horizontal_fov == 0.5
    photo = find_photo(str(save_jpeg(tmp_path / "a.jpg", 60, 40, 28)), ["photo"], queries, 0.5)
    assert (photo.horizontal_fov, photo.fov_source, photo.truth) == (0.5, "given", None)


@pytest.mark.parametrize(("width", "height", "side"), [(600, 400, 36.0), (400, 600, 24.0)])
def test_the_35_mm_equivalent_focal_length_gives_the_field_of_view(tmp_path, width, height, side):
    path = save_jpeg(tmp_path / "a.jpg", width, height, 28)
    assert exif_fov(path, width, height) == pytest.approx(2 * math.atan(side / 2 / 28))
    assert find_photo(str(path), ["photo"], None, None).fov_source == "EXIF"


@pytest.mark.parametrize("focal", [None, 0])
def test_a_silent_photograph_gets_an_assumed_field_of_view(tmp_path, focal):
    photo = find_photo(str(save_jpeg(tmp_path / "a.jpg", 60, 40, focal)), ["photo"], None, None)
    assert (photo.fov_source, math.degrees(photo.horizontal_fov)) == ("assumed", pytest.approx(60.0))


def test_neither_file_nor_query_names_both_and_an_example(queries):
    with pytest.raises(DataError, match=r"photo=nowhere\.jpg: there is no such file.*24 queries.*p0000_q00"):
        find_photo("nowhere.jpg", ["photo"], queries, None)
    with pytest.raises(DataError, match=r"photo=nowhere\.jpg: there is no such file$"):
        find_photo("nowhere.jpg", ["photo"], None, None)


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        find_photo(str(path), ["photo"], None, None)


def test_a_network_of_several_query_images_refuses_a_file(tmp_path):
    path = save_jpeg(tmp_path / "a.jpg", 60, 40)
    with pytest.raises(ConfigError, match=r"photo='.*a\.jpg'.*photo, depth"):
        find_photo(str(path), ["photo", "depth"], None, None)


def test_a_data_set_without_queries_has_none(tmp_path):
    assert read_queries(tmp_path) is None


def test_depth_beyond_the_storage_type_is_kept_at_its_largest_value(tmp_path):
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    OpenEXR.File(header, {"Y": np.full((4, 6), 90_000.0, np.float32)}).write(str(tmp_path / "far.exr"))
    depth = find_photo(str(tmp_path / "far.exr"), ["depth"], None, None).read((4, 6), None)["depth"]
    assert (depth == np.finfo(np.float16).max).all()
