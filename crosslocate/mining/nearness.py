"""Exact distances of queries to the nearest of their positives and of their samples."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.relations import Csr
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.plan import NO_VIEW
from crosslocate.mining.preselection import Approximate, of_samples, preselect, sample_distances, whole_distances
from crosslocate.mining.related import flatten
from crosslocate.retrieval.distances import squared_distances


class Nearness:
    """Exact distances of the queries of a chunk to the nearest of their samples.

    Args:
        queries: Descriptors of at least the queries.
        database: Descriptors of at least what is sampled.
        dense: Whether distances to the whole database are computed at once.
    """

    def __init__(self, queries: RowDescriptors, database: RowDescriptors, dense: bool) -> None:
        self._queries, self._database, self._dense = queries, database, dense
        self._anchors: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._whole: Approximate | None = None

    def look_from(self, queries: Rows) -> None:
        """Take up the queries of a chunk."""
        self._anchors = self._queries.of(queries)
        self._whole = whole_distances(self._anchors, self._database.values) if self._dense else None

    def nearest(self, positives: Csr, queries: Rows) -> tuple[Rows, NDArray[np.float64]]:
        """The nearest positive of every query, and its squared distance; of equals, the lower row."""
        owners, rows = flatten(positives, queries)
        distances = self._squared(self._anchors[owners], self._database.positions(rows)[:, None])[:, 0]
        order = np.lexsort((rows, distances, owners))
        first = order[np.searchsorted(owners[order], np.arange(len(queries)))]
        return rows[first], distances[first]

    def ranked(self, active: Rows, samples: NDArray[np.int32], width: int) -> tuple[Rows, NDArray[np.float64]]:
        """Rows and squared distances [q, up to width] of the nearest of the samples [q, c], ascending.

        Args:
            active: The queries that the samples are of, as places in the chunk [q].
            samples: Database rows, -1 for none; may be repeated, and then take several places. Rows that have no
                descriptor are passed over.
            width: Rows wanted; -1 and infinity fill up.
        """
        places = self._database.places(samples)
        if self._whole is not None:
            approximate = of_samples(self._whole, active, places)
        else:
            approximate = sample_distances(self._anchors[active], self._database.values, places)
        columns = preselect(approximate, width)
        chosen = np.take_along_axis(places, np.maximum(columns, 0), axis=1).astype(np.int64)
        exact = self._squared(self._anchors[active], chosen)
        exact[columns == NO_VIEW] = np.inf
        rows = np.where(columns == NO_VIEW, NO_VIEW, self._database.rows[chosen])
        order = np.lexsort((rows, exact), axis=1)[:, :width]
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(exact, order, axis=1)

    def _squared(self, anchors: NDArray[np.float32], places: Rows) -> NDArray[np.float64]:
        """Squares of distances, rather than sums of squares: so are they compared by CrossLocate, to the last digit."""
        squared: NDArray[np.float64] = np.square(np.sqrt(squared_distances(anchors, self._database.values, places)))
        return squared
