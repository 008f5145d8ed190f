"""An index of faiss over one database: it proposes rows, their descriptors decide among them."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.retrieval import faiss_index
from crosslocate.retrieval.distances import squared_distances
from crosslocate.retrieval.search import ExactSearcher, Neighbours, smallest, usable_k
from crosslocate.retrieval.search_report import SearchReport

log = logging.getLogger(__name__)

FEWEST_SELECTED = 50_000
"""Selections of at most so many rows are searched exactly."""
RANKED_QUERIES = 256
"""Queries whose candidates are ranked at a time."""

Floats = NDArray[np.floating]


class ApproximateSearch:
    """An index over one database, ready to be searched.

    Args:
        database: Descriptors [n, D], from which candidates are ranked.
        index: Of faiss, filled with them.
        rerank: See `ApproximateSearcher`.
        threads: Of faiss.
        report: What is lost and what it costs.
    """

    report: SearchReport | None

    def __init__(
        self, database: Floats, index: Any, rerank: int, threads: int | None, report: SearchReport | None
    ) -> None:
        self._database, self.index, self._rerank, self._threads = database, index, rerank, threads
        self.report = report

    def nearest(self, queries: Floats, k: int, among: NDArray[np.bool_] | None = None) -> Neighbours:
        """The k nearest of the rows that the index looks at; see :class:`crosslocate.retrieval.search.Search`.

        Small selections (`FEWEST_SELECTED`, `faiss_index.can_select`), and queries that the index finds less than
        k rows for, are searched exactly.

        Raises:
            ConfigError: k below 1.
            DataError: Descriptors of different sizes, or an empty selection.
        """
        k = usable_k(queries, self._database, k, among)
        queries = np.ascontiguousarray(queries, np.float32)
        exact = ExactSearcher().over(self._database)
        count = min(len(self._database), k * max(1, self._rerank))
        if not len(queries) or (among is not None and not self._can_select(among, count)):
            return exact.nearest(queries, k, among)
        with faiss_index.threads(self._threads):
            squared, rows = faiss_index.candidates(self.index, queries, count, among)
        lacking = rows[:, k - 1] < 0
        found = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        for part in np.array_split(np.flatnonzero(~lacking), -(-len(queries) // RANKED_QUERIES)):
            distances, chosen = self._rank(queries[part], squared[part], rows[part], k)
            found.distances[part], found.rows[part] = distances, chosen
        if lacking.any():
            log.info("%d queries are searched exactly: the index found less than %d rows", int(lacking.sum()), k)
            distances, chosen = exact.nearest(queries[lacking], k, among)
            found.distances[lacking], found.rows[lacking] = distances, chosen
        return found

    def _can_select(self, among: NDArray[np.bool_], count: int) -> bool:
        selected = int(np.count_nonzero(among))
        return selected > FEWEST_SELECTED and faiss_index.can_select(self.index, count, selected / len(among))

    def _rank(self, queries: NDArray[np.float32], squared: Floats, rows: NDArray[np.int64], k: int) -> Neighbours:
        """The k best of some candidates [q, c]; where there are fewer, the first is repeated behind all others."""
        if self._rerank:
            places = np.where(rows < 0, rows[:, :1], rows)
            exact = squared_distances(queries, self._database, places)
            exact[rows < 0] = np.inf
        else:
            places, exact = rows, np.maximum(squared, 0).astype(np.float64)
        chosen, best = smallest(exact, places, k)
        return Neighbours(np.sqrt(chosen).astype(np.float32), best)
