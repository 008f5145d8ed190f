"""Exact search by faiss. The one module that imports faiss, which must not be called in forked worker processes."""

import faiss
import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.retrieval.search import Neighbours, usable_k


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

    def search(self, queries: NDArray[np.floating], database: NDArray[np.floating], k: int) -> Neighbours:
        """The k nearest database rows of every query; see :class:`crosslocate.retrieval.search.Searcher`.

        Raises:
            ConfigError: k below 1.
            DataError: Descriptors of different sizes, or an empty database.
        """
        k = usable_k(queries, database, k)
        queries = np.ascontiguousarray(queries, np.float32)
        squared, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start in range(0, len(database), self.database_block):
            block = np.ascontiguousarray(database[start : start + self.database_block], np.float32)
            found, columns = faiss.knn(queries, block, min(k, len(block)))
            squared = np.concatenate([squared, found], axis=1)
            rows = np.concatenate([rows, columns + start], axis=1)
            order = np.argsort(squared, axis=1, kind="stable")[:, :k]
            squared, rows = np.take_along_axis(squared, order, 1), np.take_along_axis(rows, order, 1)
        return Neighbours(np.sqrt(np.maximum(squared, 0.0)), rows)
