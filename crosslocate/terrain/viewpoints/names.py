"""Names of places and views, many at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Names = NDArray[np.str_]
_BLOCK = 1 << 16


def numbered(prefix: str, numbers: NDArray[Any], digits: int) -> Names:
    """``prefix`` and every number with leading zeros: at least ``digits`` digits, and as many as the largest has."""
    if not len(numbers):
        return np.empty(0, "U1")
    digits = max(digits, len(str(int(numbers.max()))))
    texts = np.empty((len(numbers), len(prefix) + digits), np.uint32)
    texts[:, : len(prefix)] = [ord(letter) for letter in prefix]
    left = numbers.astype(np.int64)
    for place in range(digits):
        left, digit = np.divmod(left, 10)
        texts[:, -1 - place] = digit + ord("0")
    return texts.view(f"U{texts.shape[1]}")[:, 0]


def joined(first: Names, second: Names) -> Names:
    """Row by row, one text after the other."""
    return np.strings.add(first, second)


def suffixed(names: Names, suffixes: Names, number: NDArray[np.int64], rows: NDArray[np.int64]) -> Names:
    """``names[rows]`` followed by ``suffixes[number]``, block by block: no copies of all of them are made.

    ``-1`` in ``number`` stands for no suffix.
    """
    choices = np.append(suffixes, "")
    width = names.dtype.itemsize // 4 + suffixes.dtype.itemsize // 4
    out = np.empty(len(rows), f"U{max(width, 1)}")
    for k in range(0, len(rows), _BLOCK):
        part = slice(k, k + _BLOCK)
        out[part] = np.strings.add(names[rows[part]], choices[number[part]])
    return out
