import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import ConfigError, DataError
from crosslocate.retrieval.faiss_search import FaissFlat
from crosslocate.retrieval.proposals import DeviceProposals, HostProposals
from crosslocate.retrieval.search import ExactSearcher, require_device


def brute_force(queries, database, k):
    """Every distance in float64, ties to the lower row."""
    difference = queries[:, None].astype(np.float64) - database[None].astype(np.float64)
    squared = np.square(difference).sum(-1)
    rows = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, rows, 1)), rows


def random_descriptors(count, size, seed, spread=1.0):
    values = np.random.default_rng(seed).standard_normal((count, size)) * spread
    values[:, 0] += 1.0
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 300),
    k=st.integers(1, 40),
    levels=st.integers(1, 4),
    database_block=st.sampled_from([1, 7, 64, 1000]),
    query_block=st.sampled_from([1, 3, 100]),
    half=st.booleans(),
    share=st.sampled_from([None, 0.05, 0.6]),
)
def test_equal_to_brute_force_whatever_the_blocks_and_ties(
    seed, rows, k, levels, database_block, query_block, half, share
):
    rng = np.random.default_rng(seed)
    queries = rng.integers(0, levels, (5, 4)).astype(np.float32)
    database = rng.integers(0, levels, (rows, 4)).astype(np.float16 if half else np.float32)
    among = np.arange(rows) % rows == 0 if share == 0.05 else None if share is None else rng.random(rows) < share
    chosen = np.arange(rows) if among is None else np.flatnonzero(among)
    search = ExactSearcher("cpu", database_block, query_block).over(database)
    if len(chosen) == 0:
        with pytest.raises(DataError, match="none of the"):
            search.nearest(queries, k, among)
        return
    found = search.nearest(queries, k, among)
    distances, places = brute_force(queries, database[chosen], min(k, len(chosen)))
    expected = chosen[places]
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.distances, distances.astype(np.float32))


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_equal_to_brute_force_on_close_descriptors_with_both_stages(spread, dtype, caplog):
    queries = random_descriptors(30, 48, 1, spread)
    database = random_descriptors(4000, 48, 2, spread).astype(dtype)
    with caplog.at_level(logging.WARNING):
        found = ExactSearcher("cpu", database_block=3001, query_block=16).search(queries, database, 10)
    distances, rows = brute_force(queries, database, 10)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-7)
    if dtype == np.float32:
        own = [record for record in caplog.records if record.name.startswith("crosslocate")]
        assert not own, "descriptors that differ are told apart without the slow search"


def test_collapsed_descriptors_are_ranked_by_row_with_a_warning(caplog):
    database = np.ones((500, 8), np.float32)
    with caplog.at_level(logging.WARNING):
        found = ExactSearcher("cpu", database_block=100).search(database[:3] * 2, database, 4)
    assert found.rows.tolist() == [[0, 1, 2, 3]] * 3
    assert "3 of 3 queries" in caplog.text


def test_the_answer_for_a_query_does_not_depend_on_the_others():
    queries, database = random_descriptors(9, 32, 3), random_descriptors(700, 32, 4)
    searcher = ExactSearcher("cpu", 256, 4)
    whole = searcher.search(queries, database, 20)
    for row in range(9):
        alone = searcher.search(queries[row : row + 1], database, 20)
        np.testing.assert_array_equal(alone.rows[0], whole.rows[row])
        np.testing.assert_array_equal(alone.distances[0], whole.distances[row])


def test_reduced_precision_of_the_training_does_not_reach_the_search():
    queries, database = random_descriptors(20, 64, 5, 1e-2), random_descriptors(900, 64, 6, 1e-2)
    expected = ExactSearcher("cpu").search(queries, database, 5)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            found = ExactSearcher("cpu").search(queries, database, 5)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found.rows, expected.rows)


def test_memory_mapped_database(tmp_path):
    database = random_descriptors(300, 16, 7)
    database.tofile(tmp_path / "d.bin")
    mapped = np.memmap(tmp_path / "d.bin", np.float32, "r", shape=database.shape)
    found = ExactSearcher("cpu", 77).search(database[:10], mapped, 3)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(10))
    np.testing.assert_array_equal(found.distances[:, 0], 0.0)


@pytest.mark.parametrize("searcher", [ExactSearcher("cpu"), FaissFlat()])
def test_small_databases_and_no_queries(searcher, caplog):
    database = random_descriptors(3, 5, 8)
    with caplog.at_level(logging.INFO):
        found = searcher.search(database, database, 100)
    assert found.rows.shape == (3, 3)
    assert "100 neighbours in a database of 3" in caplog.text
    nothing = searcher.search(database[:0], database, 2)
    assert nothing.rows.shape == nothing.distances.shape == (0, 2)


