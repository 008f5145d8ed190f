import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.geo import destination
from crosslocate.localization.places import Grouping, mean_heading, rank_places, view_weights

GROUPING = Grouping(radius=100.0, heading=math.radians(45.0), temperature=0.1)


@pytest.fixture
def make_database(tmp_path):
    """A catalog of views given as (metres east of 7 E 46 N, heading in degrees)."""

    def make(views):
        east, yaw = np.array(views, float).T
        longitude, latitude = destination(7.0, 46.0, math.pi / 2, east)
        count = len(views)
        columns = {
            "name": [f"v{i}" for i in range(count)],
            "place": np.zeros(count, np.int32),
            "split": ["test"] * count,
            "longitude": longitude,
            "latitude": latitude,
            "elevation": np.full(count, 1000.0),
            "yaw": np.radians(yaw),
            "pitch": np.zeros(count),
            "roll": np.zeros(count),
            "horizontal_fov": np.full(count, 1.0),
        }
        write_catalog(tmp_path / "database.parquet", columns, "database", {"depth": "{name}.exr"})
        return read_catalog(tmp_path / "database.parquet")

    return make


def test_two_neighbouring_headings_outweigh_a_single_slightly_nearer_view(make_database):
    database = make_database([(5000, 90), (0, 30), (0, 60), (0, 180)])
    distances = np.array([0.60, 0.61, 0.62, 0.63])
    places = rank_places(database, np.array([0, 1, 2, 3]), distances, GROUPING)
    weights = np.exp(-(distances**2) / 0.2)
    weights /= weights.sum()
    assert [place.rows for place in places] == [(1, 2), (0,)]
    assert places[0].share == pytest.approx(weights[1] + weights[2])  # not the view to the south
    assert places[1].share == pytest.approx(weights[0])
    assert places[0].distance == pytest.approx(0.61)
    expected = math.atan2(
        weights[1] * math.sin(math.radians(30)) + weights[2] * math.sin(math.radians(60)),
        weights[1] * math.cos(math.radians(30)) + weights[2] * math.cos(math.radians(60)),
    )
    assert places[0].heading == pytest.approx(expected)


def test_headings_on_both_sides_of_north_support_each_other(make_database):
    database = make_database([(0, 350), (50, 10)])
    (place,) = rank_places(database, np.array([0, 1]), np.array([0.5, 0.5]), GROUPING)
    assert place.rows == (0, 1)
    assert place.share == pytest.approx(1.0)
    assert min(place.heading, 2 * math.pi - place.heading) == pytest.approx(0.0, abs=1e-9)


def test_radius_and_heading_limits_are_inclusive_and_rows_index_the_catalog(make_database):
    database = make_database([(9000, 0), (0, 0), (0, 45), (0, 46), (99.9, 0), (100.2, 0)])
    rows = np.array([1, 2, 3, 4, 5])
    places = rank_places(database, rows, np.linspace(0.5, 0.6, 5), GROUPING)
    assert [place.rows for place in places] == [(1, 2, 4), (5,)]


def test_equal_shares_keep_the_order_of_the_descriptors(make_database):
    database = make_database([(0, 0), (5000, 0), (10000, 0)])
    places = rank_places(database, np.array([2, 0, 1]), np.array([0.4, 0.4, 0.4]), GROUPING)
    assert [place.rows[0] for place in places] == [2, 0, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 40.0), min_size=1, max_size=30), st.floats(1e-3, 10.0))
def test_weights_are_a_softmax_and_never_overflow(distances, temperature):
    weights = view_weights(np.array(distances), temperature)
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1.0)
    order = np.argsort(distances, kind="stable")
    assert (np.diff(weights[order]) <= 1e-15).all()


def test_opposite_headings_of_equal_weight_give_the_first():
    assert mean_heading([math.radians(90), math.radians(270)], [1.0, 1.0]) == pytest.approx(math.radians(90))
