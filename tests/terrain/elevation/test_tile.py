import zipfile

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from elevation_files import hills, write_hgt, write_tiff
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation import tile
from crosslocate.terrain.elevation.rectangle import Rectangle
from crosslocate.terrain.elevation.sources import stamps
from crosslocate.terrain.elevation.tile import describe_tile, describe_tiles
from crosslocate.terrain.elevation.units import TAGS, UNITS, unit_of_tag

UTM32 = "EPSG:32632"


def posts_of(path, units=None):
    """All posts of a file, in metres."""
    found = describe_tile(path, units)
    whole = Rectangle(0, 0, found.grid.rows, found.grid.columns)
    return np.concatenate([posts for _, posts in found.read(whole)])


def test_posts_are_the_centres_of_pixels(tmp_path):
    path = write_tiff(
        tmp_path / "a.tif", np.array([[1, 2, -9999], [4, 5, 6]], np.int16), (7.25, 45.75), 0.5, nodata=-9999
    )
    found = describe_tile(path)
    assert (found.grid.rows, found.grid.columns) == (2, 3)
    assert found.grid.position_of(0, 0) == pytest.approx((7.25, 45.75))
    assert found.grid.bounds == pytest.approx((7.25, 45.25, 8.25, 45.75))
    np.testing.assert_array_equal(posts_of(path), np.array([[1, 2, np.nan], [4, 5, 6]], np.float32))


@pytest.mark.parametrize("kind", ["Area", "Point"])
def test_what_a_geotiff_calls_its_tie_point_makes_no_difference_to_where_posts_are(tmp_path, kind):
    # Copernicus says Point, most others Area: GDAL writes and reads the same corner
    path = write_tiff(tmp_path / "a.tif", hills((4, 5)), (6.0, 46.0), 1 / 3600)
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT=kind)
    assert describe_tile(path).grid.position_of(0, 0) == pytest.approx((6.0, 46.0), abs=1e-12)


@pytest.mark.parametrize("size", [1201, 3601])
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("N46E007.hgt", (7, 46, 8, 47)),
        ("S03W060.hgt", (-60, -3, -59, -2)),
        ("N60W001.SRTMGL3.hgt", (-1, 60, 0, 61)),
        ("S01E179.hgt", (179, -1, 180, 0)),
    ],
)
def test_srtm_tells_its_place_by_its_name(tmp_path, name, bounds, size):
    posts = np.full((size, size), 500, np.int16)
    posts[0, 0], posts[0, 1], posts[-1, -1] = 1500, -32768, 2500
    path = write_hgt(tmp_path / name, posts)
    assert describe_tile(path).grid.bounds == pytest.approx(bounds, abs=1e-9)  # posts lie on whole degrees
    read = posts_of(path)
    assert (read[0, 0], read[-1, -1]) == (1500, 2500)
    assert np.isnan(read[0, 1])
    assert np.isnan(read).sum() == 1


def test_values_that_are_no_numbers_are_void(tmp_path):
    values = np.array([[1, np.inf], [np.nan, -1e300], [-3.4e38, 2]], np.float64)
    path = write_tiff(tmp_path / "a.tif", values, (7, 46), 1.0, nodata=-3.4e38)
    np.testing.assert_array_equal(np.isnan(posts_of(path)), [[False, True], [True, True], [True, False]])


