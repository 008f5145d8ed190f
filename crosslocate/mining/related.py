"""Lists of related views (positives, non-negatives) of some queries: all of them, or some drawn."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.relations import Csr
from crosslocate.mining.descriptors import Rows
from crosslocate.mining.miner import PairRule
from crosslocate.mining.plan import NO_VIEW


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


def among(relation: Csr, queries: Rows, rows: Rows) -> NDArray[np.bool_]:
    """Which rows of a table [q, c] are in the list of its query, shape [q, c]."""
    owners, listed = flatten(relation, queries)
    width = int(max(rows.max(initial=0), listed.max(initial=0))) + 1
    keys = owners * width + listed  # ascending, because lists are
    wanted = np.arange(len(queries))[:, None] * width + rows
    if len(keys) == 0:
        return np.zeros(rows.shape, np.bool_)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return (keys[place] == wanted) & (rows >= 0)
