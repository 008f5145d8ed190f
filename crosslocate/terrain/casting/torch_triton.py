# ruff: noqa: ANN001, ANN202  (Triton takes no annotations but constexpr)
# mypy: allow-untyped-defs
"""The march of ``torch_march`` as one Triton kernel, for GPUs: a strand is a lane, a warp of them a program.

Step by step it does what ``torch_march`` does (see there), in float64. Lanes of a warp are neighbouring image columns
or pixels and mostly need the same number of steps. Pixels that end in one cell are solved in a row, without another
look at the terrain.

Triton compiles the kernel at first use. With ``TRITON_INTERPRET=1`` in the environment, before this module is imported,
the kernel runs on the processor, slowly; so it is tested.
"""

from types import FunctionType

import torch
import triton
import triton.language as tl
from torch import Tensor

from crosslocate.terrain.casting import torch_formulas, torch_march
from crosslocate.terrain.casting.torch_rays import Strands
from crosslocate.terrain.casting.torch_terrain import DeviceTerrain
from crosslocate.terrain.elevation import sheets

LANES = 32
"""Strands of a program; it runs as one warp, so that as few as possible wait for the slowest."""

OVERLAP = tl.constexpr(torch_march.OVERLAP)
BLOCK_LEVELS = tl.constexpr(sheets.BLOCK_LEVELS)


def _lanewise(formula):
    """A function of ``torch_formulas`` as part of a kernel; Triton's interpreter wants its language among its names."""
    return triton.jit(FunctionType(formula.__code__, globals(), formula.__name__))


_polynomial = _lanewise(torch_formulas.polynomial)
_arc = _lanewise(torch_formulas.arc)
_sinking = _lanewise(torch_formulas.sinking)
_passes_over = _lanewise(torch_formulas.passes_over)
_is_below = _lanewise(torch_formulas.is_below)
_heights = _lanewise(torch_formulas.heights)
_course = _lanewise(torch_formulas.course)


def march(
    terrain: DeviceTerrain,
    strands: Strands,
    rise: Tensor,
    stride: int,
    triangles: bool,
    max_distance: float,
    out: Tensor,
) -> None:
    """March strands to the ends of all their pixels; the arguments are those of `torch_march.march`."""
    count = len(strands.base)
    limits = torch.tensor([terrain.highest, max_distance], dtype=torch.float64, device=out.device)
    arrays = [values.contiguous() for values in (*terrain[:8], *strands, rise)]
    programs = (triton.cdiv(count, LANES),)
    with torch.cuda.device_of(out):
        _march[programs](
            *arrays,
            limits,
            out,
            count,
            len(rise),
            stride,
            terrain.layers,
            terrain.most_levels,
            triangles,
            LANES,
            num_warps=1,
            enable_fp_fusion=False,  # results then do not depend on what the compiler joins
        )