@pytest.mark.parametrize("blocks", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}])
@given(data=st.data())
def test_any_part_is_read_as_it_is_whatever_the_blocks(tmp_path_factory, blocks, data):
    posts = hills((53, 37))
    path = tmp_path_factory.getbasetemp() / f"parts{len(blocks)}.tif"
    if not path.exists():
        write_tiff(path, posts, (5e5, 5e6), 2.0, UTM32, **blocks)
    top, left = data.draw(st.integers(0, 52)), data.draw(st.integers(0, 36))
    part = Rectangle(top, left, data.draw(st.integers(top + 1, 53)), data.draw(st.integers(left + 1, 37)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tile, "BLOCK", 200)
        found = list(describe_tile(path).read(part))
    assert [r.top for r, _ in found] == [part.top, *(r.bottom for r, _ in found[:-1])]
    assert found[-1][0].bottom == part.bottom
    np.testing.assert_array_equal(np.concatenate([values for _, values in found]), posts[part.slices])


@pytest.mark.parametrize(
    ("tags", "units", "metres"),
    [
        ({}, None, 1000.0),
        ({"unit": "ft"}, None, 304.8),
        ({"unit": "US survey foot"}, None, 1000 * 1200 / 3937),
        ({"unit": "dm"}, None, 100.0),
        ({"unit": "m", "scale": 0.1, "offset": 5.0}, None, 105.0),
        ({"unit": "ft", "scale": 0.1, "offset": 5.0}, None, 105 * 0.3048),
        ({"unit": "ft"}, "decimetres", 100.0),
        ({}, "feet", 304.8),
    ],
)
def test_elevations_become_metres(tmp_path, tags, units, metres):
    path = write_tiff(tmp_path / "a.tif", np.full((2, 2), 1000, np.int16), (7, 46), 1.0, **tags)
    np.testing.assert_array_equal(posts_of(path, units), np.full((2, 2), metres, np.float32))


@pytest.mark.parametrize(("vertical", "unit"), [(5703, "metres"), (6360, "us_survey_feet"), (8228, "feet")])
def test_a_vertical_system_says_the_unit_where_the_band_does_not(tmp_path, vertical, unit):
    compound = CRS(f"EPSG:26913+{vertical}").to_wkt("WKT1_GDAL")
    path = write_tiff(tmp_path / "a.tif", np.ones((2, 2), np.int16), (5e5, 4e6), 10.0, compound)
    with rasterio.open(path) as file:
        kept = file.crs.to_wkt()
    assert "VERT" in kept, "the file keeps the vertical system"
    found = describe_tile(path)
    assert found.unit == unit
    assert found.grid.crs == "EPSG:26913"


def test_units_have_no_tag_in_common():
    tags = [tag for names in TAGS.values() for tag in names]
    assert len(tags) == len(set(tags))
    assert set(TAGS) == set(UNITS)
    assert unit_of_tag(" Metre ") == "metres"
    assert UNITS["us_survey_feet"] / UNITS["feet"] == pytest.approx(1 + 2e-6, abs=1e-9)


def test_all_tiles_that_cannot_be_used_are_named_at_once(tmp_path):
    good = write_tiff(tmp_path / "good.tif", hills((64, 64)), (7, 46), 0.001)
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "empty.tif").touch()
    write_tiff(tmp_path / "bare.tif", hills((4, 4)), (7, 46), 1.0, crs=None)
    whole = write_tiff(tmp_path / "whole.tif", hills((400, 300)), (7, 46), 0.001).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:-5000])
    write_hgt(tmp_path / "N46E007.hgt", np.zeros((1200, 1201)))
    write_tiff(tmp_path / "odd.tif", hills((4, 4)), (7, 46), 1.0, unit="fathom")
    write_tiff(tmp_path / "grads.tif", hills((4, 4)), (7, 46), 1.0, crs="EPSG:4807")
    bad = ["text.tif", "empty.tif", "bare.tif", "cut.tif", "N46E007.hgt", "odd.tif", "gone.tif", "grads.tif"]
    with pytest.raises(TerrainError) as caught:
        describe_tiles([good, *(tmp_path / name for name in bad)])
    message = str(caught.value)
    assert message.startswith("8 of 9 elevation tiles cannot be used:\n")
    reasons = (
        "text.tif cannot be read", "empty.tif is empty", "bare.tif has no coordinate reference", "cut.tif cannot be",
        "N46E007.hgt cannot be read", "unit is 'fathom'", "gone.tif does not exist", "NTF (Paris)",
    )  # fmt: skip
    for reason in reasons:
        assert reason in message, reason
    assert "good.tif" not in message


VRT = """<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:4326</SRS>
<GeoTransform>6.9995, 0.001, 0, 46.0005, 0, -0.001</GeoTransform>
<VRTRasterBand dataType="Float32" band="1"><SimpleSource><SourceFilename relativeToVRT="1">parts/a.tif</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_a_virtual_raster_is_read_and_changes_with_its_sources(tmp_path):
    posts = hills((40, 50))
    source = write_tiff(tmp_path / "parts/a.tif", posts, (7, 46), 0.001)
    (tmp_path / "all.vrt").write_text(VRT)
    np.testing.assert_array_equal(posts_of(tmp_path / "all.vrt"), posts)
    before = stamps([tmp_path / "all.vrt"])
    assert {stamp[0] for stamp in before} == {str(tmp_path / "all.vrt"), str(source)}
    write_tiff(source, posts[:, ::-1], (7, 46), 0.001, compress="deflate")
    assert stamps([tmp_path / "all.vrt"]) != before


def test_dted_and_ascii_grids_are_read(tmp_path):
    posts = np.rint(hills((121, 121))).astype(np.int16)
    posts[5, 7] = -32767  # the void of DTED
    source = write_tiff(tmp_path / "a.tif", posts, (7, 47), 1 / 120, nodata=-32767)
    rasterio.shutil.copy(source, tmp_path / "n46.dt0", driver="DTED")
    rasterio.shutil.copy(source, tmp_path / "a.asc", driver="AAIGrid")
    expected = np.where(posts == -32767, np.nan, posts).astype(np.float32)
    for name in ("n46.dt0", "a.asc"):
        np.testing.assert_array_equal(posts_of(tmp_path / name), expected)
        assert describe_tile(tmp_path / name).grid.bounds == pytest.approx((7, 46, 8, 47), abs=1e-9)


def test_a_zipped_srtm_tile_is_read(tmp_path):
    posts = np.arange(1201 * 1201).reshape(1201, 1201) % 3000
    with zipfile.ZipFile(tmp_path / "N46E007.hgt.zip", "w") as archive:
        archive.writestr("N46E007.hgt", posts.astype(">i2").tobytes())
    np.testing.assert_array_equal(posts_of(tmp_path / "N46E007.hgt.zip"), posts)
