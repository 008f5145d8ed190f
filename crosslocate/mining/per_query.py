"""Mining in a sample of its own for every query, as CrossLocate does (Tomesek et al., 2022).

A query draws a sample of its negatives up to ``attempts`` times. Of each sample, and on the last attempt of the
negatives that the query had last time too, the nearest ``10 x negatives`` are put to the strategy; what it keeps is
added in order of distance, until there are enough. So the negatives of a triplet are in order of discovery, not of
distance, and they are the first that were found, not the nearest of all attempts.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.miner import MinedRound, MiningTask
from crosslocate.mining.nearness import Nearness
from crosslocate.mining.plan import NO_VIEW
from crosslocate.mining.related import draw_local, draw_one
from crosslocate.mining.sampling import NegativeSampler
from crosslocate.mining.strategies import Strategy

WIDTH = 10
"""Nearest candidates that are put to the strategy, for each negative asked for."""
CHUNK_BYTES = 1 << 26
"""Bounds the tables of a chunk of queries."""
LARGEST_CHUNK = 256
"""Queries mined at once."""
DENSE_SHARE = 1 / 4
"""With samples, over all attempts, of this share of the database, distances to all of it are cheaper than to them. At a
fifth they cost the same time, and more memory."""


@dataclass(frozen=True)
class Found:
    """Triplets of some queries, in their order.

    Attributes:
        queries: Query rows [q].
        positives: Database rows [q].
        to_positive: Squared distances to them [q]; NaN without descriptors.
        negatives: Database rows in order of discovery [q, n], -1 where no more were found.
        to_negatives: Squared distances to them [q, n], infinite where there are none.
        attempts: Samples drawn [q].
    """

    queries: Rows
    positives: Rows
    to_positive: NDArray[np.float64]
    negatives: Rows
    to_negatives: NDArray[np.float64]
    attempts: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Negatives found [q]."""
        return (self.negatives != NO_VIEW).sum(axis=1)


