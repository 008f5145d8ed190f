"""Exact search by faiss, which must not be called in forked worker processes."""

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.retrieval.blocks import blocks
from crosslocate.retrieval.search import Neighbours, usable_k
from crosslocate.retrieval.search_report import SearchReport


class FaissFlat:
    """Exact search by faiss' brute force over blocks of the database.

    Distances come from float32 matrix products (and are returned with that rounding), and the order of views at equal
    distance is faiss' own: a second opinion and a fast choice on the CPU; ``ExactSearcher`` is the one to report with.

    Args:
        database_block: Database rows at a time; a memory-mapped database is never loaded whole.
    """

    def __init__(self, database_block: int = 65536) -> None:
        if database_block < 1:
            raise ConfigError("search.database_block", database_block, "an integer of at least 1")
        self.database_block = database_block

    def over(
        self,
        database: NDArray[np.floating],
        folder: Path | None = None,  # noqa: ARG002 # nothing is kept
        identity: str = "",  # noqa: ARG002
        queries: NDArray[np.floating] | None = None,  # noqa: ARG002
    ) -> "FaissFlatSearch":
        """As in :class:`crosslocate.retrieval.search.Searcher`; there is nothing to prepare, and nothing is kept."""
        return FaissFlatSearch(database, self.database_block)

    def search(self, queries: NDArray[np.floating], database: NDArray[np.floating], k: int) -> Neighbours:
        """The k nearest database rows of every query; see `FaissFlatSearch.nearest`."""
        return self.over(database).nearest(queries, k)


class FaissFlatSearch:
    """`FaissFlat` in one database [n, D]."""

    report: SearchReport | None = None

    def __init__(self, database: NDArray[np.floating], database_block: int) -> None:
        self._database, self._block = database, database_block

    def nearest(self, queries: NDArray[np.floating], k: int, among: NDArray[np.bool_] | None = None) -> Neighbours:
        """The k nearest database rows of every query; see :class:`crosslocate.retrieval.search.Search`.

        Raises:
            ConfigError: k below 1.
            DataError: Descriptors of different sizes, or an empty database or selection.
        """
        k = usable_k(queries, self._database, k, among)
        queries = np.ascontiguousarray(queries, np.float32)
        squared, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start, part in blocks(self._database, self._block):
            numbers = np.arange(start, start + len(part))
            if among is not None:
                chosen = among[numbers]
                part, numbers = part[chosen], numbers[chosen]
            if len(part) == 0:
                continue
            found, columns = faiss.knn(queries, np.ascontiguousarray(part, np.float32), min(k, len(part)))
            squared = np.concatenate([squared, found], axis=1)
            rows = np.concatenate([rows, numbers[columns]], axis=1)
            order = np.argsort(squared, axis=1, kind="stable")[:, :k]
            squared, rows = np.take_along_axis(squared, order, 1), np.take_along_axis(rows, order, 1)
        return Neighbours(np.sqrt(np.maximum(squared, 0.0)), rows)
