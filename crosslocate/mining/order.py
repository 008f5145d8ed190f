"""The order in which queries are visited in an epoch."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def spread_over_places(queries: Rows, places: NDArray[np.integer], rng: np.random.Generator) -> Rows:
    """A random order in which batches hold mostly distinct places.

    Every place gives one query before any place gives its second: queries are dealt out in passes, and each pass is
    shuffled. With one query a place this is a plain shuffle.

    Args:
        queries: Query rows, shape [n].
        places: Place of each of them, shape [n].
        rng: Source of every draw.

    Returns:
        The same rows in their new order, shape [n].
    """
    shuffled = rng.permutation(len(queries))
    by_place = shuffled[np.argsort(places[shuffled], kind="stable")]
    grouped = places[by_place]
    turn = np.arange(len(queries)) - np.searchsorted(grouped, grouped)
    order = np.lexsort((rng.random(len(queries)), turn))
    return queries[by_place[order]]
