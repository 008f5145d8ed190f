import json
import logging
import os
import resource
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crosslocate.errors import ConfigError, DataError, StoreError
from crosslocate.retrieval import approximate, approximate_search, faiss_index
from crosslocate.retrieval.approximate import ApproximateSearcher
from crosslocate.retrieval.index_files import IndexFiles
from crosslocate.retrieval.search import ExactSearch, ExactSearcher
from crosslocate.retrieval.search_report import SearchReport

ROWS, SIZE = 3000, 24


@pytest.fixture(scope="module")
def descriptors():
    """Clustered database, half precision, and queries near some of its rows."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((ROWS // 10, SIZE))
    database = np.repeat(centres, 10, axis=0) + 0.3 * rng.standard_normal((ROWS, SIZE))
    database /= np.linalg.norm(database, axis=1, keepdims=True)
    queries = database[rng.integers(0, ROWS, 40)] + 0.05 * rng.standard_normal((40, SIZE))
    return database.astype(np.float16), queries.astype(np.float32)


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO)
    return lambda: " ".join(r.getMessage() for r in caplog.records if r.name.startswith("crosslocate"))


def searcher(**changes):
    fields = {
        "factory": "IVF{lists},SQ8",
        "construction": "",
        "parameters": "nprobe=8",
        "training_rows": 2000,
        "rerank": 2,
        "sample": 30,
        "floor": 0.0,
        "threads": 1,
        "seed": 0,
    }
    return ApproximateSearcher(**fields | changes)


def files_in(folder):
    """Files but for the lock."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def refuse_training(*arguments):
    raise AssertionError("it was to be opened")


def test_the_report_is_what_one_measures_oneself(descriptors, capsys):
    database, queries = descriptors
    search = searcher(sample=100).over(database, queries=queries)
    found, exact = search.nearest(queries, 100), ExactSearcher("cpu").search(queries, database, 100)
    report = search.report
    for k in (1, 10, 100):
        shares = [
            len(set(a[:k]) & set(b[:k])) / k for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)
        ]
        assert report.found[k] == pytest.approx(np.mean(shares))
    assert 0.5 < report.found[100] < 1, "the example tells good from bad"
    assert (report.queries, report.of_database) == (40, False)
    assert 0 < report.median_ms <= report.slow_ms
    assert report.index_bytes > ROWS * SIZE
    assert report.peak_bytes > 2**20
    assert report.record["among"] == "all rows"
    assert SearchReport.from_record(report.record) == report
    assert f"{report.found[100]:.1%} of the exact 100" in capsys.readouterr().err


def test_rows_of_the_database_are_not_their_own_answers(descriptors):
    database = descriptors[0]
    everything = searcher(parameters="nprobe=1000", rerank=10).over(database).report
    assert everything.of_database
    assert everything.found == {1: 1.0, 10: 1.0, 100: 1.0}
    assert searcher(parameters="nprobe=1", rerank=0).over(database).report.found[100] < 1


def test_ranking_again_gives_exact_distances_and_order(descriptors):
    database, queries = descriptors
    found = searcher(parameters="nprobe=1000", rerank=10).search(queries, database, 20)
    exact = ExactSearcher("cpu").search(queries, database, 20)
    np.testing.assert_array_equal(found.rows, exact.rows)
    np.testing.assert_array_equal(found.distances, exact.distances)
    rough = searcher(parameters="nprobe=1000", rerank=0).search(queries, database, 20)
    assert not np.array_equal(rough.distances, exact.distances)
    np.testing.assert_allclose(rough.distances, exact.distances, atol=0.02)


