"""A sample of negatives for every query: uniform, without repetition, of all views that are not near it."""

from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.mining.descriptors import Rows
from crosslocate.mining.miner import MiningTask
from crosslocate.mining.plan import NO_VIEW
from crosslocate.mining.related import flatten
from crosslocate.mining.seeds import seeds_of

WHOLE = 16
"""A shuffle of at most so many times the places that are taken is kept as a whole, which is faster."""


class NegativeSampler(Protocol):
    """Draws negatives of single queries."""

    def draw(self, task: MiningTask, queries: Rows, attempt: int, count: int) -> NDArray[np.int32]:
        """Database rows of every query, shape [queries, up to count], in random order; -1 where there are no more.

        Args:
            task: The round.
            queries: Some of its queries, shape [q].
            attempt: Which sample of a query, from 0.
            count: Rows wanted.
        """


class ComplementSampler:
    """Draws from all views but those that the negative rule forbids, each subset with the same probability.

    The first places of a Fisher-Yates shuffle of all views are taken, and forbidden views passed over. Only the places
    that the shuffle has touched are kept: time and memory of a query are those of its sample, whatever the size of the
    database. A sample follows from (seed, epoch, round), query and attempt alone. Where fewer negatives exist than
    asked for, all are given.
    """

    def draw(self, task: MiningTask, queries: Rows, attempt: int, count: int) -> NDArray[np.int32]:
        """See NegativeSampler."""
        size = task.database_size
        owners, near = flatten(task.relations.nonnegatives, queries)
        forbidden = ~task.rule(queries[owners], near)
        owners, near = owners[forbidden], near[forbidden]
        bounds = np.searchsorted(owners, np.arange(len(queries) + 1))
        longest = int(np.diff(bounds).max(initial=0))
        states = seeds_of([*task.key, 2], queries, [attempt])
        drawn = np.full((len(queries), min(count, size)), NO_VIEW, np.int32)
        most = min(size, drawn.shape[1] + longest)
        if size <= WHOLE * most:
            most = size
        _draw(states, bounds, near, size, most, (_table_size(most), _table_size(longest)), drawn)
        return drawn


def _table_size(entries: int) -> int:
    """Slots of a hash table that is at most half full: a power of two."""
    return 2 << entries.bit_length()


@njit(nogil=True, cache=True)
def _draw(states, bounds, near, size, most, slots, drawn) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    front = np.empty(most, np.int32)  # the first places of the shuffle, of which more are there than can be taken
    keys, moved = np.zeros(slots[0], np.int64), np.zeros(slots[0], np.int32)  # further places that were touched
    forbidden = np.zeros(slots[1], np.int64)
    for query in range(len(states)):
        state = states[query]
        stamp = np.int64(query + 1) << 32  # what is of another query counts as empty
        for k in range(bounds[query], bounds[query + 1]):
            forbidden[_slot(forbidden, stamp | near[k], stamp)] = stamp | near[k]
        for k in range(most):
            front[k] = k
        taken, found = 0, 0
        while found < drawn.shape[1] and taken < size:
            state, offset = _below(state, np.uint64(size - taken))
            place = taken + np.int64(offset)
            if place < most:
                row, front[place] = front[place], front[taken]
            else:
                slot = _slot(keys, stamp | place, stamp)
                row = moved[slot] if keys[slot] == stamp | place else np.int32(place)
                keys[slot], moved[slot] = stamp | place, front[taken]
            taken += 1
            if forbidden[_slot(forbidden, stamp | row, stamp)] != stamp | row:
                drawn[query, found] = row
                found += 1


@njit(nogil=True, cache=True)
def _slot(keys, key, stamp):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where a key stands, or would: the first slot from its own on that holds it or nothing of this stamp."""
    mask = len(keys) - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while keys[slot] != key and keys[slot] >= stamp:
        slot = (slot + 1) & mask
    return slot


@njit(nogil=True, cache=True)
def _below(state, bound):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The next state of SplitMix64 (Steele et al. 2014), and a number below ``bound`` without bias (Lemire 2019)."""
    mask = np.uint64(0xFFFFFFFF)
    while True:
        state += np.uint64(0x9E3779B97F4A7C15)
        bits = state
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
        product = (bits >> np.uint64(32)) * bound
        rest = product & mask
        if rest >= bound or rest >= (np.uint64(1 << 32) - bound) % bound:
            return state, product >> np.uint64(32)
