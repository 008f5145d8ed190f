"""Millions of strings without a Python object for each."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TOGETHER = 1 << 16


class Texts(Sequence[str]):
    """Strings in Arrow's memory that are used like a list of them.

    Args:
        array: Strings, none of them null.
    """

    def __init__(self, array: pa.ChunkedArray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """One string, or a list of several."""
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                return self.take(np.arange(start, stop, step)).to_list()
            return self.array.slice(start, max(stop - start, 0)).to_pylist()
        return self.array[place].as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _TOGETHER):
            yield from self.array.slice(start, _TOGETHER).to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts):
            return self.array.equals(other.array)
        return isinstance(other, list) and len(other) == len(self) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({self[:3]}{'...' if len(self) > 3 else ''})"

    def take(self, rows: NDArray[np.int64]) -> "Texts":
        """Some of the strings, in the given order."""
        return Texts(self.array.take(pa.array(rows)))

    def to_list(self) -> list[str]:
        """As a list."""
        return self.array.to_pylist()


def as_arrow(texts: Sequence[str]) -> pa.ChunkedArray:
    """Strings as Arrow has them.

    Raises:
        UnicodeError: When one of them holds half of a surrogate pair.
    """
    if isinstance(texts, Texts):
        return texts.array
    return pa.chunked_array(
        [pa.array(texts[i : i + _TOGETHER], pa.string()) for i in range(0, len(texts), _TOGETHER)]
        or [pa.array([], pa.string())]
    )


def chosen(texts: Sequence[str], rows: NDArray[np.int64]) -> Sequence[str]:
    """Some of the strings, in the given order."""
    return texts.take(rows) if isinstance(texts, Texts) else [texts[row] for row in rows.tolist()]
