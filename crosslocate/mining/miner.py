"""Makes the plan of a round out of descriptors, relations and a random generator, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.relations import Csr, Relations
from crosslocate.errors import ConfigError
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.plan import NO_VIEW, Plan
from crosslocate.mining.strategies import Strategy

PairRule = Callable[[Rows, Rows], NDArray[np.bool_]]
"""Whether paired database rows may be negatives of query rows: NegativeRule bound to the two catalogs."""

QUERIES_PER_CHUNK = 256
"""Queries whose distances to the candidates are held at once: bounds memory at chunk x candidates."""


@dataclass(frozen=True)
class MinedRound:
    """A plan and what was seen while making it.

    Attributes:
        plan: See Plan.
        violating: Share of the mined negatives that are nearer than the positive plus the margin of the report.
        hardest: Mean squared distance of the nearest mined negatives; NaN without descriptors.
        positive: Mean squared distance of the positives; NaN without descriptors.
    """

    plan: Plan
    violating: float
    hardest: float
    positive: float


@dataclass(frozen=True)
class Miner:
    """Chooses a positive and negatives for every query of a round.

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

    def candidates(self, database_size: int, rng: np.random.Generator) -> Rows:
        """A sample of database rows without repetition, ascending."""
        if self.sampled_negatives >= database_size:
            return np.arange(database_size, dtype=np.int64)
        return np.sort(rng.choice(database_size, self.sampled_negatives, replace=False, shuffle=False)).astype(np.int64)

    def mine(
        self,
        queries: Rows,
        pool: Rows,
        relations: Relations,
        rule: PairRule,
        rng: np.random.Generator,
        query_descriptors: RowDescriptors | None,
        database_descriptors: RowDescriptors | None,
    ) -> MinedRound:
        """Make the plan for ``queries``, in their order.

        Args:
            queries: Query rows, shape [n]; each has at least one positive.
            pool: Candidate database rows, ascending, shape [c].
            relations: Positives and non-negatives of all queries.
            rule: What may be a negative.
            rng: Source of every draw.
            query_descriptors: Descriptors of at least ``queries``; None when the strategy does not need them.
            database_descriptors: Descriptors of at least ``pool`` and the positives of ``queries``; likewise.
        """
        parts = [
            self._mine_chunk(
                queries[i : i + QUERIES_PER_CHUNK], pool, relations, rule, rng, query_descriptors, database_descriptors
            )
            for i in range(0, len(queries), QUERIES_PER_CHUNK)
        ]
        plan = np.concatenate([p.plan for p in parts]) if parts else np.zeros((0, 2 + self.negatives), np.int32)
        weights = np.array([len(p.plan) for p in parts], np.float64)
        means = [_weighted([getattr(p, name) for p in parts], weights) for name in ("violating", "hardest", "positive")]
        return MinedRound(plan, *means)

    def _mine_chunk(
        self,
        queries: Rows,
        pool: Rows,
        relations: Relations,
        rule: PairRule,
        rng: np.random.Generator,
        query_descriptors: RowDescriptors | None,
        database_descriptors: RowDescriptors | None,
    ) -> MinedRound:
        allowed = allowed_candidates(queries, pool, relations.nonnegatives, rule)
        if query_descriptors is None or database_descriptors is None:
            positives = draw_one(relations.positives, queries, rng)
            to_positive = np.full(len(queries), np.nan, np.float32)
            to_pool = np.where(allowed, np.float32(0), np.float32(np.inf))
        else:
            anchors = query_descriptors.of(queries)
            positives, to_positive = nearest_positive(relations.positives, queries, anchors, database_descriptors)
            to_pool = squared_distances(anchors, database_descriptors.of(pool))
            to_pool[~allowed] = np.inf
        mined_count = self.negatives - self.local_negatives
        columns = self.strategy.select(to_positive, to_pool, mined_count, rng)
        mined = np.where(columns == NO_VIEW, NO_VIEW, pool[columns] if len(pool) else NO_VIEW)
        local = draw_local(relations.nonnegatives, queries, rule, self.local_negatives, rng)
        plan = np.concatenate([queries[:, None], positives[:, None], local, mined], axis=1).astype(np.int32)
        return MinedRound(plan, *self._figures(to_positive, to_pool, columns, database_descriptors is not None))

    def _figures(
        self, to_positive: NDArray[np.float32], to_pool: NDArray[np.float32], columns: Rows, measured: bool
    ) -> tuple[float, float, float]:
        if not measured or columns.size == 0 or to_pool.shape[1] == 0:
            return float("nan"), float("nan"), float("nan")
        chosen = np.take_along_axis(to_pool, np.maximum(columns, 0), axis=1)
        present = columns != NO_VIEW
        violating = (chosen < to_positive[:, None] + self.margin) & present
        hardest = np.where(present, chosen, np.inf).min(axis=1)
        finite = np.isfinite(hardest)
        return (
            float(violating.sum() / max(1, present.sum())),
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


def draw_one(relation: Csr, queries: Rows, rng: np.random.Generator) -> Rows:
    """One related row of each query, uniformly; every query has at least one."""
    starts = relation.indptr[queries]
    counts = relation.indptr[queries + 1] - starts
    return relation.indices[starts + rng.integers(0, counts)].astype(np.int64)


def draw_local(nonnegatives: Csr, queries: Rows, rule: PairRule, count: int, rng: np.random.Generator) -> Rows:
    """Up to ``count`` views near each query that the rule allows, drawn without repetition; -1 fills up."""
    drawn = np.full((len(queries), count), NO_VIEW, np.int64)
    if count == 0:
        return drawn
    owners, rows = flatten(nonnegatives, queries)
    usable = rule(queries[owners], rows)
    owners, rows = owners[usable], rows[usable]
    order = np.lexsort((rng.random(len(rows)), owners))
    owners, rows = owners[order], rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(owners, owners)
    kept = rank < count
    drawn[owners[kept], rank[kept]] = rows[kept]
    return drawn


def flatten(relation: Csr, queries: Rows) -> tuple[Rows, Rows]:
    """All related rows: (position in ``queries``, related row), both of shape [total], grouped by query."""
    starts = relation.indptr[queries].astype(np.int64)
    counts = (relation.indptr[queries + 1] - relation.indptr[queries]).astype(np.int64)
    owners = np.repeat(np.arange(len(queries)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return owners, relation.indices[starts[owners] + within].astype(np.int64)


def _weighted(values: list[float], weights: NDArray[np.float64]) -> float:
    array = np.array(values, np.float64)
    known = np.isfinite(array)
    return float(np.average(array[known], weights=weights[known])) if known.any() else float("nan")
