"""Relations by every model of distance: against brute force, against the reference, at any radius, in little memory."""

import json
import tracemalloc

import numpy as np
import pytest
from golden_files import golden
from golden_poses import Poses, golden_poses

from crosslocate.data.distance import Geodesic, Utm, Vincenty
from crosslocate.data.relations import NegativeRule, farther_than, relate, views_near_queries, views_within
from crosslocate.geo import heading_difference

MODELS = [Geodesic(), Vincenty(), Utm()]
IDS = [type(model).__name__ for model in MODELS]
REFERENCE = {"wgs": Vincenty(), "utm": Utm()}


def scattered(queries=60, places=40, headings=12, spread=3000.0, seed=0):
    """A plane around 7 degrees east, 46 north; some queries at a place, some exactly 20 m away in the plane."""
    rng = np.random.default_rng(seed)
    centres = np.round(rng.uniform(0, spread, (places, 2)) * 4) / 4
    query = np.round(rng.uniform(0, spread, (queries, 2)) * 4) / 4
    query[:15], query[15:30] = centres[:15], centres[:15] + np.array([12.0, 16.0])
    yaw = np.tile(np.arange(headings) * 2 * np.pi / headings, places)
    return _placed(query, rng.uniform(-7, 13, queries)), _placed(np.repeat(centres, headings, axis=0), yaw)


def _placed(plane, yaw):
    return Poses(
        longitude=7 + plane[:, 0] / 77_400,
        latitude=46 + plane[:, 1] / 111_150,
        easting=350_000 + plane[:, 0],
        northing=5_000_000 + plane[:, 1],
        yaw=yaw,
        horizontal_fov=np.linspace(0.3, 1.5, len(yaw)),
    )


def listed(csr):
    return [csr.row(i).tolist() for i in range(len(csr))]


def rows(table):
    return [np.flatnonzero(row).tolist() for row in table]


@pytest.mark.parametrize("model", MODELS, ids=IDS)
@pytest.mark.parametrize("heading", [15.0, None])
def test_relations_equal_brute_force(model, heading):
    queries, database = scattered()
    metres = model.between(queries, np.arange(60)[:, None], database, np.arange(480))
    apart = heading_difference(queries.yaw[:, None], database.yaw)
    limit = queries.horizontal_fov[:, None] / 4 if heading is None else np.radians(heading)
    found = relate(queries, database, positive_heading=heading, negative_distance=700, model=model)
    assert listed(found.positives) == rows((metres <= 20) & (apart <= limit))
    assert listed(found.nonnegatives) == rows(metres <= 700)
    pairs = np.arange(60)[:, None], np.arange(480)
    np.testing.assert_array_equal(
        NegativeRule(700, 50, model).allowed(queries, pairs[0], database, pairs[1]),
        (metres > 700) | (apart > np.radians(50)),
    )
    np.testing.assert_array_equal(farther_than(queries, pairs[0], database, pairs[1], 20, model), metres > 20)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
@pytest.mark.parametrize("distance", [0, 20, 300, 1e5, 1.99e7, 1e9])
def test_views_near_any_query_equal_brute_force(model, distance):
    queries, database = scattered(queries=30, spread=20_000.0)
    nearest = model.between(queries, np.arange(30)[:, None], database, np.arange(480)).min(axis=0)
    expected = np.flatnonzero(nearest <= distance)
    np.testing.assert_array_equal(views_near_queries(queries, database, distance, model), expected)
    some = float(np.sort(np.unique(nearest))[7])
    for threshold in (some, np.nextafter(some, 0)):
        found = views_near_queries(queries, database, threshold, model)
        np.testing.assert_array_equal(found, np.flatnonzero(nearest <= threshold))


def test_nothing_near_nothing():
    queries, database = scattered(queries=30)
    none = Poses(**{name: values[:0] for name, values in vars(queries).items()})
    assert views_near_queries(none, database, 1e9).tolist() == []
    assert views_near_queries(queries, none, 1e9).tolist() == []
    assert listed(views_within(none, database, 1e9)) == []


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_small_blocks_and_huge_radii(model, monkeypatch):
    queries, database = scattered()
    whole = relate(queries, database, negative_distance=1e9, model=model)
    assert whole.nonnegatives.counts.tolist() == [480] * 60
    monkeypatch.setattr("crosslocate.data.sites.PAIR_BLOCK", 7)
    parts = relate(queries, database, negative_distance=1e9, model=model)
    for a, b in ((whole.positives, parts.positives), (whole.nonnegatives, parts.nonnegatives)):
        np.testing.assert_array_equal(a.indptr, b.indptr)
        np.testing.assert_array_equal(a.indices, b.indices)


def test_memory_grows_with_the_result_only():
    """3,000 queries and 24,000 views, all within 1e9 m: a matrix of distances would take 549 MiB."""
    queries, database = scattered(queries=3000, places=2000, spread=200_000.0)
    relate(*scattered())
    tracemalloc.start()
    try:
        relate(queries, database)
        assert views_near_queries(queries, database, 1e9).tolist() == list(range(24_000))
        assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
    finally:
        tracemalloc.stop()


def check_relations(figures):
    queries, database = golden_poses()
    for config in json.loads(str(figures["configs_json"])):
        found = relate(
            queries,
            database,
            positive_distance=config["positiveLocationThreshold"],
            positive_heading=config["positiveYawThreshold_deg"],
            negative_distance=config["negativeLocationMinThreshold"],
            model=REFERENCE[config["mode"]],
        )
        for name, csr in (("pos", found.positives), ("nonneg", found.nonnegatives)):
            key = f"c{config['index']}_{name}"
            if f"{key}_val" in figures:
                np.testing.assert_array_equal(csr.indptr, figures[f"{key}_off"], err_msg=key)
                np.testing.assert_array_equal(csr.indices, figures[f"{key}_val"], err_msg=key)


def test_relations_of_the_reference():
    """18 configurations; in some the threshold is a distance that occurs, or the number next to it."""
    check_relations(np.load(golden("relations.npz"), allow_pickle=False))


def test_all_relations_of_the_reference_where_they_are_at_hand():
    check_relations(np.load(golden("geo/mining_ids_train.npz"), allow_pickle=False))


@pytest.mark.parametrize("distance", [0, 20, 500, 2000, 1e9])
def test_filtered_sets_of_the_reference(distance):
    figures = np.load(golden("geo/filter_train.npz"), allow_pickle=False)
    kept = figures[f"thr{distance:g}_kept_index"]
    for model in (Vincenty(), Geodesic()):
        np.testing.assert_array_equal(views_near_queries(*golden_poses(), distance, model), kept)
