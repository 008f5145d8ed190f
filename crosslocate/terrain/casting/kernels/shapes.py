"""How wide sectors are, in cells."""

from typing import Any, NamedTuple

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.tracks import expand

BROADER = 1.02
"""Factor by which sectors are taken to be wider than they are: what their width, and the speed and the direction of
their middle, change by in a stretch."""

LEAST_ASIDE = 2e-3
"""Half width of sectors in cells at least."""

LEAST_LEAN = 0.01
"""Cells on the minor axis for one on the major axis at least."""


class Shape(NamedTuple):
    """The shape of a sector in a stretch.

    Attributes:
        across: Whether it runs faster along columns than along rows: those are then the ``major`` axis of its slabs.
        beside: Posts from a post of a line to the next.
        over: Posts from a line to the next.
        columns: Columns from its middle to its sides for each metre of ground distance.
        rows: Rows, the same.
        broad: Cells from its middle to its sides along a line of posts, the same.
        swerve: By how much of the distance the sides meet a line of posts before or behind the middle.
        pace: Cells on the major axis for each metre.
    """

    across: bool
    beside: int
    over: int
    columns: float
    rows: float
    broad: float
    swerve: float
    pace: float


@compiled
def sides(first: Any, paths: Any, edge: Any, sheet: int, s: float, end: float) -> tuple[float, float]:
    """Columns and rows of a sheet from the middle of a sector to its first edge, for each metre of ground distance.

    Args:
        first: Of ``Ground``.
        paths: The tracks of the middle on all layers.
        edge: The same of the edge.
        sheet: The sheet.
        s: Where a stretch begins.
        end: Where it ends.

    Returns:
        The larger ones of both ends.
    """
    layer = 0
    while first[layer + 1] <= sheet:
        layer += 1
    share = 1.0 / (1 << (sheet - first[layer]))
    columns = rows = 0.0
    for distance in (s, end):
        if distance < 1.0:
            column, row = edge[layer, 1] - paths[layer, 1], edge[layer, 7] - paths[layer, 7]
        else:
            column = (expand(edge, layer, 0, distance)[0] - expand(paths, layer, 0, distance)[0]) / distance
            row = (expand(edge, layer, 6, distance)[0] - expand(paths, layer, 6, distance)[0]) / distance
        columns, rows = max(columns, abs(column)), max(rows, abs(row))
    return share * columns, share * rows


@compiled
def shape_of(table: Any, first: Any, paths: Any, edge: Any, sheet: int, part: Any, s: float, share: float) -> Shape:
    """The shape of a sector in a stretch.

    Args:
        table: Of ``Ground``.
        first: Of ``Ground``.
        paths: The tracks of its middle on all layers.
        edge: The same of its first edge.
        sheet: The sheet of the stretch.
        part: As filled by :func:`~crosslocate.terrain.casting.kernels.tracks.stretch`.
        s: Where the stretch begins.
        share: How much wider the sector is than from its first edge to its middle and back.
    """
    d = s - part[7]
    along, down = part[1] + 2.0 * d * part[2], part[4] + 2.0 * d * part[5]
    pace = max(abs(along), abs(down))
    across = abs(along) > abs(down)
    columns, rows = sides(first, paths, edge, sheet, s, part[6])
    columns, rows = share * columns, share * rows
    # the sides meet a line of posts before or behind the middle, and further along it
    lean = BROADER * min(abs(along), abs(down)) / pace + LEAST_LEAN
    width = table[sheet, 0]
    if across:
        return Shape(across, width, 1, columns, rows, rows + lean * columns, BROADER * columns / pace, pace)
    return Shape(across, 1, width, columns, rows, columns + lean * rows, BROADER * rows / pace, pace)
