import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.errors import CrossLocateError, TerrainError
from crosslocate.terrain.viewpoints.pose_list import COLUMNS
from crosslocate.terrain.viewpoints.pose_list import read_poses as read_with_aspect

HEAD = "latitude,longitude,altitude_m,heading_deg,pitch_deg,roll_deg,hfov_deg\n"


def read_poses(path, aspect=4 / 3):
    return read_with_aspect(path, aspect)


def write(tmp_path, text):
    path = tmp_path / "poses.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_found_by_any_of_their_names_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(20):
        keys = ["latitude", "longitude", *rng.permutation(["altitude", "heading", "pitch", "roll", "field_of_view"])]
        rng.shuffle(keys)
        titles = [str(rng.choice(COLUMNS[key])) for key in keys]
        titles = [title.upper() if rng.random() < 0.3 else f" {title} " for title in titles]
        delimiter = str(rng.choice([",", ";", "\t"]))
        values = {"latitude": 45.5, "longitude": 6.5, "altitude": 2000, "heading": 90, "pitch": -5, "roll": 2,
                  "field_of_view": 60}  # fmt: skip
        found = read_poses(write(tmp_path, "\n".join(delimiter.join(row) for row in (
            titles, [str(values[key]) for key in keys]))))  # fmt: skip
        assert {key: column[0] for key, column in found.numbers.items() if np.isfinite(column[0])} == values


def test_what_is_not_given_stays_open_and_what_is_not_known_is_told(tmp_path):
    text = '﻿lat,lon,height,name,heading,photo\r\n45.5,190,,"one",,a.jpg\r\n\r\n-45.5,6,12.5,,-10,b.jpg\r\n'
    found = read_poses(write(tmp_path, text))
    np.testing.assert_array_equal(found.numbers["longitude"], [-170.0, 6.0])
    np.testing.assert_array_equal(found.numbers["height"], [np.nan, 12.5])
    np.testing.assert_array_equal(found.numbers["heading"], [np.nan, -10.0])
    assert np.isnan(found.numbers["altitude"]).all()
    assert found.name.tolist() == ["one", ""]
    assert found.unread == ("photo",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the first line is ''"),
        ("heading\n1\n", "must name a column latitude"),
        (HEAD, "no row below"),
        (HEAD + "45,6,1000,0,0,0,60\n45,6,1000\n", "line 3 has 3 cells; the first line names 7"),
        (HEAD + "45,6,1000,0,0,0,60\n45,x,1000,0,0,0,60\n", "line 3, column longitude: 'x'"),
        (
            HEAD + "95,6,1000,0,0,0,60\n",
            r"line 2, column latitude: '95' is not allowed; allowed: a number from -90 to 90",
        ),
        (HEAD + ",6,1000,0,0,0,60\n", "line 2, column latitude: '' is not allowed; allowed: a number in every row"),
        (HEAD + "45,6,nan,0,0,0,60\n", "line 2, column altitude_m: 'nan'"),
        (HEAD + "45,6,1000,0,0,0,180\n", "column hfov_deg: '180'"),
        (HEAD + "45,6,1000,inf,0,0,60\n", "column heading_deg: 'inf'"),
        ("lat,lon,latitude\n1,2,3\n", "columns lat and latitude both hold the latitude"),
        (
            "lat,lon,alt,height\n1,2,3,4\n",
            r"line 2, column height: '4'.*an altitude or a height, not both \(alt\)",
        ),
        ("lat,lon,split\n1,2,dev\n", "line 2, column split: 'dev'.*train, val, test"),
        ("lat,lon,name\n1,2,a\n1,2,b\n1,2,a\n", "line 4, column name: 'a'.*no other row has"),
        ("lat,lon,name\n1,2,../a\n", r"column name: '\.\./a'"),
        ("lat,lon,name\n1,2,.a\n", r"column name: '\.a'"),
        ("lat,lon,name\n1,2,a b\n", "column name: 'a b'"),
        (f"lat,lon,name\n1,2,{129 * 'a'}\n", "column name: 'aaa.*at most 128"),
        ("lat,lon,vfov\n1,2,179.5\n", "column vfov: '179.5'"),
        ("lat,lon,vfov\n1,2,178.9\n", "column vfov: '178.9'.*horizontally, in images of 1.333:1"),
        (
            "lat,lon,hfov,vfov\n1,2,60,46.8\n1,2,60,60\n",
            r"line 3, column vfov: '60'.*within 1 % of 60 \(hfov\).* 75.18",
        ),
        ("lat,lon,FOV_rad\n1,2,1\n", "column FOV_rad looks like a field of view.*horizontal field_of_view.*vertical"),
        ("lat,lon,angle of view\n1,2,1\n", "column angle of view looks like"),
        ('lat,lon\n1,"2\n', "cannot be read as a CSV file"),
        (b"lat,lon\n\xff\xfe,1\n", "cannot be read as a CSV file"),
    ],
)
def test_what_is_wrong_is_said_with_line_column_and_value(tmp_path, text, says):
    with pytest.raises(TerrainError, match=says) as error:
        read_poses(write(tmp_path, text))
    assert "poses.csv" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TerrainError, match=r"nowhere\.csv: cannot be read"):
        read_poses(tmp_path / "nowhere.csv")


