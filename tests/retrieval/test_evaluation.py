"""From descriptors to results: the reference's figures, matches, fields of view."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from golden_files import golden
from golden_poses import golden_poses
from rich.console import Console

from crosslocate.data.distance import Utm, Vincenty
from crosslocate.errors import ConfigError, DataError
from crosslocate.retrieval.chance import ExactChance
from crosslocate.retrieval.evaluation import Evaluator
from crosslocate.retrieval.field_of_view import FieldOfViewGroups
from crosslocate.retrieval.matches import Matches, write_matches
from crosslocate.retrieval.recall import Comparison, RecallCriteria
from crosslocate.retrieval.results import find
from crosslocate.retrieval.search import ExactSearcher, Neighbours
from crosslocate.retrieval.tables import field_of_view_table

GROUPS = FieldOfViewGroups([0, 15, 30, 45, 60, 80, 360], 10_000, 1_000)


class Given:
    """A searcher that was told the answer."""

    def __init__(self, neighbours):
        self.neighbours = neighbours

    report = None

    def over(self, database, queries):
        return self

    def nearest(self, queries, k):
        assert self.neighbours.shape[1] == k
        return Neighbours(np.zeros(self.neighbours.shape, np.float32), self.neighbours)


def reference(config, mode, searcher, descriptors):
    criteria = RecallCriteria(
        config["recallNumbers"],
        config["locationThresholds"],
        config["yawThreshold"],
        config["locationThresholdStep"],
        config["locationThresholds"][-1],
        "strict",
    )
    evaluator = Evaluator(criteria, searcher, ExactChance(), GROUPS, config["successfulLocalizationThreshold"])
    return evaluator.evaluate("train", *descriptors, *golden_poses(), {"wgs": Vincenty(), "utm": Utm()}[mode])


def check(figures, config, results, matches):
    assert results["curve"]["distance_m"] == figures["thresholds"].tolist()
    for line in results["curve"]["lines"]:
        key = "posDist" if line["heading_deg"] is None else "posOrDist"
        np.testing.assert_array_equal(line["recall"], figures[f"{key}@{line['number']}"])
    for heading, key in ((None, "pos"), (config["yawThreshold"], "posOr")):
        for distance in config["locationThresholds"]:
            found = [find(results, number, distance, heading)["recall"] for number in config["recallNumbers"]]
            np.testing.assert_array_equal(found, figures[f"{key}_{distance}m"])
    if 1 in config["recallNumbers"]:
        np.testing.assert_array_equal(matches.successes, figures["successes_qid"])
        np.testing.assert_array_equal(matches.failures, figures["fails_qid"])
        np.testing.assert_array_equal(matches.neighbours[matches.successes], figures["successes_cands"])
        np.testing.assert_array_equal(matches.neighbours[matches.failures], figures["fails_cands"])


CASES = ["wgs_A", "wgs_B", "wgs_C", "utm_A"]


@pytest.mark.parametrize("case", CASES)
def test_recalls_curves_successes_and_failures_of_the_reference(case):
    figures = np.load(golden(f"eval/recalls_train_{case}.npz"), allow_pickle=False)
    config = json.loads(str(figures["config_json"]))
    neighbours = figures["qNearestNeighbors"].astype(np.int64)
    nothing = np.zeros((200, 2), np.float32), np.zeros((3600, 2), np.float32)
    check(figures, config, *reference(config, case[:3], Given(neighbours), nothing))


@pytest.mark.parametrize("case", CASES)
def test_the_same_from_descriptors_where_they_are_at_hand(case):
    descriptors = np.load(golden("eval/desc_train.npz"), allow_pickle=False)
    figures = np.load(golden(f"eval/recalls_train_{case}.npz"), allow_pickle=False)
    config = json.loads(str(figures["config_json"]))
    pair = descriptors["q"], descriptors["db"]
    check(figures, config, *reference(config, case[:3], ExactSearcher("cpu"), pair))


def test_neighbours_of_the_reference_where_they_are_at_hand():
    descriptors = np.load(golden("eval/desc_train.npz"), allow_pickle=False)
    figures = np.load(golden("eval/knn_train.npz"), allow_pickle=False)
    found = ExactSearcher("cpu").search(descriptors["q"], descriptors["db"], 100)
    np.testing.assert_array_equal(found.rows, figures["ind"])
    np.testing.assert_allclose(found.distances, figures["dist"], atol=1e-6)


@pytest.fixture
def matches():
    """Five queries: near and fitting, near and turned, exactly at both limits, far, very far."""
    metres = np.array([[5.0, 30.0], [5.0, 1.0], [20.0, 7.0], [3000.0, 2.0], [20_000.0, 2.0]])
    heading = np.array([[0.1, 0.2], [1.0, 0.0], [np.radians(30), 0.0], [0.2, 0.0], [0.0, 0.0]])
    neighbours = np.arange(10).reshape(5, 2)
    return Matches.of(np.arange(5), neighbours, Comparison(metres, heading), distance=20, heading=30)


def test_a_query_is_localized_by_its_first_neighbour(matches):
    assert matches.localized.tolist() == [True, False, True, False, False]
    assert matches.successes.tolist() == [0, 2]
    assert matches.failures.tolist() == [1, 3, 4]
    many = Comparison(np.zeros((2, 40)), np.zeros((2, 40)))
    assert Matches.of(np.arange(2), np.zeros((2, 40), np.int64), many, distance=1, heading=1).metres.shape == (2, 10)


def test_matches_on_disk(matches, tmp_path, monkeypatch):
    monkeypatch.setattr("crosslocate.retrieval.matches._ROWS", 2)
    names = {"q": lambda rows: [f"q{r}" for r in rows], "d": lambda rows: [f"d{r}" for r in rows]}
    write_matches(tmp_path / "new" / "matches.csv", matches, names["q"], names["d"])
    with (tmp_path / "new" / "matches.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["query", "rank", "view", "metres", "heading_difference_deg", "success"]
    assert rows[1:4] == [
        ["q0", "1", "d0", "5.000", "5.730", "1"],
        ["q0", "2", "d1", "30.000", "11.459", "1"],
        ["q1", "1", "d2", "5.000", "57.296", "0"],
    ]
    assert len(rows) == 11
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["matches.csv"]


def test_fields_of_view(matches):
    """Edges belong to the group below; a query outside every group is in none."""
    criteria = RecallCriteria((1,), (20, 4000), 30, 20, 100)
    groups = FieldOfViewGroups([10, 45, 60], 10_000, 1_000)
    records = groups.measure(matches, np.radians([45.0, 44.0, 45.1, 60.0, 61.0]), criteria)
    assert [(r["above_deg"], r["to_deg"], r["queries"]) for r in records] == [(10, 45, 2), (45, 60, 2)]
    first, second = records
    assert (first["localized"], first["localized_share"], first["exactly"], first["exactly_share"]) == (1, 0.5, 1, 1.0)
    assert (second["localized"], second["exactly"], second["exactly_share"]) == (2, 1, 0.5)
    recalls = {(r["distance_m"], r["heading_deg"]): r["recall"] for r in first["recall_at_1"]}
    assert recalls == {(20, None): 1.0, (4000, None): 1.0, (20, 30.0): 0.5, (4000, 30.0): 0.5}
    empty = FieldOfViewGroups([100, 200, 300], 10, 1).measure(matches, np.ones(5), criteria)
    assert [(r["queries"], r["localized_share"], r["recall_at_1"]) for r in empty] == [(0, None, [])] * 2
    console = Console(width=100)
    with console.capture() as capture:
        console.print(field_of_view_table(records, "By field of view"))
        console.print(field_of_view_table(empty, "Nobody"))
    row = next(line for line in capture.get().splitlines() if "45-60" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["45-60°", "2", "100.0", "50.0", "50.0", "100.0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 30, 30], 10, 1), r"evaluation\.fields_of_view\.edges=\[0, 30, 30\]"),
        (([0], 10, 1), "two or more degrees"),
        (([0, 30], 10, 11), "exact_distance=11.*localized_distance=10"),
    ],
)
def test_groups_that_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FieldOfViewGroups(*arguments)


def test_fewer_views_than_neighbours_asked_for_is_a_warning(caplog):
    rng = np.random.default_rng(0)
    poses = SimpleNamespace(
        longitude=np.full(6, 7.0), latitude=np.full(6, 46.0), yaw=np.zeros(6), horizontal_fov=np.ones(6)
    )

    class Six(SimpleNamespace):
        def __len__(self):
            return 6

    poses = Six(**vars(poses))
    criteria = RecallCriteria((1, 10, 100), (20,), 30, 20, 20)
    evaluator = Evaluator(criteria, ExactSearcher("cpu"), ExactChance(), GROUPS, 20)
    descriptors = rng.random((6, 4), np.float32)
    results, matches = evaluator.evaluate("val", descriptors, descriptors, poses, poses, Vincenty())
    assert "the database has 6 views; recall@[10, 100] looks at all of them" in caplog.text
    assert find(results, 100, 20, None)["recall"] == 1.0
    assert results["successes"] == {"distance_m": 20.0, "heading_deg": 30.0, "queries": 6}
    assert matches.neighbours.shape == (6, 6)
    with pytest.raises(DataError, match="5 descriptors for 6 views of split 'val'"):
        evaluator.evaluate("val", descriptors, descriptors[:5], poses, poses, Vincenty())