def test_an_index_is_kept_and_opened_for_the_same_descriptors_alone(descriptors, tmp_path, monkeypatch, messages):
    database, queries = descriptors
    made = searcher().over(database, tmp_path, "these", queries)
    expected = made.nearest(queries, 10)
    content = {path.name: path.read_bytes() for path in files_in(tmp_path)}
    assert {name.rpartition(".")[2] for name in content} == {"faiss", "json"}
    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "train", refuse_training)
        opened = searcher().over(database, tmp_path, "these", queries)
        np.testing.assert_array_equal(opened.nearest(queries, 10).rows, expected.rows)
        assert opened.report == made.report
        with pytest.raises(AssertionError, match="opened"):
            searcher().over(database, tmp_path, "", queries)
        with pytest.raises(AssertionError, match="opened"):
            searcher(seed=1).over(database, tmp_path, "these", queries)
        with pytest.raises(AssertionError, match="opened"):
            searcher().over(database, tmp_path, "others", queries)
        wider = searcher(parameters="nprobe=1000").over(database, tmp_path, "these", queries).report
        assert wider.found[100] > made.report.found[100]
        assert searcher(parameters="nprobe=1000").over(database, tmp_path, "these").report == wider, "and kept"
    assert "identity 'these' instead of 'others'" in messages()
    again = searcher().over(database, tmp_path / "other", "these", queries)
    np.testing.assert_array_equal(again.nearest(queries, 10).rows, expected.rows)
    for name, old in content.items():
        if name.endswith(".faiss"):
            assert (tmp_path / "other" / name).read_bytes() == old, "the same index twice"


@pytest.mark.parametrize("damage", ["cut", "foreign", "no description", "broken description", "no costs"])
def test_what_is_damaged_is_made_again(descriptors, tmp_path, damage, messages):
    database, queries = descriptors
    searcher().over(database, tmp_path, "these", queries)
    (index,), (description,) = tmp_path.glob("*.faiss"), tmp_path.glob("*.json")
    whole, told = index.read_bytes(), json.loads(description.read_text())
    if damage == "cut":
        index.write_bytes(whole[:-100])
    elif damage == "foreign":
        index.write_bytes(b"x" * len(whole))
    elif damage == "no description":
        description.unlink()
    elif damage == "broken description":
        description.write_text("{")
    else:
        description.write_text(json.dumps(told | {"build_seconds": None}))
    search = searcher().over(database, tmp_path, "these", queries)
    assert "made again" in messages()
    assert index.read_bytes() == whole
    assert json.loads(description.read_text()).keys() == told.keys()
    assert search.nearest(queries, 3).rows.shape == (40, 3)