@triton.jit(do_not_specialize=["count", "pixels", "stride"])
def _march(
    posts,
    tops,
    shapes,
    offset,
    top_offset,
    top_columns,
    first_sheet,
    levels,
    path,
    curvature_of,
    height_of,
    scale_of,
    start,
    enter,
    leave,
    switch_of,
    base_of,
    rise,
    limits,
    out,
    count,
    pixels,
    stride,
    layers: tl.constexpr,
    most_levels: tl.constexpr,
    triangles: tl.constexpr,
    lanes: tl.constexpr,
):
    lane = tl.program_id(0).to(tl.int64) * lanes + tl.arange(0, lanes)
    alive = lane < count
    lane = tl.minimum(lane, count - 1)
    highest, max_distance = tl.load(limits), tl.load(limits + 1)
    k, height = tl.load(curvature_of + lane), tl.load(height_of + lane)
    scale, base = tl.load(scale_of + lane), tl.load(base_of + lane)
    s = tl.load(start + lane)
    block = tl.zeros([lanes], tl.int32)
    pixel = tl.zeros([lanes], tl.int32) + (pixels - 1)
    layer = tl.zeros([lanes], tl.int32)
    c0, c1, c2, c3, c4, c5, r0, r1, r2, r3, r4, r5 = _path(path, layer, lane, count)
    rows_of_first, columns_of_first = tl.load(shapes), tl.load(shapes + 1)
    while tl.max(alive.to(tl.int32), axis=0) > 0:
        # the sheet that counts here, and how far
        limit = tl.full([lanes], float("inf"), tl.float64)
        if layers > 1:
            layer = tl.full([lanes], -1, tl.int32)
            for back in tl.static_range(layers):
                which = layers - 1 - back
                entered, left = tl.load(enter + which * count + lane), tl.load(leave + which * count + lane)
                within = (entered <= s) & (s < left)
                coming = tl.where(entered > s, tl.minimum(limit, entered), limit)
                limit = tl.where(within, left, coming)
                layer = tl.where(within, which, layer)
            inside = layer >= 0
            layer = tl.maximum(layer, 0)
            c0, c1, c2, c3, c4, c5, r0, r1, r2, r3, r4, r5 = _path(path, layer, lane, count)
        column, along = _polynomial(s, c0, c1, c2, c3, c4, c5)
        row, down = _polynomial(s, r0, r1, r2, r3, r4, r5)
        if layers == 1:
            inside = (column >= 0.0) & (column < columns_of_first - 1) & (row >= 0.0) & (row < rows_of_first - 1)
        sheet = tl.load(first_sheet + layer)
        if most_levels > 1:
            switch = tl.load(switch_of + layer.to(tl.int64) * count + lane)
            last = tl.load(levels + layer).to(tl.int32) - 1
            level = tl.zeros([lanes], tl.int32)
            for power in tl.static_range(1, most_levels):
                there = switch * (1 << power)
                reached = s >= there
                limit = tl.where((s < there) & (power <= last), tl.minimum(limit, there), limit)
                level += (reached & (power <= last)).to(tl.int32)
            for _ in tl.static_range(1, most_levels):
                # the last posts of a coarser level may lie before the border of the layer
                shape = shapes + 2 * (sheet + level)
                right, bottom = (tl.load(shape + 1) - 1) << level, (tl.load(shape) - 1) << level
                level -= ((level > 0) & ((column >= right) | (row >= bottom))).to(tl.int32)
            share = 1.0 / (1 << level).to(tl.float64)
            column, along, row, down = column * share, along * share, row * share, down * share
            sheet += level
        rows, columns = tl.load(shapes + 2 * sheet).to(tl.int32), tl.load(shapes + 2 * sheet + 1).to(tl.int32)
        safe = alive & inside
        i = tl.minimum(tl.floor(tl.where(safe, tl.maximum(row, 0.0), 0.0)).to(tl.int32), rows - 2)
        j = tl.minimum(tl.floor(tl.where(safe, tl.maximum(column, 0.0), 0.0)).to(tl.int32), columns - 2)

        slope = tl.load(rise + tl.maximum(pixel, 0)) * scale
        sine, versine = _arc(k, s)
        bend, fall = _sinking(k, sine, versine, slope)
        past = _passes_over(k, highest, height, bend, fall)
        alive = alive & (s < max_distance) & (pixel >= 0) & (past == 0)
        at_block = alive & inside & (block > 0)
        at_cell = alive & inside & (block == 0)

        # a block of cells
        tall = tl.where(at_block, block, 0)
        block_i, block_j = i >> tall, j >> tall
        table = sheet * BLOCK_LEVELS + tl.maximum(block - 1, 0)
        index = tl.load(top_offset + table) + block_i * tl.load(top_columns + table) + block_j
        top = tl.load(tops + index, mask=at_block, other=0.0).to(tl.float64)
        length = _way_out(column, along, block_j << tall, 1 << tall, columns - 1)
        length = tl.minimum(length, _way_out(row, down, block_i << tall, 1 << tall, rows - 1))
        x, y = column - j.to(tl.float64), row - i.to(tl.float64)
        upper = (x > y) | ((x == y) & (along > down))
        if triangles:
            apart = along - down
            to_diagonal = (y - x) / tl.where(apart == 0.0, 1.0, apart)
            ahead = at_cell & (apart != 0.0) & (to_diagonal > 0.0)
            length = tl.where(ahead, tl.minimum(length, to_diagonal), length)
        length = tl.minimum(tl.maximum(length, 0.0) + OVERLAP, tl.minimum(limit, max_distance) - s)
        clear = at_block & _is_below(k, top, height, bend, fall, length)

        if tl.max(at_cell.to(tl.int32), axis=0) > 0:
            corner = posts + tl.load(offset + sheet) + i.to(tl.int64) * columns + j
            h_nw = tl.load(corner, mask=at_cell, other=0.0).to(tl.float64)
            h_ne = tl.load(corner + 1, mask=at_cell, other=0.0).to(tl.float64) - h_nw
            h_sw = tl.load(corner + columns, mask=at_cell, other=0.0).to(tl.float64) - h_nw
            h_se = tl.load(corner + columns + 1, mask=at_cell, other=0.0).to(tl.float64) - h_nw
            if triangles:
                east, south = tl.where(upper, h_ne, h_se - h_sw), tl.where(upper, h_se - h_ne, h_sw)
                twist = 0.0 * (h_ne + h_sw + h_se)  # NaN in all of a cell with a void post
            else:
                east, south, twist = h_ne, h_sw, h_se - h_ne - h_sw
            h0, h1, h2 = _heights(h_nw, east, south, twist, x, y, along, down)
            x0, x1, x2, x3, y0, y1, y2 = _course(k, height, sine, versine, h0, h1, h2)
            open_ = at_cell
            while tl.max(open_.to(tl.int32), axis=0) > 0:
                slope = tl.load(rise + tl.maximum(pixel, 0)) * scale
                u = _first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
                hit = open_ & (u >= 0.0)
                distance = (x0 + u * (x1 + u * (x2 + u * x3))) * tl.sqrt(1.0 + slope * slope)
                tl.store(out + base + pixel.to(tl.int64) * stride, distance.to(tl.float32), mask=hit)
                pixel -= hit.to(tl.int32)
                open_ = hit & (pixel >= 0)

        moved = clear | at_cell
        s = tl.where(moved, s + length, tl.where(alive & (inside == 0), limit, s))
        lower = tl.where(at_block, block - 1, 1)
        block = tl.where(clear, tl.minimum(block + 1, BLOCK_LEVELS), lower)


