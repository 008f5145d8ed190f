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


def suffixed(names: Names, suffixes: Names, number: NDArray[Any], rows: NDArray[Any]) -> Names:
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


def first_repeated(names: Names) -> str | None:
    """A name that more than one row has, or None; only texts with equal hashes are copied and compared."""
    prints = np.empty(len(names), np.uint64)
    for k in range(0, len(names), _BLOCK):
        texts = np.ascontiguousarray(names[k : k + _BLOCK])
        letters = texts.view(np.uint32).reshape(len(texts), texts.dtype.itemsize // 4)
        part = np.full(len(texts), 14695981039346656037, np.uint64)  # FNV-1a
        for column in letters.T:
            part = (part ^ column) * np.uint64(1099511628211)
        prints[k : k + _BLOCK] = part
    order = np.sort(prints)
    again = np.unique(order[1:][order[1:] == order[:-1]])
    suspects, counts = np.unique(names[np.isin(prints, again)], return_counts=True)
    return str(suspects[counts > 1][0]) if (counts > 1).any() else None
