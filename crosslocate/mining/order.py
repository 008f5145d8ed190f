"""The order in which queries are visited in an epoch."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def spread_over_places(queries: Rows, places: NDArray[np.integer], together: int, rng: np.random.Generator) -> Rows:
    """A random order in which batches hold many places, and ``together`` queries of each.

    Every place gives ``together`` queries, one after the other, before any place gives more: queries are dealt out in
    passes, and the places of each pass are shuffled. With one query together, batches hold mostly distinct places;
    with more, a place's views of other headings are in the batch too, as negatives where the rule allows it. With one
    query a place this is a plain shuffle.

    Args:
        queries: Query rows, shape [n].
        places: Place of each of them, shape [n].
        together: Queries of a place that stay together, at least 1.
        rng: Source of every draw.

    Returns:
        The same rows in their new order, shape [n].
    """
    shuffled = rng.permutation(len(queries))
    by_place = shuffled[np.argsort(places[shuffled], kind="stable")]
    _, first, group = np.unique(places[by_place], return_index=True, return_inverse=True)
    turn = (np.arange(len(queries)) - first[group]) // together
    passes = int(turn.max(initial=0)) + 1
    shuffle = rng.random((passes, len(first)))  # one key for a place in a pass, so that its queries stay together
    order = np.lexsort((shuffle[turn, group], turn))
    return queries[by_place[order]]
