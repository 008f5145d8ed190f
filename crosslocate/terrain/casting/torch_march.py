"""The march of many strands in lock step, as tensor operations: any device, no compiler.

The geometry is that of ``kernels``: on an earth of curvature k, with S = sin(k s) / k, V = (1 - cos(k s)) / k and the
camera at the origin at height c, terrain of height h at ground distance s is at X = (1 + k h) S and
Y = (h - c) - (1 + k h) V, and is above a ray of slope m where Y - m X > 0. One step of
a strand looks at one block of cells, or at one cell. A block whose top stays below the ray is stepped over and the next
larger block is tried; otherwise the next smaller one is. In a cell the first root of a quadratic is the hit: the
strand then goes on with its next pixel in the same cell.

Strands whose pixels are all decided are dropped now and then, the others moved together. What a strand meets depends
on nothing but itself, so the result is the same for any number of strands at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from crosslocate.terrain.casting import torch_formulas as formulas
from crosslocate.terrain.casting.torch_rays import Strands, locate
from crosslocate.terrain.casting.torch_terrain import DeviceTerrain
from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS

OVERLAP = 1e-4
"""Metres added to every step so that rounding cannot leave the march on a border, as in ``kernels``."""

PATIENCE = 16
"""Steps between two looks at which strands are done (each makes a GPU wait)."""


@dataclass
class _State:
    """Where each strand is: a slice of the strands, and what changes."""

    strands: Strands
    s: Tensor
    block: Tensor
    pixel: Tensor

    def keep(self, chosen: Tensor) -> "_State":
        strands = Strands(*(values[..., chosen] for values in self.strands))
        return _State(strands, self.s[chosen], self.block[chosen], self.pixel[chosen])


@dataclass(frozen=True)
class _Place:
    """Where a strand is on the sheet that counts there; coordinates are those of the sheet, per metre."""

    sheet: Tensor
    column: Tensor
    row: Tensor
    along: Tensor
    down: Tensor
    limit: Tensor


def march(
    terrain: DeviceTerrain,
    strands: Strands,
    rise: Tensor,
    stride: int,
    triangles: bool,
    max_distance: float,
    out: Tensor,
) -> None:
    """March strands to the ends of all their pixels.

    Args:
        terrain: What is hit.
        strands: Start of the march.
        rise: Slopes of the pixels in units of a strand's ``scale``, from the top of the picture to the bottom, ``[H]``.
        stride: Distance of a strand's pixels in the flat image.
        triangles: Whether cells are split into two triangles; else they are bilinear.
        max_distance: Ground distance beyond which nothing is seen.
        out: Flat float32 image that gets ray lengths; pixels that meet nothing stay as they are.
    """
    count = len(strands.base)
    block = torch.zeros(count, dtype=torch.int64, device=out.device)
    state = _State(strands, strands.start.clone(), block, torch.full_like(block, len(rise) - 1))
    step = 0
    while count:
        alive = _step(terrain, state, rise, stride, triangles, max_distance, out)
        step += 1
        if step % PATIENCE == 0:
            chosen = torch.nonzero(alive).squeeze(1)
            if len(chosen) < 0.8 * count:
                state, count = state.keep(chosen), len(chosen)


def _step(
    terrain: DeviceTerrain,
    state: _State,
    rise: Tensor,
    stride: int,
    triangles: bool,
    max_distance: float,
    out: Tensor,
) -> Tensor:
    """Look at one block or cell of every strand, move on, and say which strands still have something to do."""
    strands = state.strands
    k, height, s = strands.curvature, strands.height, state.s
    place = _find(terrain, strands, s)
    slope = rise[state.pixel.clamp(min=0)] * strands.scale

    sine, versine = formulas.arc(k, s)
    bend, fall = formulas.sinking(k, sine, versine, slope)
    past = formulas.passes_over(k, terrain.highest, height, bend, fall)
    alive = (state.pixel >= 0) & (s < max_distance) & ~past
    inside = place.sheet >= 0
    sheet = place.sheet.clamp(min=0)

    shape = terrain.shapes[sheet]
    i = torch.minimum(place.row.floor().long().clamp(min=0), shape[:, 0] - 2)
    j = torch.minimum(place.column.floor().long().clamp(min=0), shape[:, 1] - 2)

    # a block of cells
    at_block = inside & (state.block > 0)
    level = (state.block - 1).clamp(min=0)
    size = torch.where(at_block, 1 << state.block, 1)
    block_i, block_j = i // size, j // size
    index = terrain.top_offset[sheet, level] + block_i * terrain.top_columns[sheet, level] + block_j
    top = terrain.tops[torch.where(at_block, index, 0)].double()
    length = _way_out(place.column, place.along, block_j * size, size, shape[:, 1] - 1)
    length = torch.minimum(length, _way_out(place.row, place.down, block_i * size, size, shape[:, 0] - 1))
    x, y = place.column - j, place.row - i
    upper = torch.zeros_like(at_block)
    if triangles:
        to_diagonal = (y - x) / (place.along - place.down)
        upper = (x > y) | ((x == y) & (place.along > place.down))
        length = torch.where(~at_block & (to_diagonal > 0), torch.minimum(length, to_diagonal), length)
    length = torch.minimum(length.clamp(min=0.0) + OVERLAP, place.limit.clamp(max=max_distance) - s)
    clear = at_block & formulas.is_below(k, top, height, bend, fall, length)

    # a cell
    at_cell = alive & inside & (state.block == 0)
    corner = torch.where(at_cell, terrain.offset[sheet] + i * shape[:, 1] + j, 0)
    below = torch.where(at_cell, shape[:, 1], 0)
    posts = terrain.posts
    north_west = posts[corner].double()
    north_east, south_west = posts[corner + 1].double() - north_west, posts[corner + below].double() - north_west
    south_east = posts[corner + below + 1].double() - north_west
    if triangles:
        east = torch.where(upper, north_east, south_east - south_west)
        south = torch.where(upper, south_east - north_east, south_west)
        twist = 0.0 * (north_east + south_west + south_east)  # NaN in all of a cell with a void post
    else:
        east, south, twist = north_east, south_west, south_east - north_east - south_west
    ground = formulas.heights(north_west, east, south, twist, x, y, place.along, place.down)
    x0, x1, x2, x3, y0, y1, y2 = formulas.course(k, height, sine, versine, *ground)
    u = _first_root(y0 - slope * x0, y1 - slope * x1, y2 - slope * x2, length)
    hit = at_cell & (u >= 0.0)
    distance = (x0 + u * (x1 + u * (x2 + u * x3))) * torch.sqrt(1.0 + slope * slope)
    target = strands.base + state.pixel * stride
    out[target[hit]] = distance[hit].float()

    ahead = clear | (at_cell & ~hit)
    state.s = torch.where(inside, torch.where(ahead, s + length, s), place.limit)
    grown = torch.where(clear, (state.block + 1).clamp(max=BLOCK_LEVELS), state.block - 1)
    state.block = torch.where(at_block, grown, torch.where(ahead, 1, 0))
    state.pixel = state.pixel - hit.long()
    return alive


def _find(terrain: DeviceTerrain, strands: Strands, s: Tensor) -> _Place:
    """The sheet that counts at ground distance s: -1 where no layer covers the place; then ``limit`` is where one does.

    ``limit`` is else the ground distance to which the sheet counts.
    """
    count, each = terrain.layers, torch.arange(len(s), device=s.device)
    if count == 1:
        layer, limit = torch.zeros_like(each), torch.full_like(s, torch.inf)
        column, row, along, down = locate(strands.path[0], s)
        size = terrain.shapes[terrain.first[0]] - 1
        inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
        return _at_level(terrain, strands, s, inside, layer, limit, (column, row, along, down))
    within = (strands.enter <= s) & (s < strands.leave)
    layer = torch.where(within.any(0), within.to(torch.uint8).argmax(0), count)
    coming = torch.where(strands.enter > s, strands.enter, torch.inf)
    coming = torch.where(torch.arange(count, device=s.device)[:, None] < layer, coming, torch.inf)
    limit = coming.amin(0)
    inside, layer = layer < count, layer.clamp(max=count - 1)
    limit = torch.where(inside, torch.minimum(limit, strands.leave[layer, each]), limit)
    return _at_level(terrain, strands, s, inside, layer, limit, locate(strands.path[layer, :, each].T, s))


def _at_level(
    terrain: DeviceTerrain,
    strands: Strands,
    s: Tensor,
    inside: Tensor,
    layer: Tensor,
    limit: Tensor,
    course: tuple[Tensor, Tensor, Tensor, Tensor],
) -> _Place:
    """The place on the level of detail that counts, from that on level 0 of a layer (column, row, derivatives)."""
    column, row, along, down = course
    sheet = terrain.first[layer]
    if terrain.most_levels > 1:
        switch = strands.switch.gather(0, layer[None])[0]
        last = terrain.levels[layer] - 1
        level = torch.zeros_like(layer)
        for power in range(1, terrain.most_levels):
            reached = s >= switch * 2.0**power
            limit = torch.where(~reached & (power <= last), torch.minimum(limit, switch * 2.0**power), limit)
            level += reached & (power <= last)
        for _ in range(terrain.most_levels - 1):
            # the last posts of a coarser level may lie before the border of the layer
            size = (terrain.shapes[sheet + level] - 1) << level[:, None]
            level -= ((level > 0) & ((column >= size[:, 1]) | (row >= size[:, 0]))).long()
        share = torch.exp2(-level.double())
        column, row, along, down = column * share, row * share, along * share, down * share
        sheet = sheet + level
    return _Place(torch.where(inside, sheet, -1), column, row, along, down, limit)


def _way_out(place: Tensor, speed: Tensor, first: Tensor, size: Tensor, last: Tensor) -> Tensor:
    """Ground distance to the border of a block along one axis; ``last`` is that of the sheet."""
    to = torch.where(speed > 0.0, torch.minimum(first + size, last), first)
    return torch.where(speed == 0.0, torch.inf, (to - place) / speed)


def _first_root(q0: Tensor, q1: Tensor, q2: Tensor, length: Tensor) -> Tensor:
    """Smallest u in [0, length] where q0 + q1 u + q2 u^2 reaches zero from below; -1 or NaN when there is none."""
    denominator = q1 + torch.sqrt(q1 * q1 - 4.0 * q2 * q0)
    u = -2.0 * q0 / denominator
    u = torch.where((denominator > 0.0) & (u <= length), u, -1.0)
    return torch.where(q0 >= 0.0, 0.0, u)