def test_an_interrupted_filling_goes_on_after_the_training(descriptors, tmp_path, monkeypatch):
    database, queries = descriptors

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "fill", interrupted)
        with pytest.raises(KeyboardInterrupt):
            searcher().over(database, tmp_path, "these", queries)
    assert len(list(tmp_path.glob("*.trained.faiss"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "train", refuse_training)
        found = searcher().over(database, tmp_path, "these", queries).nearest(queries, 5)
    assert not list(tmp_path.glob("*.trained.*"))
    undisturbed = searcher().over(database, None, "", queries).nearest(queries, 5)
    np.testing.assert_array_equal(found.rows, undisturbed.rows)


def test_a_full_disk_is_a_clear_error_that_leaves_nothing_half(descriptors, tmp_path):
    database, queries = descriptors
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"search index .*\.faiss cannot be written .*GiB free"):
            searcher().over(database, tmp_path, "these", queries)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all(".trained." in path.name for path in files_in(tmp_path))
    searcher().over(database, tmp_path, "these", queries)
    assert len(files_in(tmp_path)) == 2


@pytest.mark.parametrize(
    ("factory", "parameters"),
    [
        ("IVF{lists},SQ8", "nprobe=8"),
        ("PCAR16,IVF{lists},Flat", "nprobe=8"),
        ("HNSW8", "efSearch=64"),
        ("SQ8", ""),
    ],
)
def test_only_selected_rows_are_answers(descriptors, monkeypatch, factory, parameters):
    database, queries = descriptors
    search = searcher(factory=factory, parameters=parameters, rerank=5).over(database)
    for part in (0.2, 0.05):
        among = np.random.default_rng(2).random(ROWS) < part
        exact = ExactSearcher("cpu").over(database).nearest(queries, 10, among)
        np.testing.assert_array_equal(search.nearest(queries, 10, among).rows, exact.rows, "a small selection")
        with monkeypatch.context() as patch:
            patch.setattr(approximate_search, "FEWEST_SELECTED", 10)
            found = search.nearest(queries, 10, among)
        assert among[found.rows].all()
        pairs = zip(found.rows.tolist(), exact.rows.tolist(), strict=True)
        assert np.mean([len(set(a) & set(b)) / 10 for a, b in pairs]) > 0.95
    with pytest.raises(DataError, match="none of the 3000 rows"):
        search.nearest(queries, 10, np.zeros(ROWS, bool))


def test_a_graph_is_not_asked_for_selections_that_it_would_have_to_look_too_far_for(descriptors, monkeypatch):
    database, queries = descriptors
    search = searcher(factory="HNSW8", parameters="efSearch=64", rerank=1).over(database)
    among = np.random.default_rng(2).random(ROWS) < 0.1
    asked, candidates = [], faiss_index.candidates
    monkeypatch.setattr(approximate_search, "FEWEST_SELECTED", 10)
    monkeypatch.setattr(faiss_index, "candidates", lambda *a: asked.append(a) or candidates(*a))
    search.nearest(queries, 10, among)
    assert len(asked) == 1
    monkeypatch.setattr(faiss_index, "MOST_IN_SIGHT", 64 * 8)
    found = search.nearest(queries, 10, among)
    assert len(asked) == 1
    exact = ExactSearcher("cpu").over(database).nearest(queries, 10, among)
    np.testing.assert_array_equal(found.rows, exact.rows)


def test_queries_that_the_index_finds_too_little_for_are_searched_exactly(descriptors, messages):
    database, queries = descriptors
    found = searcher(parameters="nprobe=1").over(database).nearest(queries, 500)
    np.testing.assert_array_equal(found.rows, ExactSearcher("cpu").search(queries, database, 500).rows)
    assert "40 queries are searched exactly" in messages()


def test_small_databases_are_searched_exactly(descriptors, messages):
    database, queries = descriptors
    assert isinstance(searcher().over(database[:500]), ExactSearch)
    assert "500 x 24 is searched exactly" in messages()
    found = searcher().search(queries, database[:500], 5)
    np.testing.assert_array_equal(found.rows, ExactSearcher("cpu").search(queries, database[:500], 5).rows)


def test_a_share_below_the_floor_is_a_warning(descriptors, messages):
    database, queries = descriptors
    searcher(parameters="nprobe=1", floor=0.999).over(database, queries=queries)
    assert "less than search.floor=0.999" in messages()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "IVF{rows}"}, r"search\.factory='IVF\{rows\}'"),
        ({"factory": "nonsense"}, r"search\.factory='nonsense'.* 24 numbers"),
        ({"factory": "PCAR64,Flat", "parameters": ""}, r"search\.factory='PCAR64,Flat'"),
        ({"parameters": "probes=3"}, r"search\.parameters='probes=3'.* nprobe"),
        ({"construction": "x=3"}, r"search\.construction='x=3'"),
        ({"rerank": -1}, r"search\.rerank=-1"),
        ({"floor": 1.5}, r"search\.floor=1\.5"),
        ({"threads": 0}, r"search\.threads=0"),
    ],
)
def test_values_that_cannot_work_are_named(descriptors, changes, message):
    with pytest.raises(ConfigError, match=message):
        searcher(**changes).over(descriptors[0])


def test_what_an_index_finds_does_not_depend_on_who_made_it(descriptors, tmp_path):
    database, queries = descriptors
    plain = searcher(parameters="")
    first = plain.over(database, tmp_path / "a", "these").nearest(queries, 5)
    searcher(parameters="nprobe=1000").over(database, tmp_path / "b", "these")
    (a,), (b,) = (list((tmp_path / folder).glob("*.faiss")) for folder in "ab")
    assert a.read_bytes() == b.read_bytes()
    np.testing.assert_array_equal(plain.over(database, tmp_path / "b", "these").nearest(queries, 5).rows, first.rows)
    assert not np.array_equal(first.rows, searcher(parameters="nprobe=1000").search(queries, database, 5).rows)


