"""Envelopes of sectors: the slope that no terrain exceeds up to a distance."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.boxes import highest_in
from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.pieces import CHUNK, PIECE, compare, fit_chunk
from crosslocate.terrain.casting.kernels.rays import MILD, arc, horizon
from crosslocate.terrain.casting.kernels.sectors import direction_of
from crosslocate.terrain.casting.kernels.slabs import CUT, SLACK, SLOPE, TOP, cut, highest, slope_of, slopes_of
from crosslocate.terrain.casting.kernels.tracks import expand, follow, stretch

HALF_WIDE = 0.4
"""Half width in cells up to which one block of tops is looked up for a piece of a sector; four beyond it."""

WIDEST = 1.5
"""Half width in cells up to which sectors are surveyed: four blocks of tops and the ring around them cover a piece."""

NEAR_CELLS = 6.0
"""Distance in cells up to which all slabs are looked at, those with terrain above the eye in parts."""

NEAR_GROWTH = 1.3
"""Ratio of the outer to the inner distance of these parts, from half a metre on."""

BROADER = 1.02
"""Factor by which sectors are taken to be wider than they are: what their width, and the speed and the direction of
their middle, change by in a stretch."""

LEAST_ASIDE = 2e-3
"""Half width of sectors in cells at least."""

LEAST_LEAN = 0.01
"""Cells on the minor axis for one on the major axis at least."""

LEAST_GROWTH = 1.004
"""Ratio of distances of successive entries of an envelope, at least."""

BORDER = 7.0
"""Cells along the border of a sheet in which sectors are not surveyed."""


@compiled
def close(
    curvature: float, height: float, highest: float, starts: Any, slopes: Any, count: int, s: float, end: float
) -> int:
    """End an envelope at s: terrain beyond it is only known to be nowhere above ``highest``."""
    while count > 0 and starts[count - 1] >= s:
        count -= 1
    s = s if count > 0 else 0.0
    rise = (highest - height) / (1.0 + curvature * highest)
    slope = np.inf
    if rise <= 0.0:
        sine, _ = arc(curvature, end)
        slope = rise / sine + SLACK
    elif s > 0.0:
        sine, versine = arc(curvature, s)
        slope = (rise - versine) / sine + SLACK
    if count == 0 or slope > slopes[count - 1]:
        starts[count], slopes[count] = s, slope
        count += 1
    return count


@compiled
def note(starts: Any, slopes: Any, count: int, s: float, slope: float) -> int:
    """Add to an envelope that terrain from s on has a higher slope than all before; returns the number of entries."""
    while count > 0 and starts[count - 1] > s:
        count -= 1
    if count == 0:
        starts[0] = 0.0
        count = 1
    elif s > starts[count - 1] * LEAST_GROWTH:
        starts[count] = s
        count += 1
    slopes[count - 1] = slope
    return count


@compiled
def inside(table: Any, sheet: int, part: Any, s: float, border: float) -> bool:
    """Whether a track is so many cells from the border of the sheet at ground distance s."""
    d = s - part[7]
    column, row = part[0] + d * (part[1] + d * part[2]), part[3] + d * (part[4] + d * part[5])
    return border <= column < table[sheet, 0] - 1.0 - border and border <= row < table[sheet, 1] - 1.0 - border


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
def survey(
    ground: Any,
    eye: Any,
    sector: int,
    sectors: int,
    paths: Any,
    edge: Any,
    part: Any,
    places: Any,
    gaps: Any,
    work: Any,
    starts: Any,
    slopes: Any,
) -> int:
    """Find the envelope of one sector: the slope that terrain surely stays below, by distance.

    Args:
        ground: ``Ground``.
        eye: ``Eye``.
        sector: Number of the sector.
        sectors: Their number.
        paths: Work space, [L, 12].
        edge: Work space, [L, 12].
        part: Work space, [8].
        places: Work space, int64 [3 * CHUNK].
        gaps: Work space, [CHUNK].
        work: Work space, [SLABS].
        starts: Receives ground distances, growing from 0.
        slopes: Receives slopes, growing: no terrain of the sector before ``starts[n + 1]`` exceeds ``slopes[n]``.

    Returns:
        Number of entries. The last slope is infinite where the sector gets too wide to be surveyed.
    """
    posts, tops, table, first, unit = ground.posts, ground.tops, ground.table, ground.first, eye.unit
    height, highest_of_all, reach = eye.height, ground.highest, eye.max_distance
    east, north = direction_of(4.0 * (sector + 0.5) / sectors)
    left_east, left_north = direction_of(4.0 * sector / sectors)
    right_east, right_north = direction_of(4.0 * (sector + 1.0) / sectors)
    to_left, to_right = abs(east * left_north - north * left_east), abs(east * right_north - north * right_east)
    share = BROADER * max(to_left, to_right) / to_left
    follow(eye, left_east, left_north, edge)
    curvature = follow(eye, east, north, paths)
    outside = False
    count, steepest, s, pace = 0, -np.inf, 0.0, 1.0
    while s < reach:
        limit = horizon(curvature, height, highest_of_all, steepest) if count > 0 else np.inf
        if s >= limit:
            return count
        sheet = stretch(table, first, unit, eye.stride, paths, s, min(limit, reach, eye.alone), part)
        if sheet < 0 or s >= eye.alone:
            break
        c0, c1, c2, r0, r1, r2 = part[0], part[1], part[2], part[3], part[4], part[5]
        end, begin = part[6], part[7]
        along, down = c1 + 2.0 * (s - begin) * c2, r1 + 2.0 * (s - begin) * r2
        pace = max(abs(along), abs(down))
        across = abs(along) > abs(down)
        # cells from the middle of the sector to its sides, for each metre of distance
        columns, rows = sides(first, paths, edge, sheet, s, end)
        columns, rows = share * columns, share * rows
        spread = max(columns, rows)
        # along a line of posts, which the sides meet before or behind the middle: by so much of the distance
        lean = BROADER * min(abs(along), abs(down)) / pace + LEAST_LEAN
        broad = rows + lean * columns if across else columns + lean * rows
        swerve, least = BROADER * (columns if across else rows) / pace, LEAST_ASIDE / pace
        beside = table[sheet, 0] if across else 1
        over = 1 if across else table[sheet, 0]
        sense = 1 if (along if across else down) > 0.0 else -1
        fine = NEAR_CELLS / pace
        room = CHUNK // 8
        while s < end:
            # a chunk of pieces, of which those may count that rise above the envelope so far
            wide = (s + room * PIECE / pace) * spread + LEAST_ASIDE
            narrow = wide <= HALF_WIDE
            if not narrow:
                wide = (s + 2.0 * room * PIECE / pace) * spread + LEAST_ASIDE
                if wide > WIDEST:
                    if room == 1:
                        return close(curvature, height, highest_of_all, starts, slopes, count, s, reach)
                    room = 1
                    continue
            step = ((PIECE if narrow else 2.0 * PIECE) - 2.0 * wide) / pace
            blind = s < fine or abs(steepest) >= MILD
            most = min(min(CHUNK // 8, room) if blind else room, int((end - s) / step) + 1)
            pieces = fit_chunk(table, sheet, part, s, step, most, BORDER)
            if pieces == 0:
                if not (inside(table, sheet, part, s, BORDER) and inside(table, sheet, part, s + step, BORDER)):
                    outside = True  # beyond the border of a sheet others may lie beside the middle of the sector
                    break
                pieces, blind = 1, True  # the track turns in it
            chunk, before = s, steepest
            s = min(chunk + pieces * step, end)
            at, stop = chunk, s
            if not blind:
                found = compare(
                    tops, table, sheet, part, curvature, height, steepest, chunk, step, pieces, not narrow, places, gaps
                )
                if found == 0:
                    room = min(2 * room, CHUNK)
                    continue
                k = 0
                while not gaps[k] > 0.0:
                    k += 1
                at = chunk + k * step
                k = pieces
                while not gaps[k - 1] > 0.0:
                    k -= 1
                stop = min(chunk + k * step, end)
            at, stop = max(at - at * swerve - least, 0.0), stop + stop * swerve + least
            d = at - begin
            column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
            along, down = c1 + 2.0 * d * c2, r1 + 2.0 * d * r2
            if across:
                number = cut(row, down, r2, column, along, c2, at, stop - at, broad, work)
                line = int(column)
            else:
                number = cut(column, along, c2, row, down, r2, at, stop - at, broad, work)
                line = int(row)
            if number == 0:
                return close(curvature, height, highest_of_all, starts, slopes, count, at, reach)
            highest(posts, table[sheet, 2] + line * over, over, beside, sense, ground.triangles, number, work)
            slopes_of(curvature, height, at, swerve, least, number, work)
            for k in range(number):
                if work[SLOPE + k] > steepest:
                    near, far = at + work[CUT + k], at + work[CUT + k + 1]
                    # near terrain above the eye is looked at in parts: its slope depends much on where it begins
                    whole = near >= fine or work[TOP + k] <= height
                    while near < far:
                        to = far if whole else min(near + max((NEAR_GROWTH - 1.0) * near, 0.5), far)
                        slope = work[SLOPE + k]
                        aside = to * swerve + least
                        if not whole:
                            top = highest_along(
                                posts, table, ground.triangles, sheet, part, near - aside, to + aside, columns, rows
                            )
                            slope = slope_of(curvature, height, top, max(near - aside, 0.0), to + aside)
                        if slope > steepest:
                            if count == len(starts) - 1:
                                return close(curvature, height, highest_of_all, starts, slopes, count, near, reach)
                            steepest = slope
                            count = note(starts, slopes, count, max(near - aside, 0.0), slope)
                        near = to
            room = max(room // 2, CHUNK // 8) if steepest > before else min(2 * room, CHUNK)
            if steepest > before and s < end:
                end = min(end, max(horizon(curvature, height, highest_of_all, steepest), s))
        if outside:
            break
    if s >= reach:
        return count
    s = max(s - 2.0 * BORDER / pace, 0.0)
    return close(curvature, height, highest_of_all, starts, slopes, count, s, reach)
