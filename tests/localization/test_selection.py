from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.errors import ConfigError
from crosslocate.localization.selection import Selection, in_box

LONGITUDES = st.sampled_from([-180.0, -179.5, -90.0, -1e-9, 0.0, 7.0, 90.0, 179.5, 180.0]) | st.floats(-180, 180)
LATITUDES = st.sampled_from([-90.0, -46.0, 0.0, 46.0, 90.0]) | st.floats(-90, 90)


def catalog(longitude, latitude, elevation):
    columns = [np.asarray(values, np.float64) for values in (longitude, latitude, elevation)]

    class Views(SimpleNamespace):
        def __len__(self):
            return len(self.longitude)

    return Views(longitude=columns[0], latitude=columns[1], elevation=columns[2], path="views.parquet")


def goes_through(longitude, west, east):
    """Walk east from the western edge: is the longitude met before the eastern edge?"""
    turns = [0, 360, 720]
    end = east if east >= west else east + 360
    return any(west <= longitude + turn <= end or west <= longitude - turn <= end for turn in turns)


@given(
    positions=st.lists(st.tuples(LONGITUDES, LATITUDES), min_size=1, max_size=8),
    west=LONGITUDES, east=LONGITUDES, edges=st.tuples(LATITUDES, LATITUDES),
)  # fmt: skip
def test_boxes_against_a_walk_around_the_globe(positions, west, east, edges):
    south, north = sorted(edges)
    longitude, latitude = np.array(positions).T
    chosen = in_box(longitude, latitude, (west, south, east, north))
    for (lon, lat), inside in zip(positions, chosen, strict=True):
        if not np.isin(lon, (west, east)) and min(abs(lon - west), abs(lon - east)) < 1e-9:
            continue  # adding a turn rounds
        assert inside == (goes_through(lon, west, east) and south <= lat <= north)


def test_a_box_across_the_date_line():
    chosen = Selection((179.0, -10.0, -179.0, 10.0)).among(
        catalog([179.5, -179.5, 178.0, -178.0, 180.0, -180.0, 179.5], [0, 0, 0, 0, 0, 0, 11], np.zeros(7))
    )
    assert chosen.tolist() == [True, True, False, False, True, True, False]


def test_altitudes_and_no_selection():
    views = catalog([7, 8, 9], [46, 46, 46], [500, 1500, 2500])
    assert Selection().among(views) is None
    assert Selection(altitude=(1500, 2500)).among(views).tolist() == [False, True, True]
    assert Selection((7.5, 45, 10, 47), (0, 2000)).among(views).tolist() == [False, True, False]
    assert (
        str(Selection((7.5, 45, 10, 47), (0, 2000))) == "longitude 7.5 to 10, latitude 45 to 47, altitude 0 to 2000 m"
    )


def test_an_empty_selection_names_key_value_and_what_there_is():
    views = catalog([7, 8, 9], [46, 46.5, 46], [500, 1500, 2500])
    with pytest.raises(ConfigError, match=r"region=\[1\.0, .*views\.parquet: longitude 7\.000 to 9\.000, latitude 46"):
        Selection((1.0, 45.0, 2.0, 47.0)).among(views)
    with pytest.raises(ConfigError, match=r"altitude=\[0\.0, 400\.0\].*in the region: 500 to 1500 m"):
        Selection((7.0, 45.0, 8.0, 47.0), (0.0, 400.0)).among(views)
    around = catalog([179.5, -179.5], [0, 1], [0, 0])
    with pytest.raises(ConfigError, match=r"longitude 179\.500 to -179\.500"):
        Selection((1.0, 45.0, 2.0, 47.0)).among(around)