def test_a_line_is_the_one_an_editor_shows(tmp_path):
    text = 'lat,lon,note\n1,2,"two\nlines"\n1,900,x\n'
    with pytest.raises(TerrainError, match="line 4, column lon: '900'"):
        read_poses(write(tmp_path, text))


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: ("lat,lon\n" + t).encode(errors="ignore")))
)
def test_any_bytes_are_read_or_refused_with_a_reason(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp("any"), data)
    try:
        found = read_poses(path)
    except CrossLocateError:
        return
    assert np.isfinite(found.numbers["latitude"]).all()
    assert (np.abs(found.numbers["longitude"]) <= 180.0).all()


ROW = st.tuples(st.floats(-90, 90), st.floats(-180, 180, exclude_max=True), st.floats(0, 359), st.floats(1, 170))


@given(st.lists(ROW, min_size=1, max_size=5))
def test_numbers_come_back_to_the_bit(tmp_path_factory, rows):
    text = io.StringIO()
    text.write("latitude,longitude,heading,fov\n" + "\n".join(",".join(map(repr, row)) for row in rows))
    found = read_poses(write(tmp_path_factory.mktemp("rows"), text.getvalue()))
    keys = ("latitude", "longitude", "heading", "field_of_view")
    got = np.stack([found.numbers[key] for key in keys], axis=1)
    np.testing.assert_array_equal(got[:, [0, 2, 3]], np.array(rows)[:, [0, 2, 3]])
    np.testing.assert_allclose(got[:, 1], np.array(rows)[:, 1], atol=1e-13)


def test_names_as_photo_sites_give_them_are_taken(tmp_path):
    names = ["flickr_123@N03", "-a+b=c.d", "x" * 128]
    found = read_poses(write(tmp_path, "lat,lon,name\n" + "".join(f"1,2,{name}\n" for name in names)))
    assert found.name.tolist() == names


@given(st.floats(1.0, 170.0), st.floats(0.3, 4.0))
def test_a_vertical_field_of_view_becomes_the_horizontal_one_of_the_same_pinhole(tmp_path_factory, degrees, aspect):
    folder = tmp_path_factory.mktemp("vertical")
    height = 1000.0
    focal = 0.5 * height / np.tan(np.radians(degrees) / 2)
    wide = float(np.degrees(2 * np.arctan2(0.5 * aspect * height, focal)))
    if not 0.1 <= wide <= 179.0:
        return
    text = f"lat,lon,vertical_fov_deg,hfov\n1,2,{degrees!r},\n1,2,{degrees!r},{wide!r}\n1,2,,{wide!r}\n1,2,,\n"
    got = read_poses(write(folder, text), aspect).numbers
    np.testing.assert_allclose(got["field_of_view"], [wide, wide, wide, np.nan], rtol=1e-12)
    assert "vertical" not in got
