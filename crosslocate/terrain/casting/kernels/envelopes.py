"""Envelopes of sectors: the slope that no terrain exceeds up to a distance."""

from typing import Any

import numpy as np

from crosslocate.terrain.casting.kernels.compiled import compiled
from crosslocate.terrain.casting.kernels.entries import close
from crosslocate.terrain.casting.kernels.pieces import CHUNK, PIECE, compare, fit_chunk
from crosslocate.terrain.casting.kernels.rays import MILD, horizon
from crosslocate.terrain.casting.kernels.runs import NEAR_CELLS, look
from crosslocate.terrain.casting.kernels.sectors import direction_of
from crosslocate.terrain.casting.kernels.shapes import BROADER, LEAST_ASIDE, shape_of
from crosslocate.terrain.casting.kernels.tracks import follow, stretch

HALF_WIDE = 0.4
"""Half width in cells up to which one block of tops is looked up for a piece of a sector; four beyond it."""

WIDEST = 1.5
"""Half width in cells up to which sectors are surveyed: four blocks of tops and the ring around them cover a piece."""

BORDER = 7.0
"""Cells along the border of a sheet in which sectors are not surveyed."""


@compiled
def inside(table: Any, sheet: int, part: Any, s: float, border: float) -> bool:
    """Whether a track is so many cells from the border of the sheet at ground distance s."""
    d = s - part[7]
    column, row = part[0] + d * (part[1] + d * part[2]), part[3] + d * (part[4] + d * part[5])
    return border <= column < table[sheet, 0] - 1.0 - border and border <= row < table[sheet, 1] - 1.0 - border


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
    tops, table, first, unit = ground.tops, ground.table, ground.first, eye.unit
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
        end = part[6]
        shape = shape_of(table, first, paths, edge, sheet, part, s, share)
        pace, spread = shape.pace, max(shape.columns, shape.rows)
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
            blind = s < NEAR_CELLS / pace or abs(steepest) >= MILD
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
            count, steepest, last = look(
                ground, sheet, part, curvature, height, shape, at, stop, steepest, count, starts, slopes, work
            )
            if last < stop:  # no room, or too bent a track
                return close(curvature, height, highest_of_all, starts, slopes, count, last, reach)
            room = max(room // 2, CHUNK // 8) if steepest > before else min(2 * room, CHUNK)
            if steepest > before and s < end:
                end = min(end, max(horizon(curvature, height, highest_of_all, steepest), s))
        if outside:
            break
    if s >= reach:
        return count
    s = max(s - 2.0 * BORDER / pace, 0.0)
    return close(curvature, height, highest_of_all, starts, slopes, count, s, reach)