@pytest.mark.parametrize("searcher", [ExactSearcher("cpu"), FaissFlat()])
def test_what_cannot_be_searched_is_refused(searcher):
    database = random_descriptors(3, 5, 9)
    with pytest.raises(DataError, match=r"\(2, 4\).*\(3, 5\)"):
        searcher.search(np.ones((2, 4), np.float32), database, 1)
    with pytest.raises(DataError, match="no descriptors"):
        searcher.search(database, database[:0], 1)
    with pytest.raises(ConfigError, match="k=0"):
        searcher.search(database, database, 0)


def test_descriptors_that_are_not_finite_are_named():
    database = random_descriptors(50, 5, 10)
    broken = database.copy()
    broken[37, 2] = np.inf
    with pytest.raises(DataError, match="database row 37"):
        ExactSearcher("cpu", 16).search(database, broken, 1)
    with pytest.raises(DataError, match="query row 37"):
        ExactSearcher("cpu", 16).search(broken, database, 1)


def test_blocks_must_be_positive():
    with pytest.raises(ConfigError, match=r"search\.query_block=0"):
        ExactSearcher("cpu", query_block=0)
    with pytest.raises(ConfigError, match=r"search\.database_block=0"):
        FaissFlat(0)


@pytest.mark.parametrize("tile", [64, 500])
def test_running_thresholds_over_many_tiles_miss_nothing(tile, monkeypatch):
    monkeypatch.setattr("crosslocate.retrieval.proposals.TILE", tile)
    queries, database = random_descriptors(12, 16, 15), random_descriptors(3000, 16, 16)
    database = database[np.argsort(-np.square(database - queries[0]).sum(axis=1))]  # nearer and nearer to one of them
    found = ExactSearcher("cpu", 700, 5).search(queries, database, 10)
    distances, rows = brute_force(queries, database, 10)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.distances, distances.astype(np.float32))


def test_what_is_kept_on_a_device_is_what_is_kept_on_the_cpu():
    queries, database = (
        torch.from_numpy(random_descriptors(9, 16, 17)),
        torch.from_numpy(random_descriptors(900, 16, 18)),
    )
    kept = []
    for kind in (HostProposals, DeviceProposals):
        best = kind(queries, 30, 4)
        for start in range(0, 900, 301):
            block = database[start : start + 301]
            best.add(block, block.square().sum(dim=1) / 2, np.arange(start, start + len(block)))
        kept.append(best.kept())
    np.testing.assert_array_equal(np.sort(kept[0][0]), np.sort(kept[1][0]))
    np.testing.assert_allclose(kept[0][1], kept[1][1], atol=1e-6)


def test_faiss_honours_a_selection():
    queries, database = random_descriptors(20, 32, 11), random_descriptors(1000, 32, 12)
    among = np.arange(1000) % 3 == 1
    ours, theirs = (s.over(database).nearest(queries, 15, among) for s in (ExactSearcher("cpu"), FaissFlat(100)))
    np.testing.assert_array_equal(theirs.rows, ours.rows)


@pytest.mark.parametrize("block", [100, 5000])
def test_faiss_agrees(block):
    queries, database = random_descriptors(20, 32, 11), random_descriptors(1000, 32, 12)
    ours, theirs = ExactSearcher("cpu").search(queries, database, 15), FaissFlat(block).search(queries, database, 15)
    np.testing.assert_array_equal(theirs.rows, ours.rows)
    np.testing.assert_allclose(theirs.distances, ours.distances, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_answer_of_the_cpu():
    queries, database = random_descriptors(64, 128, 13), random_descriptors(20000, 128, 14)
    cpu, gpu = (ExactSearcher(device, 4096).search(queries, database, 50) for device in ("cpu", "auto"))
    np.testing.assert_array_equal(gpu.rows, cpu.rows)
    np.testing.assert_array_equal(gpu.distances, cpu.distances)


@pytest.mark.parametrize("device", ["mps", "meta", "gpu"])
def test_devices_that_cannot_search_are_refused(device):
    with pytest.raises(ConfigError, match=rf"search\.device='{device}' is not allowed; allowed: cpu, cuda"):
        ExactSearcher(device)


def test_a_gpu_that_is_not_there_is_missed_when_it_is_needed(monkeypatch):
    database = np.ones((3, 2), np.float32)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    searcher = ExactSearcher("cuda")  # the machine that submits needs none
    with pytest.raises(ConfigError, match=r"search\.device='cuda' .*finds no GPUs here"):
        searcher.over(database)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_device(ExactSearcher("cuda:1"))
    with pytest.raises(ConfigError, match=r"search\.device='cuda:2' .*finds 2 GPUs here"):
        require_device(ExactSearcher("cuda:2"))
