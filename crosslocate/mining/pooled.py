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
"""Queries mined at once."""
BLOCK = 1 << 16
"""Candidates looked at at once by so many queries: with their descriptors, they bound memory. More are looked through
in blocks; a smaller sample is one block."""
FIGURES = ("violating", "trivial", "hardest", "positive")
"""What is told of a round as means."""


@dataclass
class Chosen:
    """Triplets of some queries, as far as candidates have been looked through.

    Attributes:
        queries: Query rows [q].
        positives: Database rows [q].
        to_positive: Squared distances to them [q].
        mined: Database rows of the negatives chosen so far, in the order of the strategy [q, n]; -1 for none.
        to_mined: Squared distances to them [q, n], infinite where there are none; [q, 0] when none are measured.
    """

    queries: Rows
    positives: Rows
    to_positive: NDArray[np.float32]
    mined: Rows
    to_mined: NDArray[np.float32]


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
        if query_descriptors is None or database_descriptors is None:
            parts = [self._drawn(task, queries, candidates) for queries in _chunks(task.queries, len(candidates))]
        else:
            parts = self._measured(task, candidates, query_descriptors, database_descriptors)
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

    @property
    def _mined_count(self) -> int:
        return self.negatives - self.local_negatives

    def _drawn(self, task: MiningTask, queries: Rows, pool: Rows) -> MinedRound:
        """Triplets of a chunk of queries without descriptors."""
        allowed = allowed_candidates(queries, pool, task.relations.nonnegatives, task.rule)
        positives = draw_one(task.relations.positives, queries, task.rng)
        unknown = np.full(len(queries), np.nan, np.float32)
        free = np.where(allowed, np.float32(0), np.float32(np.inf))
        columns = self.strategy.select(unknown, free, self._mined_count, task.rng)
        mined = np.where(columns == NO_VIEW, NO_VIEW, pool[columns] if len(pool) else NO_VIEW)
        return self._triplets(task, Chosen(queries, positives, unknown, mined, free[:, :0]), measured=False)

    def _measured(
        self, task: MiningTask, candidates: Rows, queries: RowDescriptors, database: RowDescriptors
    ) -> list[MinedRound]:
        """Triplets of all chunks of queries; descriptors of the candidates are read once, block by block."""
        pool, count = candidates[database.holds(candidates)], self._mined_count
        chosen = []
        for rows in _chunks(task.queries, 0):
            positives = nearest_positive(task.relations.positives, rows, queries.of(rows), database)
            none = np.full((len(rows), count), NO_VIEW, np.int64)
            chosen.append(Chosen(rows, *positives, none, np.full(none.shape, np.inf, np.float32)))
        for start in range(0, len(pool) if count else 0, BLOCK):
            block = pool[start : start + BLOCK]
            values = database.of(block)
            for chunk in chosen:
                self._look_through(task, block, squared_distances(queries.of(chunk.queries), values), chunk)
        return [self._triplets(task, chunk, measured=len(pool) > 0 and count > 0) for chunk in chosen]

    def _look_through(self, task: MiningTask, block: Rows, to_block: NDArray[np.float32], chunk: Chosen) -> None:
        """Put a block of candidates to the strategy, and with them what it has chosen of those before."""
        to_block[~allowed_candidates(chunk.queries, block, task.relations.nonnegatives, task.rule)] = np.inf
        before = np.flatnonzero((chunk.mined != NO_VIEW).any(axis=0))
        distances = np.concatenate([chunk.to_mined[:, before], to_block], axis=1) if len(before) else to_block
        columns = self.strategy.select(chunk.to_positive, distances, self._mined_count, task.rng)
        there, place = columns != NO_VIEW, np.maximum(columns, 0)
        rows = block[np.maximum(place - len(before), 0)]
        if len(before):
            earlier = np.take_along_axis(chunk.mined[:, before], np.minimum(place, len(before) - 1), axis=1)
            rows = np.where(place < len(before), earlier, rows)
        chunk.mined = np.where(there, rows, NO_VIEW)
        chunk.to_mined = np.where(there, np.take_along_axis(distances, place, axis=1), np.float32(np.inf))

    def _triplets(self, task: MiningTask, chunk: Chosen, *, measured: bool) -> MinedRound:
        near, count = task.relations.nonnegatives, self.local_negatives
        local = draw_local(near, chunk.queries, task.rule, count, task.rng)
        columns = [chunk.queries[:, None], chunk.positives[:, None], local, chunk.mined]
        plan = np.concatenate(columns, axis=1).astype(np.int32)
        figures = self._figures(chunk) if measured else (np.nan, np.nan, np.nan, np.nan)
        return MinedRound(plan, *figures, int((plan[:, 2:] == NO_VIEW).all(axis=1).sum()), len(plan))

    def _figures(self, chunk: Chosen) -> tuple[float, float, float, float]:
        present = chunk.mined != NO_VIEW
        violating = (chunk.to_mined < chunk.to_positive[:, None] + self.margin) & present
        hardest = chunk.to_mined.min(axis=1)
        finite = np.isfinite(hardest)
        return (
            float(violating.sum() / max(1, present.sum())),
            float(1.0 - violating.any(axis=1).mean()),
            float(hardest[finite].mean()) if finite.any() else float("nan"),
            float(chunk.to_positive.mean()),
        )


def _chunks(queries: Rows, candidates: int) -> list[Rows]:
    """Queries that are mined together, when all of so many candidates are looked at at once."""
    size = int(np.clip(BLOCK * QUERIES_PER_CHUNK // max(1, candidates), 1, QUERIES_PER_CHUNK))
    return [queries[i : i + size] for i in range(0, len(queries), size)]


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
