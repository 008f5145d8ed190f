"""Mining among one sample of the database that all queries of a round share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.relations import Csr
from crosslocate.errors import ConfigError
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.miner import MinedRound, MiningTask, PairRule
from crosslocate.mining.plan import NO_VIEW
from crosslocate.mining.related import draw_local, draw_one, flatten
from crosslocate.mining.strategies import Strategy

QUERIES_PER_CHUNK = 256
"""Queries whose distances to the candidates are held at once: bounds memory at chunk x candidates."""
FIGURES = ("violating", "trivial", "hardest", "positive")
"""What is told of a round as means."""


@dataclass(frozen=True)
class PooledMiner:
    """Chooses a positive and negatives for every query of a round, among a sample that the queries share.

    The positive is the nearest of the query's positives in descriptor space. Negatives come in two kinds: *local* ones
    are drawn from the surroundings of the query where the negative rule allows it (same place, other heading);
    the others are chosen by the strategy among sampled candidates of the whole database.

    Args:
        strategy: Which candidates to keep.
        negatives: Negatives of a triplet, local ones included.
        sampled_negatives: Size of the candidate sample; a smaller database is used whole.
        local_negatives: How many of the negatives are local.
        margin: Margin, in squared distance, for the share of violating negatives that is logged.
    """

    strategy: Strategy
    negatives: int
    sampled_negatives: int
    local_negatives: int
    margin: float

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work together."""
        if not 0 <= self.local_negatives <= self.negatives:
            raise ConfigError(
                "mining.local_negatives", self.local_negatives, f"0 to mining.negatives ({self.negatives})"
            )

    @property
    def needs_descriptors(self) -> bool:
        """See Miner."""
        return self.strategy.needs_descriptors

    @property
    def shares_candidates(self) -> bool:
        """Yes."""
        return True

    def candidates(self, task: MiningTask) -> Rows:
        """A sample of database rows without repetition, ascending."""
        size = task.database_size
        if self.sampled_negatives >= size:
            return np.arange(size, dtype=np.int64)
        return np.sort(task.rng.choice(size, self.sampled_negatives, replace=False, shuffle=False)).astype(np.int64)

    def mine(
        self,
        task: MiningTask,
        candidates: Rows,
        query_descriptors: RowDescriptors | None,
        database_descriptors: RowDescriptors | None,
    ) -> MinedRound:
        """See Miner; every query of the task has a triplet."""
        lookups, pooled = None, None
        if query_descriptors is not None and database_descriptors is not None:
            candidates = candidates[database_descriptors.holds(candidates)]
            lookups, pooled = (query_descriptors, database_descriptors), database_descriptors.of(candidates)
        parts = [
            self._mine_chunk(task, task.queries[i : i + QUERIES_PER_CHUNK], candidates, pooled, lookups)
            for i in range(0, len(task.queries), QUERIES_PER_CHUNK)
        ]
        plan = np.concatenate([p.plan for p in parts]) if parts else np.zeros((0, 2 + self.negatives), np.int32)
        weights = np.array([len(p.plan) for p in parts], np.float64)
        figures = {name: _weighted([getattr(p, name) for p in parts], weights) for name in FIGURES}
        lacking = sum(p.without_negative for p in parts)
        return MinedRound(plan, **figures, without_negative=lacking, attempts=len(task.queries))

    def state_dict(self) -> dict[str, Any]:
        """Nothing: rounds know nothing of each other."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""

    def _mine_chunk(
        self,
        task: MiningTask,
        queries: Rows,
        pool: Rows,
        pooled: NDArray[np.float32] | None,
        lookups: tuple[RowDescriptors, RowDescriptors] | None,
    ) -> MinedRound:
        relations, rule, rng = task.relations, task.rule, task.rng
        allowed = allowed_candidates(queries, pool, relations.nonnegatives, rule)
        if lookups is None or pooled is None:
            positives = draw_one(relations.positives, queries, rng)
            to_positive = np.full(len(queries), np.nan, np.float32)
            to_pool = np.where(allowed, np.float32(0), np.float32(np.inf))
        else:
            anchors = lookups[0].of(queries)
            positives, to_positive = nearest_positive(relations.positives, queries, anchors, lookups[1])
            to_pool = squared_distances(anchors, pooled)
            to_pool[~allowed] = np.inf
        mined_count = self.negatives - self.local_negatives
        columns = self.strategy.select(to_positive, to_pool, mined_count, rng)
        mined = np.where(columns == NO_VIEW, NO_VIEW, pool[columns] if len(pool) else NO_VIEW)
        local = draw_local(relations.nonnegatives, queries, rule, self.local_negatives, rng)
        plan = np.concatenate([queries[:, None], positives[:, None], local, mined], axis=1).astype(np.int32)
        figures = self._figures(to_positive, to_pool, columns, lookups is not None)
        return MinedRound(plan, *figures, int((plan[:, 2:] == NO_VIEW).all(axis=1).sum()), len(plan))

    def _figures(
        self, to_positive: NDArray[np.float32], to_pool: NDArray[np.float32], columns: Rows, measured: bool
    ) -> tuple[float, float, float, float]:
        if not measured or columns.size == 0 or to_pool.shape[1] == 0:
            return np.nan, np.nan, np.nan, np.nan
        chosen = np.take_along_axis(to_pool, np.maximum(columns, 0), axis=1)
        present = columns != NO_VIEW
        violating = (chosen < to_positive[:, None] + self.margin) & present
        hardest = np.where(present, chosen, np.inf).min(axis=1)
        finite = np.isfinite(hardest)
        return (
            float(violating.sum() / max(1, present.sum())),
            float(1.0 - violating.any(axis=1).mean()),
            float(hardest[finite].mean()) if finite.any() else float("nan"),
            float(to_positive.mean()),
        )


def allowed_candidates(queries: Rows, pool: Rows, nonnegatives: Csr, rule: PairRule) -> NDArray[np.bool_]:
    """Which candidates the rule allows for which query, shape [queries, candidates].

    Only candidates among a query's non-negatives are put to the rule; all others are far enough by definition.
    """
    allowed = np.ones((len(queries), len(pool)), np.bool_)
    if len(pool) == 0:
        return allowed
    owners, rows = flatten(nonnegatives, queries)
    columns = np.minimum(np.searchsorted(pool, rows), len(pool) - 1)
    near = pool[columns] == rows
    owners, rows, columns = owners[near], rows[near], columns[near]
    allowed[owners, columns] = rule(queries[owners], rows)
    return allowed


def squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances, shape [len(a), len(b)], by one matrix product; never negative."""
    products = a @ b.T
    products *= -2.0
    products += np.einsum("ij,ij->i", a, a)[:, None]
    products += np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(products, 0.0, out=products)


def nearest_positive(
    positives: Csr, queries: Rows, anchors: NDArray[np.float32], database: RowDescriptors
) -> tuple[Rows, NDArray[np.float32]]:
    """The positive nearest to each query in descriptor space, and its squared distance; ties go to the lower row."""
    owners, rows = flatten(positives, queries)
    difference = database.of(rows) - anchors[owners]
    distances = np.einsum("ij,ij->i", difference, difference)
    order = np.lexsort((rows, distances, owners))
    first = order[np.searchsorted(owners[order], np.arange(len(queries)))]
    return rows[first], distances[first]


def _weighted(values: list[float], weights: NDArray[np.float64]) -> float:
    array = np.array(values, np.float64)
    known = np.isfinite(array)
    return float(np.average(array[known], weights=weights[known])) if known.any() else float("nan")
