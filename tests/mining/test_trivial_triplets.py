"""The share of triplets that teach nothing, counted one by one."""

import numpy as np
import pytest

from crosslocate.data.relations import Csr, Relations
from crosslocate.mining.descriptors import RowDescriptors
from crosslocate.mining.miner import MiningTask
from crosslocate.mining.per_query import PerQueryMiner
from crosslocate.mining.pooled import PooledMiner
from crosslocate.mining.sampling import ComplementSampler
from crosslocate.mining.strategies import HardestNegatives, RandomNegatives, SemiHardNegatives

QUERIES, VIEWS = 30, 120


def world():
    rng = np.random.default_rng(0)
    database = rng.standard_normal((VIEWS, 4)).astype(np.float32)
    every = np.arange(QUERIES + 1)
    positives = rng.integers(0, VIEWS, QUERIES).astype(np.int32)
    query = database[positives] + rng.standard_normal((QUERIES, 4)).astype(np.float32) * rng.random((QUERIES, 1))
    lists = Csr(every, positives)
    task = MiningTask(np.arange(QUERIES), Relations(lists, lists), lambda q, v: np.zeros(len(q), bool), VIEWS, (0,))
    return task, query.astype(np.float32), database


@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.3])
@pytest.mark.parametrize("strategy", [HardestNegatives(), SemiHardNegatives(0.5)], ids=["hardest", "semihard"])
@pytest.mark.parametrize("kind", ["pooled", "per_query"])
def test_trivial_triplets_have_no_negative_within_the_margin(kind, strategy, margin):
    task, query, database = world()
    miner = {
        "pooled": PooledMiner(strategy, 3, 40, 0, margin),
        "per_query": PerQueryMiner(strategy, ComplementSampler(), 3, 20, 0, margin, 1, False, False),
    }[kind]
    lookups = RowDescriptors(np.arange(QUERIES), query), RowDescriptors(np.arange(VIEWS), database)
    mined = miner.mine(task, miner.candidates(task), *lookups)
    trivial = 0
    for q, positive, *negatives in mined.plan.tolist():
        apart = {v: float(((query[q].astype(float) - database[v]) ** 2).sum()) for v in (positive, *negatives)}
        trivial += not any(v >= 0 and apart[v] < apart[positive] + margin for v in negatives)
    assert mined.trivial == pytest.approx(trivial / len(mined.plan))
    if margin == 0.0:
        assert (0 < trivial < len(mined.plan)) == isinstance(strategy, HardestNegatives)


def test_without_descriptors_nothing_is_known_of_it():
    task, _, _ = world()
    assert np.isnan(PooledMiner(RandomNegatives(), 3, 40, 0, 0.1).mine(task, np.arange(40), None, None).trivial)
