"""Envelopes of sectors: the slope that no terrain exceeds up to a distance."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.boxes import highest_in
from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.pieces import CHUNK, PIECE, compare, fit_chunk
from crosslocate.terrain.casting.kernels.rays import MILD, STEEPEST, arc, horizon
from crosslocate.terrain.casting.kernels.sectors import breadth, direction_of
from crosslocate.terrain.casting.kernels.tracks import follow, stretch

SLACK = 1e-6
"""Added to envelopes against rounding, and against the change of the earth's radius across a sector."""

HALF_WIDE = 0.4
"""Half width in cells up to which one block of tops is looked up for a piece of a sector; four beyond it."""

WIDEST = 1.5
"""Half width in cells up to which sectors are surveyed: four blocks of tops and the ring around them cover a piece."""

NEAR_CELLS = 6.0
"""Distance in cells up to which sectors are surveyed in parts of cells."""

NEAR_GROWTH = 1.3
"""Ratio of the outer to the inner distance of these parts, from half a metre on."""

LEAST_GROWTH = 1.004
"""Ratio of distances of successive entries of an envelope, at least."""

BORDER = 2.0
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
def survey(
    ground: Any,
    eye: Any,
    sector: int,
    sectors: int,
    paths: Any,
    part: Any,
    places: Any,
    gaps: Any,
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
        part: Work space, [8].
        places: Work space, int64 [3 * CHUNK].
        gaps: Work space, [CHUNK].
        starts: Receives ground distances, growing from 0.
        slopes: Receives slopes, growing: no terrain of the sector before ``starts[n + 1]`` exceeds ``slopes[n]``.

    Returns:
        Number of entries. The last slope is infinite where the sector gets too wide to be surveyed.
    """
    posts, tops, table, first, unit = ground.posts, ground.tops, ground.table, ground.first, eye.unit
    height, highest_of_all, reach = eye.height, ground.highest, eye.max_distance
    east, north = direction_of(4.0 * (sector + 0.5) / sectors)
    left, left_ = direction_of(4.0 * sector / sectors)
    half_width = abs(east * left_ - north * left) * 1.01
    curvature = follow(eye, east, north, paths)
    outside = False
    count, steepest, near, s, pace = 0, -np.inf, 0.5, 0.0, 1.0
    while s < reach:
        limit = horizon(curvature, height, highest_of_all, steepest) if count > 0 else np.inf
        if s >= limit:
            return count
        sheet = stretch(table, first, unit, eye.stride, paths, s, min(limit, reach, eye.alone), part)
        if sheet < 0 or s >= eye.alone:
            break
        c0, c1, c2, r0, r1, r2 = part[0], part[1], part[2], part[3], part[4], part[5]
        end, begin = part[6], part[7]
        right, bottom = table[sheet, 0] - 1 - BORDER, table[sheet, 1] - 1 - BORDER
        pace = max(abs(c1), abs(r1))
        spread = half_width * breadth(eye, ground, sheet)
        fine = NEAR_CELLS / pace
        room = CHUNK // 8
        while s < end:
            # a piece, or a chunk of pieces of which those may count that rise above the envelope so far
            pieces, step = 1, 0.0
            gaps[0] = 1.0
            if s < fine:
                near = max(near, s * NEAR_GROWTH)
                step = min(near, end) - s
            else:
                step = 1.0 / pace
                wide = (s + room * PIECE / pace) * spread + 1e-3
                if wide <= WIDEST and abs(steepest) < MILD:
                    narrow = wide <= HALF_WIDE
                    step = ((PIECE if narrow else 2.0 * PIECE) - 2.0 * wide) / pace
                    pieces = fit_chunk(table, sheet, part, s, step, min(room, int((end - s) / step) + 1), BORDER)
                    if pieces > 0:
                        found = compare(
                            tops,
                            table,
                            sheet,
                            part,
                            curvature,
                            height,
                            steepest,
                            s,
                            step,
                            pieces,
                            not narrow,
                            places,
                            gaps,
                        )
                        if found == 0:
                            s += pieces * step
                            room = min(2 * room, CHUNK)
                            continue
                    else:
                        pieces, step = 1, 1.0 / pace
                        gaps[0] = 1.0
            chunk = s
            before = steepest
            s = min(chunk + pieces * step, end)
            for k in range(pieces):
                if not gaps[k] > 0.0:
                    continue
                if steepest > before and k > 8:
                    s = min(chunk + k * step, end)
                    break
                at, stop = chunk + k * step, min(chunk + (k + 1) * step, end)
                while at < stop:
                    length = min(1.0 / pace, stop - at)
                    d = at - begin
                    column, row = c0 + d * (c1 + d * c2), r0 + d * (r1 + d * r2)
                    along, down = c1 + 2.0 * d * c2, r1 + 2.0 * d * r2
                    if not (BORDER <= column < right and BORDER <= row < bottom):
                        outside = True
                        break
                    wide = (at + length) * spread + 1e-3
                    if wide > WIDEST:
                        return close(curvature, height, highest_of_all, starts, slopes, count, at, reach)
                    highest = highest_in(
                        posts,
                        table,
                        ground.triangles,
                        sheet,
                        min(column, column + along * length) - wide,
                        max(column, column + along * length) + wide,
                        min(row, row + down * length) - wide,
                        max(row, row + down * length) + wide,
                    )
                    if highest > -np.inf:
                        # Y is largest at the near end; X is taken at the end that makes Y / X largest.
                        sine, versine = arc(curvature, at)
                        rise = highest - height - (1.0 + curvature * highest) * versine
                        if rise <= 0.0:
                            sine, _ = arc(curvature, at + length)
                        slope = min(rise / ((1.0 + curvature * highest) * sine) + SLACK, STEEPEST)
                        if slope > steepest:
                            steepest = slope
                            if count == 0 or at >= starts[count - 1] * LEAST_GROWTH:
                                if count == len(starts) - 1:
                                    return close(curvature, height, highest_of_all, starts, slopes, count, at, reach)
                                starts[count] = at if count > 0 else 0.0
                                count += 1
                            slopes[count - 1] = slope
                    at += length
                if outside:
                    s = at
                    break
            if outside:
                break
            room = max(room // 2, CHUNK // 8) if steepest > before else min(2 * room, CHUNK)
            if steepest > before and s < end:
                end = min(end, max(horizon(curvature, height, highest_of_all, steepest), s))
        if outside:  # the border of the sheet: beyond it others may lie beside the middle of the sector
            break
    if s >= reach:
        return count
    s = max(s - 2.0 * BORDER / pace, 0.0)
    return close(curvature, height, highest_of_all, starts, slopes, count, s, reach)
