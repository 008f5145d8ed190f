"""Rectangles of posts, and few of them that hold many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FULL = 0.5
"""A rectangle that tiles fill at least to this share is kept whole."""

SMALL = 1 << 22
"""A rectangle of no more posts than that (16 MiB) is kept whole however empty it is."""


@dataclass(frozen=True)
class Rectangle:
    """Posts of a lattice or raster: rows from ``top`` to below ``bottom``, columns from ``left`` to below ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Number of posts; 0 for an empty one."""
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)

    def clipped(self, to: "Rectangle") -> "Rectangle":
        """What it has in common with another one."""
        return Rectangle(
            max(self.top, to.top), max(self.left, to.left), min(self.bottom, to.bottom), min(self.right, to.right)
        )

    def moved(self, rows: int, columns: int) -> "Rectangle":
        """It, some rows and columns further."""
        return Rectangle(self.top + rows, self.left + columns, self.bottom + rows, self.right + columns)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Indices into an array [rows, columns]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @classmethod
    def around(cls, rectangles: Sequence["Rectangle"]) -> "Rectangle":
        """The smallest one that holds others."""
        return cls(
            min(r.top for r in rectangles),
            min(r.left for r in rectangles),
            max(r.bottom for r in rectangles),
            max(r.right for r in rectangles),
        )


def divide(rectangles: Sequence[Rectangle]) -> list[Rectangle]:
    """Rectangles that together hold all the given ones, and of which those fill a good part.

    Where the rectangle around all of them is mostly empty, it is cut in two along a row or a column, between given ones
    if possible, where the two rectangles around what starts on either side are smallest together; and so on with these.
    """
    box = Rectangle.around(rectangles)
    if len(rectangles) == 1 or box.area <= SMALL or _covered(rectangles) >= FULL * box.area:
        return [box]
    edges = np.array([(r.top, r.left, r.bottom, r.right) for r in rectangles], np.int64)
    best: tuple[int, list[Rectangle], list[Rectangle]] | None = None
    for axis in (0, 1):
        order = np.lexsort((edges[:, 1 - axis], edges[:, axis]))
        before, after = _growing_areas(edges[order]), _growing_areas(edges[order[::-1]])[::-1]
        total = before[:-1] + after[1:]
        cut = int(np.argmin(total))
        if best is None or total[cut] < best[0]:
            first, second = order[: cut + 1], order[cut + 1 :]
            best = int(total[cut]), [rectangles[k] for k in first], [rectangles[k] for k in second]
    assert best is not None
    return [box] if best[0] > 0.9 * box.area else [*divide(best[1]), *divide(best[2])]


def _growing_areas(edges: np.ndarray) -> np.ndarray:
    """Area around the first 1, 2, ... rectangles [n, (top, left, bottom, right)]."""
    low, high = np.minimum.accumulate(edges[:, :2]), np.maximum.accumulate(edges[:, 2:])
    return (high - low).prod(1)


def _covered(rectangles: Sequence[Rectangle]) -> int:
    """Posts that rectangles cover; those that several of them cover count once."""
    ys = np.unique([y for r in rectangles for y in (r.top, r.bottom)])
    xs = np.unique([x for r in rectangles for x in (r.left, r.right)])
    marked = np.zeros((len(ys), len(xs)), bool)
    for r in rectangles:
        top, bottom, left, right = (
            int(np.searchsorted(a, v)) for a, v in ((ys, r.top), (ys, r.bottom), (xs, r.left), (xs, r.right))
        )
        marked[top:bottom, left:right] = True
    return int((np.diff(ys)[:, None] * np.diff(xs) * marked[:-1, :-1]).sum())
