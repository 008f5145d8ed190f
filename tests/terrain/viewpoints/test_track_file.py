import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.errors import CrossLocateError, TerrainError
from crosslocate.terrain.viewpoints.track_file import read_points

EVERY = ("waypoints", "routes", "tracks")


def write(folder, text):
    path = folder / "tour.gpx"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def gpx(body, version="1.1"):
    space = f"http://www.topografix.com/GPX/{version.replace('.', '/')}"
    return f'<?xml version="1.0"?><gpx version="{version}" creator="c" xmlns="{space}">{body}</gpx>'


BODY = (
    '<wpt lat="45.1" lon="6.1"><ele>1000.5</ele><name>hut</name></wpt>'
    '<rte><rtept lat="45.2" lon="6.2"/></rte>'
    '<trk><trkseg><trkpt lon="6.3" lat="45.3"><ele> 1200 </ele><time>2020-01-01T00:00:00Z</time></trkpt>'
    '<trkpt lon="6.4" lat="45.4"/></trkseg></trk>'
)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_points_come_in_the_order_of_the_file(tmp_path, version):
    points = read_points(write(tmp_path, gpx(BODY, version)), EVERY)
    np.testing.assert_array_equal(points[:, :2], [[6.1, 45.1], [6.2, 45.2], [6.3, 45.3], [6.4, 45.4]])
    np.testing.assert_array_equal(points[:, 2], [1000.5, np.nan, 1200.0, np.nan])


def test_a_file_without_namespace_and_one_kind_of_points(tmp_path):
    path = write(tmp_path, "<gpx>" + BODY + "</gpx>")
    assert read_points(path, ("tracks",)).shape == (2, 3)
    assert read_points(path, ("routes",)).shape == (1, 3)


LAUGHS = '<!DOCTYPE gpx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><gpx>&b;</gpx>'
OUTSIDE = '<!DOCTYPE gpx [<!ENTITY x SYSTEM "file:///etc/hostname">]><gpx><wpt lat="1" lon="&x;"/></gpx>'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "refused"),
        (OUTSIDE, "refused"),
        ('<!DOCTYPE gpx SYSTEM "http://example.org/gpx.dtd"><gpx/>', "refused"),
        ("", "cannot be read as a GPX file"),
        ("<gpx><wpt", "cannot be read as a GPX file"),
        ("<kml/>", "the outermost element is 'kml'"),
        ("<gpx/>", "holds no points of waypoints, routes, tracks"),
        ('<gpx><wpt lat="45"/></gpx>', "wpt number 1: lon=None"),
        ('<gpx><wpt lat="45" lon="6"/><wpt lat="91" lon="6"/></gpx>', "wpt number 2: lat='91'"),
        ('<gpx><wpt lat="nan" lon="6"/></gpx>', "wpt number 1: lat='nan'"),
        ('<gpx><wpt lat="4" lon="6"><ele>high</ele></wpt></gpx>', "wpt number 1: ele='high'"),
    ],
)
def test_what_is_wrong_or_hostile_is_refused(tmp_path, text, says):
    with pytest.raises(TerrainError, match=says) as error:
        read_points(write(tmp_path, text), EVERY)
    assert "tour.gpx" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TerrainError, match=r"none\.gpx: cannot be read"):
        read_points(tmp_path / "none.gpx", EVERY)


@given(st.one_of(st.binary(max_size=100), st.text(max_size=100).map(lambda t: gpx(t).encode(errors="ignore"))))
def test_any_bytes_are_read_or_refused_with_a_reason(tmp_path_factory, data):
    try:
        points = read_points(write(tmp_path_factory.mktemp("any"), data), EVERY)
    except CrossLocateError:
        return
    assert len(points)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=6))
def test_positions_come_back_to_the_bit(tmp_path_factory, positions):
    body = "".join(f'<wpt lat="{lat!r}" lon="{lon!r}"/>' for lon, lat in positions)
    points = read_points(write(tmp_path_factory.mktemp("points"), gpx(body)), EVERY)
    np.testing.assert_array_equal(points[:, :2], positions)