@dataclass
class PerQueryMiner:
    """Chooses the nearest positive of every query, and negatives from samples of its own.

    Distances are squared Euclidean in float64, whatever the loss uses; equal ones are ordered by row. A query without
    any negative has no triplet. What was found is remembered: it replaces what was remembered before, which fills up
    where less was found.

    Args:
        strategy: Which candidates to keep.
        sampler: Draws negatives of a query.
        negatives: Negatives of a triplet, local ones included.
        sampled_negatives: Size of a sample; where there are fewer negatives, all are looked at.
        local_negatives: How many of the negatives are drawn near the query where the negative rule allows it.
        margin: Margin, in squared distance, for the share of violating negatives that is logged.
        attempts: Samples drawn for a query at most.
        reuse: Whether a query's last negatives are candidates of its last attempt.
        repeat_found: Whether fewer negatives than asked for are repeated in turn; otherwise their places stay empty.
    """

    strategy: Strategy
    sampler: NegativeSampler
    negatives: int
    sampled_negatives: int
    local_negatives: int
    margin: float
    attempts: int
    reuse: bool
    repeat_found: bool
    last_negatives: NDArray[np.int32] | None = field(default=None, init=False)
    """Of every query [queries, n], -1 where there is none; None before anything was mined."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work together."""
        if not 0 <= self.local_negatives <= self.negatives:
            allowed = f"0 to mining.negatives ({self.negatives})"
            raise ConfigError("mining.local_negatives", self.local_negatives, allowed)
        if self.attempts < 1:
            raise ConfigError("mining.miner.attempts", self.attempts, "an integer of at least 1")

    @property
    def needs_descriptors(self) -> bool:
        """See Miner."""
        return self.strategy.needs_descriptors

    @property
    def shares_candidates(self) -> bool:
        """No: every query has a sample of its own."""
        return False

    def candidates(self, task: MiningTask) -> Rows:
        """See Miner; all rows where samples cover nearly everything."""
        if self.sampled_negatives * self.attempts * len(task.queries) >= 3 * task.database_size:
            return np.arange(task.database_size, dtype=np.int64)
        seen = np.zeros(task.database_size + 1, np.bool_)  # the last place is that of -1
        seen[self._memory(task)[task.queries]] = True
        for attempt in range(self.attempts):
            for queries in self._chunks(task):
                seen[self.sampler.draw(task, queries, attempt, self.sampled_negatives)] = True
        return np.flatnonzero(seen[:-1])

    def mine(
        self,
        task: MiningTask,
        candidates: Rows,
        query_descriptors: RowDescriptors | None,
        database_descriptors: RowDescriptors | None,
    ) -> MinedRound:
        """See Miner."""
        del candidates
        found = self.find(task, query_descriptors, database_descriptors)
        counts, wanted = found.counts, self.negatives - self.local_negatives
        kept = (counts > 0) | (wanted == 0)
        mined = found.negatives
        if self.repeat_found and wanted:
            turn = np.arange(wanted) % np.maximum(counts, 1)[:, None]
            mined = np.take_along_axis(mined, turn, axis=1)
        local = draw_local(task.relations.nonnegatives, found.queries, task.rule, self.local_negatives, task.rng)
        plan = np.concatenate([found.queries[:, None], found.positives[:, None], local, mined], axis=1)
        return MinedRound(
            plan[kept].astype(np.int32),
            *self._figures(found, measured=database_descriptors is not None),
            int((counts == 0).sum()),
            int(found.attempts.sum()),
        )

    def find(
        self,
        task: MiningTask,
        query_descriptors: RowDescriptors | None,
        database_descriptors: RowDescriptors | None,
    ) -> Found:
        """The triplets of all queries of a task, found or not; and remember them. Arguments as of `mine`."""
        memory = self._memory(task)
        nearness = None
        if query_descriptors is not None and database_descriptors is not None:
            nearness = Nearness(query_descriptors, database_descriptors, self._dense(len(database_descriptors.rows)))
        parts = [self._find_chunk(task, queries, memory, nearness) for queries in self._chunks(task)]
        whole = [np.concatenate(column) for column in zip(*(_columns(p) for p in parts), strict=True)]
        return Found(*whole) if parts else self._nothing()

    def state_dict(self) -> dict[str, Any]:
        """The last negatives of every query."""
        return {} if self.last_negatives is None else {"last_negatives": torch.from_numpy(self.last_negatives.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember the last negatives of a checkpoint."""
        if "last_negatives" in state:
            self.last_negatives = state["last_negatives"].numpy().astype(np.int32)

    def _memory(self, task: MiningTask) -> NDArray[np.int32]:
        shape = len(task.relations.positives), self.negatives - self.local_negatives
        if self.last_negatives is None:
            self.last_negatives = np.full(shape, NO_VIEW, np.int32)
        if self.last_negatives.shape != shape:
            raise CheckpointError(
                f"the checkpoint remembers {self.last_negatives.shape[1]} negatives of each of "
                f"{self.last_negatives.shape[0]} queries; here are {shape[1]} of {shape[0]}: "
                "it is of another data set, or mining.negatives was changed"
            )
        return self.last_negatives

    def _dense(self, rows: int) -> bool:
        return self.sampled_negatives * self.attempts >= DENSE_SHARE * rows

    def _chunks(self, task: MiningTask) -> list[Rows]:
        widest = min(task.database_size, self.sampled_negatives * self.attempts / DENSE_SHARE)
        size = int(np.clip(CHUNK_BYTES / (4 * max(1, widest)), 1, LARGEST_CHUNK))
        return [task.queries[i : i + size] for i in range(0, len(task.queries), size)]

    def _find_chunk(
        self, task: MiningTask, queries: Rows, memory: NDArray[np.int32], nearness: Nearness | None
    ) -> Found:
        wanted = self.negatives - self.local_negatives
        if nearness is None:
            positives = draw_one(task.relations.positives, queries, task.rng)
            to_positive = np.full(len(queries), np.nan)
        else:
            nearness.look_from(queries)
            positives, to_positive = nearness.nearest(task.relations.positives, queries)
        negatives = np.full((len(queries), wanted), NO_VIEW, np.int64)
        distances = np.full((len(queries), wanted), np.inf)
        attempts = np.zeros(len(queries), np.int64)
        for attempt in range(self.attempts if wanted else 0):
            active = np.flatnonzero((negatives == NO_VIEW).any(axis=1))
            if len(active) == 0:
                break
            samples = self.sampler.draw(task, queries[active], attempt, self.sampled_negatives)
            if self.reuse and attempt == self.attempts - 1:
                samples = np.concatenate([samples, memory[queries[active]]], axis=1)
            if nearness is None:
                rows = samples[:, : WIDTH * wanted].astype(np.int64)
                apart = np.where(rows == NO_VIEW, np.inf, 0.0)
            else:
                rows, apart = nearness.ranked(active, samples, WIDTH * wanted)
            columns = self.strategy.select(to_positive[active], apart, rows.shape[1], task.rng)
            _add(active, rows, apart, columns, negatives, distances)
            attempts[active] += 1
        _remember(memory, queries, negatives)
        return Found(queries, positives, to_positive, negatives, distances, attempts)

    def _nothing(self) -> Found:
        wanted, none = self.negatives - self.local_negatives, np.empty(0, np.int64)
        return Found(none, none, np.empty(0), np.empty((0, wanted), np.int64), np.empty((0, wanted)), none)

    def _figures(self, found: Found, *, measured: bool) -> tuple[float, float, float, float]:
        present = found.negatives != NO_VIEW
        if not measured or not present.any():
            return np.nan, np.nan, np.nan, np.nan
        violating = (found.to_negatives < found.to_positive[:, None] + self.margin) & present
        some = present.any(axis=1)
        hardest = found.to_negatives[some].min(axis=1)
        return (
            float(violating.sum() / present.sum()),
            float(1.0 - violating[some].any(axis=1).mean()),
            float(hardest.mean()),
            float(found.to_positive.mean()),
        )


def _columns(found: Found) -> tuple[NDArray[Any], ...]:
    return (
        found.queries, found.positives, found.to_positive, found.negatives, found.to_negatives, found.attempts,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _add(active, rows, apart, columns, negatives, distances) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Append what was chosen, in its order and without repetition, as long as there is room."""
    for k in range(len(active)):
        query = active[k]
        count = 0
        while count < negatives.shape[1] and negatives[query, count] >= 0:
            count += 1
        for c in range(columns.shape[1]):
            if count == negatives.shape[1] or columns[k, c] < 0:
                break
            row = rows[k, columns[k, c]]
            if not (negatives[query, :count] == row).any():
                negatives[query, count] = row
                distances[query, count] = apart[k, columns[k, c]]
                count += 1


@njit(nogil=True, cache=True)
def _remember(memory, queries, negatives) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """What was found, then what was remembered before, without repetition, as long as there is room."""
    for k in range(len(queries)):
        before = memory[queries[k]].copy()
        count = 0
        for c in range(negatives.shape[1]):
            if negatives[k, c] >= 0:
                memory[queries[k], count] = negatives[k, c]
                count += 1
        if count == 0:
            continue
        for c in range(len(before)):
            if count < len(before) and before[c] >= 0 and not (negatives[k] == before[c]).any():
                memory[queries[k], count] = before[c]
                count += 1
