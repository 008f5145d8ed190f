"""Runs of a sector: all terrain between two distances is looked at."""

from typing import Any

from crosslocate.terrain.casting.kernels.boxes import highest_in
from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.entries import note
from crosslocate.terrain.casting.kernels.shapes import LEAST_ASIDE
from crosslocate.terrain.casting.kernels.slabs import CUT, SLOPE, TOP, cut, highest, slope_of, slopes_of

NEAR_CELLS = 6.0
"""Distance in cells up to which all slabs are looked at, those with terrain above the eye in parts."""

NEAR_GROWTH = 1.3
"""Ratio of the outer to the inner distance of these parts, from half a metre on."""


@compiled
def highest_along(
    posts: Any,
    table: Any,
    triangles: bool,
    sheet: int,
    part: Any,
    near: float,
    far: float,
    columns: float,
    rows: float,
) -> float:
    """Height that terrain between two distances does not exceed, ``columns`` and ``rows`` a metre beside a track."""
    d, e = near - part[7], far - part[7]
    column, row = part[0] + d * (part[1] + d * part[2]), part[3] + d * (part[4] + d * part[5])
    column_, row_ = part[0] + e * (part[1] + e * part[2]), part[3] + e * (part[4] + e * part[5])
    aside, aside_ = far * columns + LEAST_ASIDE, far * rows + LEAST_ASIDE
    return highest_in(
        posts,
        table,
        triangles,
        sheet,
        min(column, column_) - aside,
        max(column, column_) + aside,
        min(row, row_) - aside_,
        max(row, row_) + aside_,
    )


@compiled
def look(
    ground: Any,
    sheet: int,
    part: Any,
    curvature: float,
    height: float,
    shape: Any,
    at: float,
    stop: float,
    steepest: float,
    count: int,
    starts: Any,
    slopes: Any,
    work: Any,
) -> tuple[int, float, float]:
    """Look at all terrain of a sector between two distances, and note what rises above its envelope.

    Args:
        ground: ``Ground``.
        sheet: The sheet.
        part: As filled by :func:`~crosslocate.terrain.casting.kernels.tracks.stretch`.
        curvature: Of the earth along the sector.
        height: Of the camera.
        shape: ``Shape`` of the sector.
        at: Ground distance where it begins.
        stop: Where it ends.
        steepest: The highest slope so far.
        count: Entries so far.
        starts: Of the envelope.
        slopes: Of the envelope.
        work: Work space, [SLABS].

    Returns:
        Number of entries, the highest slope, and how far it was looked: less than ``stop`` where there is no room for
        another entry, or the track is too bent.
    """
    least, fine = LEAST_ASIDE / shape.pace, NEAR_CELLS / shape.pace
    s, end = max(at - at * shape.swerve - least, 0.0), stop + stop * shape.swerve + least
    d = s - part[7]
    column, row = part[0] + d * (part[1] + d * part[2]), part[3] + d * (part[4] + d * part[5])
    along, down = part[1] + 2.0 * d * part[2], part[4] + 2.0 * d * part[5]
    if shape.across:
        number = cut(row, down, part[5], column, along, part[2], s, end - s, shape.broad, work)
        line, sense = int(column), 1 if along > 0.0 else -1
    else:
        number = cut(column, along, part[2], row, down, part[5], s, end - s, shape.broad, work)
        line, sense = int(row), 1 if down > 0.0 else -1
    if number == 0:
        return count, steepest, s
    line_at = ground.table[sheet, 2] + line * shape.over
    highest(ground.posts, line_at, shape.over, shape.beside, sense, ground.triangles, number, work)
    slopes_of(curvature, height, s, shape.swerve, least, number, work)
    for k in range(number):
        if work[SLOPE + k] > steepest:
            near, far = s + work[CUT + k], s + work[CUT + k + 1]
            # near terrain above the eye is looked at in parts: its slope depends much on where it begins
            whole = near >= fine or work[TOP + k] <= height
            while near < far:
                to = far if whole else min(near + max((NEAR_GROWTH - 1.0) * near, 0.5), far)
                aside = to * shape.swerve + least
                before, behind = max(near - aside, 0.0), to + aside
                slope = work[SLOPE + k]
                if not whole:
                    top = highest_along(
                        ground.posts,
                        ground.table,
                        ground.triangles,
                        sheet,
                        part,
                        near - aside,
                        behind,
                        shape.columns,
                        shape.rows,
                    )
                    slope = slope_of(curvature, height, top, before, behind)
                if slope > steepest:
                    if count == len(starts) - 1:
                        return count, steepest, before
                    steepest = slope
                    count = note(starts, slopes, count, before, slope)
                near = to
    return count, steepest, end
