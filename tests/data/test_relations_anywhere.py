"""Relations anywhere on earth: poles, the date line, shared positions, any order of views; against all pairs."""

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from golden_poses import Poses
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from crosslocate.data.distance import Geodesic, Utm, Vincenty
from crosslocate.data.relations import relate, views_near_queries, views_within
from crosslocate.data.sites import Sites

MODELS = [Geodesic(), Vincenty(), Utm()]
CENTRES = [(7.0, 46.0), (180.0, 0.0), (-180.0, 66.0), (0.0, 90.0), (33.0, -90.0), (180.0, -89.9999), (-0.0, 0.0)]
WGS84 = Geod(ellps="WGS84")


@st.composite
def scenes(draw):
    """Queries and views around a few centres, some at one position; several views a place, in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    centres = np.array(draw(st.lists(st.sampled_from(CENTRES), min_size=1, max_size=3)))
    places, headings = draw(st.integers(1, 25)), draw(st.integers(1, 6))
    spread = 10.0 ** draw(st.integers(-1, 6))
    centre = centres[rng.integers(0, len(centres), places)]
    longitude, latitude, _ = WGS84.fwd(*centre.T, rng.uniform(0, 360, places), rng.uniform(0, spread, places))
    position = np.stack([longitude, latitude], axis=1)
    exact = rng.random(places) < 0.3
    position[exact] = centre[exact]
    views = np.repeat(np.arange(places), headings)
    if draw(st.booleans()):
        views = rng.permutation(views)
    asking = rng.integers(0, places, draw(st.integers(0, 12)))
    query = position[asking]
    moved = rng.random(len(query)) < 0.6
    if moved.any():
        aside = WGS84.fwd(*query[moved].T, rng.uniform(0, 360, moved.sum()), rng.uniform(0, spread / 2, moved.sum()))
        query[moved] = np.stack(aside[:2], axis=1)
    return _posed(query, rng), _posed(position[views], rng)


def _posed(position, rng):
    count = len(position)
    return Poses(
        longitude=position[:, 0],
        latitude=position[:, 1],
        easting=np.round(position[:, 0] * 1e5),
        northing=position[:, 1] * 1e5,
        yaw=rng.choice([0.0, 0.1, np.pi, 6.2, -0.2, 2 * np.pi, 9.0], count),
        horizontal_fov=rng.uniform(0.3, 2.0, count),
    )


def metres_between(model, queries, database):
    """All pairs, by formulas that take no part in the search."""
    if isinstance(model, Utm):
        east, north = (getattr(queries, a)[:, None] - getattr(database, a) for a in ("easting", "northing"))
        return np.sqrt(east * east + north * north)
    query, view = (
        [np.broadcast_to(a, (len(queries), len(database))).ravel() for a in (longitude, latitude)]
        for longitude, latitude in (
            (queries.longitude[:, None], queries.latitude[:, None]),
            (database.longitude, database.latitude),
        )
    )
    geodesic = WGS84.inv(*query, *view)[2]
    metres = geodesic if isinstance(model, Geodesic) else model.metres(tuple(query), tuple(view))
    np.testing.assert_allclose(metres, geodesic, atol=1.0)
    return np.asarray(metres).reshape(len(queries), len(database))


def apart(queries, database):
    turn = np.abs(np.mod(queries.yaw[:, None], 2 * np.pi) - np.mod(database.yaw, 2 * np.pi))
    return np.minimum(turn, 2 * np.pi - turn)


def thresholds(metres, picks):
    """Two distances, ascending, each at, just below or away from one that occurs."""
    some = np.concatenate([metres.ravel(), [0.0]])
    chosen = [float(some[int(share * (len(some) - 1))]) for share in (picks[0], picks[1])]
    return sorted(
        max(0.0, float(np.nextafter(m, 0)) if below else m) for m, below in zip(chosen, picks[2:], strict=True)
    )


def listed(csr):
    return [csr.row(i).tolist() for i in range(len(csr))]


def rows(table):
    return [np.flatnonzero(row).tolist() for row in table]


PICKS = st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.booleans())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@settings(max_examples=80, deadline=None)
@given(scenes(), PICKS, st.sampled_from([None, 17.0, 180.0]), st.sampled_from([1, 5, 1 << 16]))
def test_relations_equal_all_pairs(model, scene, picks, heading, block):
    queries, database = scene
    metres, turned = metres_between(model, queries, database), apart(queries, database)
    near, far = thresholds(metres, picks)
    limit = queries.horizontal_fov[:, None] / 4 if heading is None else np.radians(heading)
    with patch("crosslocate.data.sites.PAIR_BLOCK", block), patch("crosslocate.data.sites.VIEW_BLOCK", 2 * block):
        found = relate(
            queries, database, positive_distance=near, positive_heading=heading, negative_distance=far, model=model
        )
        within = views_within(queries, database, far, 20.0, model)
    assert listed(found.positives) == rows((metres <= near) & (turned <= limit))
    assert listed(found.nonnegatives) == rows(metres <= far)
    assert listed(within) == rows((metres <= far) & (turned <= np.radians(20.0)))
    some = views_near_queries(queries, database, far, model)
    np.testing.assert_array_equal(some, np.flatnonzero((metres <= far).any(axis=0)))
    for csr in (found.positives, found.nonnegatives, within):
        assert (csr.indptr.dtype, csr.indices.dtype) == (np.int64, np.int32)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e-300]), max_size=60), st.randoms())
def test_every_row_is_in_one_site_of_its_position(values, random):
    x, y = np.array(values), np.array([random.choice([3.0, 4.0]) for _ in values])
    sites = Sites.of(x, y)
    order = np.arange(len(x)) if sites.rows is None else sites.rows
    assert sorted(order.tolist()) == list(range(len(x)))
    np.testing.assert_array_equal(sites.starts, np.cumsum(sites.sizes) - sites.sizes)
    assert sites.sizes.sum() == len(x)
    for start, size, first in zip(sites.starts, sites.sizes, sites.first_rows, strict=True):
        members = order[start : start + size]
        assert members[0] == first
        assert (np.diff(members) > 0).all()
        assert set(zip(x[members], y[members], strict=True)) == {(x[first], y[first])}
    if sites.rows is not None:
        assert len(sites.starts) == len(set(zip(x, y, strict=True)))
    chosen = np.arange(len(sites.starts)) % 2 == 0
    expected = [r for i in np.flatnonzero(chosen) for r in order[sites.starts[i] : sites.starts[i] + sites.sizes[i]]]
    assert sites.rows_of(chosen).tolist() == sorted(expected)


def test_scattered_views_of_a_place_form_one_site():
    """Else a tree of ten million views takes a minute where one of their places takes a second."""
    x, y = np.repeat(np.arange(50.0), 12), np.repeat(np.arange(50.0) % 7, 12)
    assert len(Sites.of(x, y).starts) == 50
    order = np.random.default_rng(0).permutation(600)
    assert len(Sites.of(x[order], y[order]).starts) == 50
    assert Sites.of(x, y).rows is None


def test_memory_of_places_with_very_many_views():
    """200 queries and 50,000 views at one place: 38 MiB of result, of which no block may make ten times as much."""
    rng = np.random.default_rng(0)
    database, queries = (_posed(np.tile([7.0, 46.0], (count, 1)), rng) for count in (50_000, 200))
    views_within(queries, database, 0.0, 1.0)  # imports
    tracemalloc.start()
    try:
        assert len(views_within(queries, database, 0.0).indices) == 200 * 50_000
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()


def test_antipodes_are_within_their_own_distance():
    rng = np.random.default_rng(0)
    query, view = np.array([[-3.82788307e-07, 3.42740535e-07]]), np.array([[180.0, -8.79993394e-07]])
    metres = Geodesic().metres((query[:, 0], query[:, 1]), (view[:, 0], view[:, 1]))
    assert views_within(_posed(query, rng), _posed(view, rng), float(metres[0])).indices.tolist() == [0]