@triton.jit
def _path(path, layer, lane, count):
    """The twelve coefficients of the tracks in a layer."""
    first = path + layer.to(tl.int64) * 12 * count + lane
    return (
        tl.load(first),
        tl.load(first + count),
        tl.load(first + 2 * count),
        tl.load(first + 3 * count),
        tl.load(first + 4 * count),
        tl.load(first + 5 * count),
        tl.load(first + 6 * count),
        tl.load(first + 7 * count),
        tl.load(first + 8 * count),
        tl.load(first + 9 * count),
        tl.load(first + 10 * count),
        tl.load(first + 11 * count),
    )


@triton.jit
def _way_out(place, speed, first, size, last):
    """Ground distance to the border of a block along one axis; ``last`` is that of the sheet."""
    to = tl.where(speed > 0.0, tl.minimum(first + size, last), first).to(tl.float64)
    still = speed == 0.0
    return tl.where(still, float("inf"), (to - place) / tl.where(still, 1.0, speed))


@triton.jit
def _first_root(q0, q1, q2, length):
    """Smallest u in [0, length] where q0 + q1 u + q2 u^2 reaches zero from below; -1 when there is none."""
    discriminant = q1 * q1 - 4.0 * q2 * q0
    denominator = q1 + tl.sqrt(tl.maximum(discriminant, 0.0))
    rising = (discriminant >= 0.0) & (denominator > 0.0)
    u = -2.0 * q0 / tl.where(rising, denominator, 1.0)
    u = tl.where(rising & (u <= length), u, -1.0)
    return tl.where(q0 >= 0.0, 0.0, u)
