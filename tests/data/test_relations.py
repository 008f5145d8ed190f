"""Relations against brute force over all pairs, at thresholds, seams and poles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.relations import NegativeRule, farther_than, relate, views_within
from crosslocate.errors import ConfigError
from crosslocate.geo import destination, geodesic_distance, heading_difference


def make_catalog(folder, role, longitude, latitude, yaw, fov=1.0):
    n = len(longitude)
    columns = {
        "name": [f"{role[0]}{i}" for i in range(n)],
        "place": np.arange(n),
        "split": ["train"] * n,
        "longitude": np.asarray(longitude, float),
        "latitude": np.asarray(latitude, float),
        "elevation": np.full(n, 3000.0),
        "yaw": np.asarray(yaw, float),
        "pitch": np.zeros(n),
        "roll": np.zeros(n),
        "horizontal_fov": np.broadcast_to(np.asarray(fov, float), n),
    }
    write_catalog(folder / f"{role}.parquet", columns, role, {"depth": "{name}.exr"})
    return read_catalog(folder / f"{role}.parquet")


def scattered(folder, centre, seed=0, queries=40, places=30, spread=3000.0):
    """Queries and 12-view places around a centre, so that all relations occur; some queries lie exactly at a place."""
    rng = np.random.default_rng(seed)

    def around(n):
        return destination(*centre, rng.uniform(0, 2 * np.pi, n), spread * np.sqrt(rng.random(n)))

    place_lon, place_lat = around(places)
    query_lon, query_lat = around(queries)
    query_lon[:20], query_lat[:20] = place_lon[:20], place_lat[:20]
    query_lon[20:30], query_lat[20:30] = destination(place_lon[:10], place_lat[:10], 1.0, rng.uniform(5, 40, 10))
    views = np.tile(np.arange(12) * np.pi / 6, places)
    database = make_catalog(folder, "database", np.repeat(place_lon, 12), np.repeat(place_lat, 12), views)
    yaw, fov = rng.uniform(-7, 13, queries), rng.uniform(0.4, 1.5, queries)
    return make_catalog(folder, "queries", query_lon, query_lat, yaw, fov), database


def all_pairs(queries, database):
    metres = geodesic_distance(
        queries.longitude[:, None], queries.latitude[:, None], database.longitude, database.latitude
    )
    return metres, heading_difference(queries.yaw[:, None], database.yaw)


def rows_of(csr):
    return [csr.row(i).tolist() for i in range(len(csr))]


def listed(table):
    return [np.flatnonzero(row).tolist() for row in table]


@pytest.mark.parametrize("centre", [(7.0, 46.0), (179.999, 60.0), (-0.001, -0.001), (20.0, 89.99)])
@pytest.mark.parametrize("heading", [15.0, None])
def test_relations_equal_brute_force(tmp_path, centre, heading):
    queries, database = scattered(tmp_path, centre)
    metres, apart = all_pairs(queries, database)
    limit = queries.horizontal_fov[:, None] / 4 if heading is None else np.radians(heading)
    relations = relate(queries, database, positive_heading=heading)
    assert rows_of(relations.positives) == listed((metres <= 20) & (apart <= limit))
    assert rows_of(relations.nonnegatives) == listed(metres <= 2000)
    expected = np.flatnonzero(~((metres <= 20) & (apart <= limit)).any(1))
    np.testing.assert_array_equal(np.flatnonzero(relations.positives.counts == 0), expected)
    assert 0 < len(expected) < len(queries)


def test_scattered_places_of_one_position_in_several_runs(tmp_path):
    """Views of a place need not follow each other in the file."""
    order = np.random.default_rng(1).permutation(360)
    queries, database = scattered(tmp_path, (7.0, 46.0))
    shuffled = database.take(order)
    metres, apart = all_pairs(queries, shuffled)
    assert rows_of(views_within(queries, shuffled, 500.0)) == listed(metres <= 500)
    near = views_within(queries, shuffled, 500.0, 30.0)
    assert rows_of(near) == listed((metres <= 500) & (apart <= np.radians(30)))
    np.testing.assert_array_equal(near.counts, [len(r) for r in rows_of(near)])


def test_blocks_of_queries_join_seamlessly(tmp_path, monkeypatch):
    queries, database = scattered(tmp_path, (7.0, 46.0))
    whole = relate(queries, database)
    monkeypatch.setattr("crosslocate.data.sites.PAIR_BLOCK", 7)
    parts = relate(queries, database)
    for a, b in ((whole.positives, parts.positives), (whole.nonnegatives, parts.nonnegatives)):
        np.testing.assert_array_equal(a.indptr, b.indptr)
        np.testing.assert_array_equal(a.indices, b.indices)


def test_thresholds_are_inclusive_to_the_last_bit(tmp_path):
    queries, database = scattered(tmp_path, (7.0, 46.0))
    metres, apart = all_pairs(queries, database)
    exact = float(metres[25, 100])
    assert 100 in views_within(queries, database, exact).row(25)
    assert 100 not in views_within(queries, database, np.nextafter(exact, 0)).row(25)
    query, view = np.argwhere((metres <= 20) & (apart < 0.2))[0]
    degrees = float(np.degrees(apart[query, view]))
    while np.radians(degrees) < apart[query, view]:
        degrees = np.nextafter(degrees, 180)
    assert view in views_within(queries, database, 20.0, degrees).row(query)
    below = degrees
    while np.radians(below) >= apart[query, view]:
        below = np.nextafter(below, 0)
    assert view not in views_within(queries, database, 20.0, below).row(query)


def test_headings_across_north(tmp_path):
    database = make_catalog(tmp_path, "database", [7.0] * 3, [46.0] * 3, np.radians([0, 350, 20]))
    queries = make_catalog(tmp_path, "queries", [7.0] * 3, [46.0] * 3, np.radians([359, 725, -12]))
    positives = relate(queries, database, positive_heading=11.0).positives
    assert rows_of(positives) == [[0, 1], [0], [1]]


def test_distance_zero_and_no_neighbours(tmp_path):
    database = make_catalog(tmp_path, "database", [7.0, 7.0, 8.0], [46.0] * 3, [0.0, 0.0, 0.0])
    queries = make_catalog(tmp_path, "queries", [7.0, 9.0], [46.0, 46.0], [0.0, 0.0])
    assert rows_of(views_within(queries, database, 0.0)) == [[0, 1], []]
    assert rows_of(views_within(queries.take([1]), database, 10.0)) == [[]]
    assert rows_of(views_within(queries, database.take([]), 10.0)) == [[], []]
    assert rows_of(views_within(queries.take([]), database, 10.0)) == []


def test_positive_distance_beyond_negative_distance_is_refused(tmp_path):
    queries, database = scattered(tmp_path, (7.0, 46.0))
    with pytest.raises(ConfigError, match=r"dataset\.positive_distance=3000\.0 .*negative_distance=2000"):
        relate(queries, database, positive_distance=3000.0)


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-89.9, 89.9), st.floats(0, 2 * np.pi), st.floats(0, 2e6), st.floats(0, 2e6))
def test_farther_than_is_the_geodesic_comparison(longitude, latitude, heading, metres, threshold):
    """The bounds that avoid exact geodesics never decide otherwise than the geodesic."""

    class Points:
        def __init__(self, lon, lat):
            self.longitude, self.latitude = np.atleast_1d(lon), np.atleast_1d(lat)

    there = destination(longitude, latitude, heading, metres)
    here, there = Points(longitude, latitude), Points(*there)
    exact = geodesic_distance(here.longitude, here.latitude, there.longitude, there.latitude)
    for limit in (threshold, float(exact[0]), np.nextafter(exact[0], 0), metres):
        found = farther_than(here, np.array([0]), there, np.array([0]), limit)
        assert found.tolist() == (exact > limit).tolist()


@pytest.mark.parametrize("heading", [None, 50.0])
def test_negative_rule_for_pairs_and_tables(tmp_path, heading):
    queries, database = scattered(tmp_path, (7.0, 46.0))
    metres, apart = all_pairs(queries, database)
    rule = NegativeRule(1000.0, heading)
    expected = metres > 1000
    if heading is not None:
        expected |= apart > np.radians(heading)
    views = np.arange(0, 360, 7)
    table = rule.allowed(queries, np.arange(40)[:, None], database, views)
    np.testing.assert_array_equal(table, expected[:, views])
    paired = rule.allowed(queries, np.arange(40), database, views[:40])
    np.testing.assert_array_equal(paired, expected[np.arange(40), views[:40]])
