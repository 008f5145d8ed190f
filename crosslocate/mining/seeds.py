"""NumPy's SeedSequence for many seeds at once, which differ in one place.

A generator of its own for every query needs a seed for every query. ``np.random.SeedSequence`` mixes one at a time, in
Python; here its arithmetic (O'Neill's ``seed_seq`` alternative, as NumPy documents it) runs over arrays.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

POOL = 4
"""Words of the pool that entropy is mixed into."""
WORD = 0xFFFFFFFF
INIT_A, MULT_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULT_B = 0x8B51F9DD, 0x58F38DED
MIX_L, MIX_R = 0xCA01F9DD, 0x4973F715
SHIFT = np.uint32(16)

Words = NDArray[np.uint32]


class _Hash:
    """The hash that a pool is filled with: its constant changes at every use, whatever is hashed."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, value: Words) -> Words:
        value = value ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & WORD
        value = value * np.uint32(self._constant)
        return value ^ (value >> SHIFT)


def seeds_of(before: Sequence[int], each: NDArray[np.integer], after: Sequence[int]) -> NDArray[np.uint64]:
    """``SeedSequence([*before, e, *after]).generate_state(1, np.uint64)[0]`` for every ``e``.

    Args:
        before: Numbers of at least 0, of any size.
        each: Numbers from 0 to 2**32 - 1, shape [n].
        after: As ``before``.

    Returns:
        uint64 [n].
    """
    words: list[Words] = [np.array([word], np.uint32) for number in before for word in _words(number)]
    words.append(np.asarray(each).astype(np.uint32))
    words += [np.array([word], np.uint32) for number in after for word in _words(number)]
    hashed = _Hash(INIT_A, MULT_A)
    nothing = np.zeros(1, np.uint32)
    pool = [hashed(words[k] if k < len(words) else nothing) for k in range(POOL)]
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                pool[target] = _mix(pool[target], hashed(pool[source]))
    for word in words[POOL:]:
        for target in range(POOL):
            pool[target] = _mix(pool[target], hashed(word))
    drawn = _Hash(INIT_B, MULT_B)
    low, high = (np.broadcast_to(drawn(part), np.shape(each)).astype(np.uint64) for part in pool[:2])
    return low | high << np.uint64(32)


def _words(number: int) -> list[int]:
    """A number's 32-bit words, the lowest first; 0 has one."""
    count = max(1, -(-int(number).bit_length() // 32))
    return [int(number) >> 32 * k & WORD for k in range(count)]


def _mix(x: Words, y: Words) -> Words:
    mixed = x * np.uint32(MIX_L) - y * np.uint32(MIX_R)
    return mixed ^ (mixed >> SHIFT)
