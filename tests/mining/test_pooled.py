import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.data.relations import Csr, Relations
from crosslocate.errors import ConfigError
from crosslocate.mining import pooled as pooled_module
from crosslocate.mining.descriptors import RowDescriptors
from crosslocate.mining.miner import MiningTask
from crosslocate.mining.order import spread_over_places
from crosslocate.mining.pooled import PooledMiner, allowed_candidates, squared_distances
from crosslocate.mining.related import flatten
from crosslocate.mining.strategies import HardestNegatives, RandomNegatives, SemiHardAndHardNegatives, SemiHardNegatives

QUERIES, VIEWS, SIZE = 30, 200, 8


def csr(lists):
    counts = [len(x) for x in lists]
    return Csr(np.cumsum([0, *counts]).astype(np.int64), np.array([v for x in lists for v in x], np.int32))


class World:
    """Random relations and descriptors; views with an even number may be negatives although they are near."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.positives = [sorted(rng.choice(VIEWS, rng.integers(1, 5), replace=False)) for _ in range(QUERIES)]
        self.near = [sorted({*p, *rng.choice(VIEWS, 25, replace=False)}) for p in self.positives]
        self.relations = Relations(csr(self.positives), csr(self.near))
        self.query = rng.standard_normal((QUERIES, SIZE)).astype(np.float32)
        self.database = rng.standard_normal((VIEWS, SIZE)).astype(np.float32)

    def rule(self, queries, views):
        queries, views = np.broadcast_arrays(queries, views)
        flags = [
            v not in self.near[q] or (v % 2 == 0 and v not in self.positives[q])
            for q, v in zip(queries.flat, views.flat, strict=True)
        ]
        return np.array(flags, bool).reshape(queries.shape)

    def lookups(self):
        return RowDescriptors(np.arange(QUERIES), self.query), RowDescriptors(np.arange(VIEWS), self.database)


def mine(world, miner, queries=None, pool=None, seed=0, descriptors=True):
    queries = np.arange(QUERIES) if queries is None else queries
    pool = np.arange(VIEWS) if pool is None else pool
    lookups = world.lookups() if descriptors else (None, None)
    return miner.mine(MiningTask(queries, world.relations, world.rule, VIEWS, (seed,)), pool, *lookups)


def sample(miner, size, seed=0):
    return miner.candidates(MiningTask(np.arange(0), World().relations, World().rule, size, (seed,)))


def test_plan_equals_brute_force():
    world, pool = World(), np.sort(np.random.default_rng(5).choice(VIEWS, 80, replace=False))
    plan = mine(world, PooledMiner(SemiHardAndHardNegatives(0.2), 6, 80, 0, 0.2), pool=pool).plan
    for q, row in enumerate(plan):
        to_view = ((world.database - world.query[q]) ** 2).sum(1)
        positive = min(world.positives[q], key=lambda v: (to_view[v], v))
        allowed = [v for v in pool if world.rule(q, v) and to_view[v] < to_view[positive] + 0.2]
        expected = sorted(allowed, key=lambda v: to_view[v])[:6]
        assert row.tolist() == [q, positive, *expected, *[-1] * (6 - len(expected))]


def test_plan_does_not_depend_on_the_chunk(monkeypatch):
    world, strategy = World(), PooledMiner(HardestNegatives(), 4, VIEWS, 0, 0.2)
    whole = mine(world, strategy).plan
    monkeypatch.setattr(pooled_module, "QUERIES_PER_CHUNK", 7)
    np.testing.assert_array_equal(mine(world, strategy).plan, whole)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([HardestNegatives(), SemiHardNegatives(40.0), SemiHardAndHardNegatives(5.0)]),
    st.integers(0, 6), st.integers(1, 60), st.integers(0, 5), st.booleans(),
)  # fmt: skip
def test_plan_does_not_depend_on_the_blocks(strategy, negatives, block, seed, partly):
    world, rng = World(seed), np.random.default_rng(seed)
    world.query, world.database = (np.round(2 * v).astype(np.float32) for v in (world.query, world.database))  # ties
    known = rng.random(VIEWS) < 0.6 if partly else np.ones(VIEWS, bool)
    known[[v for p in world.positives for v in p]] = True
    miner, pool = PooledMiner(strategy, negatives, 80, 0, 5.0), np.sort(rng.choice(VIEWS, 80, replace=False))
    queries, database = world.lookups()
    lookups = queries, RowDescriptors(database.rows, database.values, known)

    def mined():
        return miner.mine(MiningTask(np.arange(QUERIES), world.relations, world.rule, VIEWS, (seed,)), pool, *lookups)

    whole = mined()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled_module, "BLOCK", block)
        parts = mined()
    assert len(whole.plan) == QUERIES
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), value, err_msg=name)


@pytest.mark.parametrize("strategy", [HardestNegatives(), RandomNegatives()])
def test_memory_does_not_grow_with_queries_times_candidates(monkeypatch, strategy):
    monkeypatch.setattr(pooled_module, "BLOCK", 100)
    views, size = 20_000, 16
    every = np.arange(257)
    relations = Relations(*[Csr(every, np.arange(256, dtype=np.int32))] * 2)
    values = np.random.default_rng(0).standard_normal((views, size)).astype(np.float16)
    lookups = RowDescriptors(np.arange(256), values[:256]), RowDescriptors(np.arange(views), values)
    task = MiningTask(np.arange(256), relations, lambda q, _: np.zeros(len(q), bool), views, (0,))
    tracemalloc.start()
    miner = PooledMiner(strategy, 5, views, 0, 0.2)
    plan = miner.mine(task, np.arange(views), *(lookups if strategy.needs_descriptors else (None, None))).plan
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (plan[:, 2:] >= 0).all()
    assert peak < 256 * views  # a byte a pair


def test_local_negatives_are_near_distinct_and_allowed():
    world = World(3)
    plan = mine(world, PooledMiner(HardestNegatives(), 5, VIEWS, 3, 0.2)).plan
    for q, row in enumerate(plan):
        usable = {v for v in world.near[q] if world.rule(q, v)}
        local = [v for v in row[2:5] if v >= 0]
        assert set(local) <= usable
        assert len(local) == len(set(local)) == min(3, len(usable))


def test_without_descriptors_positives_and_negatives_are_drawn():
    world = World(1)
    miner = PooledMiner(RandomNegatives(), 3, VIEWS, 0, 0.2)
    plan = mine(world, miner, descriptors=False).plan
    assert all(p in world.positives[q] for q, p, *_ in plan)
    assert all(world.rule(q, n) for q, _, *negatives in plan for n in negatives)
    np.testing.assert_array_equal(plan, mine(world, miner, descriptors=False).plan)
    assert (plan != mine(world, miner, seed=1, descriptors=False).plan).any()


def test_a_database_smaller_than_the_sample_is_used_whole():
    np.testing.assert_array_equal(sample(PooledMiner(HardestNegatives(), 1, 50, 0, 0.2), 7), range(7))


def test_sample_is_sorted_distinct_and_drawn():
    miner = PooledMiner(HardestNegatives(), 1, 50, 0, 0.2)
    rows = sample(miner, 1000)
    assert len(set(rows)) == 50
    assert (np.diff(rows) > 0).all()
    assert (rows != sample(miner, 1000, 1)).any()


def test_more_local_negatives_than_negatives_are_refused():
    with pytest.raises(ConfigError, match=r"mining\.local_negatives=3 .* 0 to mining\.negatives \(2\)"):
        PooledMiner(HardestNegatives(), 2, 10, 3, 0.2)


def test_allowed_candidates_agree_with_the_rule_on_every_pair():
    world = World(2)
    queries, pool = np.array([3, 9, 9, 0]), np.sort(np.random.default_rng(1).choice(VIEWS, 60, replace=False))
    table = allowed_candidates(queries, pool, world.relations.nonnegatives, world.rule)
    np.testing.assert_array_equal(table, world.rule(queries[:, None], pool[None]))


def test_report_counts_violations():
    world = World()
    mined = mine(world, PooledMiner(HardestNegatives(), 1, VIEWS, 0, 1e6))
    assert mined.violating == 1.0
    assert mined.hardest > 0
    assert mined.positive > 0


def test_flatten_and_lookup():
    owners, rows = flatten(csr([[1, 2], [], [7]]), np.array([2, 1, 0]))
    assert owners.tolist() == [0, 2, 2]
    assert rows.tolist() == [7, 1, 2]
    with pytest.raises(KeyError, match="row 4"):
        RowDescriptors(np.array([1, 3]), np.zeros((2, 2), np.float32)).of(np.array([3, 4]))


def test_squared_distances_are_never_negative_and_close_to_the_definition():
    a = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    exact = ((a[:, None] - a[None]) ** 2).sum(-1)
    got = squared_distances(a, a)
    assert (got >= 0).all()
    np.testing.assert_allclose(got, exact, atol=1e-4)


@pytest.mark.parametrize("together", [1, 2, 3])
def test_batches_hold_every_query_once_and_places_in_turn(together):
    places = np.repeat(np.arange(20), 6)
    queries = np.arange(100, 220)
    order = spread_over_places(queries, places, together, np.random.default_rng(0))
    assert sorted(order) == queries.tolist()
    visited = places[order - 100].reshape(-1, together)
    assert (visited == visited[:, :1]).all()  # queries of a place stay together
    for turn in visited[:, 0].reshape(-1, 20):
        assert len(set(turn)) == 20  # and every place has its turn before any has another
    again = spread_over_places(queries, places, together, np.random.default_rng(0))
    np.testing.assert_array_equal(order, again)
    assert (order != spread_over_places(queries, places, together, np.random.default_rng(1))).any()


def test_places_with_different_numbers_of_queries_are_all_visited():
    places = np.array([5, 5, 5, 9, 7, 7])
    order = spread_over_places(np.arange(6), places, 2, np.random.default_rng(0))
    assert sorted(order) == list(range(6))
    assert places[order][-1] == 5  # the third query of place 5 comes in the second pass