def test_a_wrong_parameter_is_said_before_a_trained_index_is_filled(descriptors, tmp_path, monkeypatch):
    database = descriptors[0]
    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "fill", interrupted)
        with pytest.raises(KeyboardInterrupt):
            searcher().over(database, tmp_path, "these")
        with pytest.raises(ConfigError, match=r"search\.parameters='probes=3'"):
            searcher(parameters="probes=3").over(database, tmp_path, "these")


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_a_filled_index_is_kept_when_measuring_is_interrupted(descriptors, tmp_path, monkeypatch):
    database, queries = descriptors
    with monkeypatch.context() as patch:
        patch.setattr(approximate, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            searcher().over(database, tmp_path, "these", queries)
    monkeypatch.setattr(faiss_index, "fill", refuse_training)
    report = searcher().over(database, tmp_path, "these", queries).report
    (index,) = tmp_path.glob("*.faiss")
    assert report.index_bytes == index.stat().st_size
    assert report.build_seconds > 0


def test_an_opened_index_is_measured_as_it_is_asked_to_be(descriptors, tmp_path, monkeypatch, messages):
    database, queries = descriptors
    first = searcher().over(database, tmp_path, "these").report
    assert (first.of_database, first.queries) == (True, 30)
    monkeypatch.setattr(faiss_index, "train", refuse_training)
    assert searcher(sample=20).over(database, tmp_path, "these").report.queries == 20
    real = searcher(sample=20).over(database, tmp_path, "these", queries).report
    assert not real.of_database
    others = searcher(sample=20).over(database, tmp_path, "these", queries[:15]).report
    assert others.queries == 15
    with monkeypatch.context() as patch:
        patch.setattr(approximate, "measure", refuse_training)
        for given in (queries[:15], None):
            assert searcher(sample=20).over(database, tmp_path, "these", given).report == others
        assert "search.floor" not in messages()
        assert others.found[100] < 1
        searcher(sample=20, floor=1.0).over(database, tmp_path, "these")
        assert "less than search.floor=1" in messages()


def test_a_folder_that_cannot_be_written_costs_no_training(descriptors, tmp_path, messages):
    database, queries = descriptors
    (tmp_path / "file").touch()
    search = searcher().over(database, tmp_path / "file" / "search", "these", queries)
    assert "cannot be kept in" in messages()
    assert "in memory" in messages()
    expected = searcher().over(database).nearest(queries, 5)
    np.testing.assert_array_equal(search.nearest(queries, 5).rows, expected.rows)


def test_drafts_of_killed_writers_are_removed(descriptors, tmp_path):
    searcher().over(descriptors[0], tmp_path, "these")
    (index,) = tmp_path.glob("*.faiss")
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = socket.gethostname()
    dead = [
        tmp_path / f".{name}.{host}.{gone.pid}.00ff00ff.tmp" for name in (index.name, f"{index.stem}.trained.faiss")
    ]
    alive = tmp_path / f".{index.name}.{host}.{os.getpid()}.00ff00ff.tmp"
    for path in (*dead, alive):
        path.touch()
    searcher().over(descriptors[0], tmp_path, "others")
    assert not any(path.exists() for path in dead)
    assert alive.exists()


def test_of_two_that_want_the_same_index_one_makes_it(descriptors, tmp_path, monkeypatch, capsys):
    database, queries = descriptors
    fill, started, filled = faiss_index.fill, threading.Event(), []

    def slowly(*arguments):
        filled.append(arguments)
        started.set()
        time.sleep(0.3)
        fill(*arguments)

    monkeypatch.setattr(faiss_index, "fill", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(searcher().over, database, tmp_path, "these", queries)
        assert started.wait(20)
        second = pool.submit(searcher().over, database, tmp_path, "these", queries)
        found = [each.result(20).nearest(queries, 5).rows for each in (first, second)]
    np.testing.assert_array_equal(*found)
    assert len(filled) == 1
    assert "another process makes the search index" in capsys.readouterr().err


def test_a_description_that_is_replaced_meanwhile_is_left_as_it_is(tmp_path):
    files = IndexFiles(tmp_path, "a", {"identity": "these"})
    with pytest.raises(StoreError, match=r"left as it is: a\.json is missing"):
        files.amend(report=1)
    files.keep(lambda file: file.write(b"x"))
    IndexFiles(tmp_path, "a", {"identity": "others"}).keep(lambda file: file.write(b"y"))
    before = files.description.read_bytes()
    with pytest.raises(StoreError, match="identity 'others' instead of 'these'"):
        files.amend(report=1)
    assert files.description.read_bytes() == before
    files.description.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        files.amend(report=1)
