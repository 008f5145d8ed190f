"""Where rays of cameras that are not level may start: as in ``kernels.envelopes``, for all sectors at once.

The surroundings of a camera are cut into sectors and these into rings. No terrain of a sector rises above the slope of
its envelope out to the end of each ring, so a ray starts its march at the first ring whose envelope reaches its slope.
Sectors are equal steps of the diamond angle: 0 is east, 1 south, 2 west, 3 north.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from crosslocate.terrain.casting.torch_formulas import arc
from crosslocate.terrain.casting.torch_rays import Directions, Eyes, follow, locate
from crosslocate.terrain.casting.torch_terrain import DeviceTerrain
from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS

SLACK = 1e-6
"""Added to envelopes against rounding, and against the change of the earth's radius across a sector."""

MARGIN = 0.05
"""Cells by which the box around a piece of a ring is enlarged: its arcs bulge out of the quadrangle of its corners."""

RING_GROWTH = 1.1
"""Ratio of the outer to the inner distance of a ring."""

FIRST_RING = 0.5
"""Radius in metres of the disc around the camera that the first ring covers."""

BLOCKS_ACROSS = 3
"""A box is covered by that many blocks a side at most; one that needs more is taken to be as high as anything."""


class Envelopes(NamedTuple):
    """Slopes ``[C, N, K]`` of N sectors and K rings around C cameras, and the distances ``[K]`` where rings begin."""

    slopes: Tensor
    rings: Tensor


def sectors_for(focal_length: float) -> int:
    """Sectors of the full circle that are about as wide as a pixel of a camera (focal length in pixels)."""
    return min(max(round(2.0 * math.pi * focal_length), 256), 4096)


def ring_count(reach: float) -> int:
    """Rings that reach a distance in metres."""
    return 1 + max(1, math.ceil(math.log(max(reach / FIRST_RING, 1.0)) / math.log(RING_GROWTH)))


def survey(terrain: DeviceTerrain, eyes: Eyes, sectors: int, max_distance: float) -> Envelopes:
    """Envelopes of the cameras."""
    device = eyes.height.device
    diamond = torch.arange(sectors + 1, dtype=torch.float64, device=device) * (4.0 / sectors)
    east = torch.where(diamond <= 2.0, 1.0 - diamond, diamond - 3.0)
    north = torch.where(diamond <= 2.0, east.abs() - 1.0, 1.0 - east.abs())
    norm = torch.sqrt(east * east + north * north)
    count = len(eyes.height)
    sin, cos = ((values / norm).expand(count, sectors + 1) for values in (east, north))
    path, curvature = follow(eyes, sin, cos)
    path = path.reshape(terrain.layers, 12, count, sectors + 1)
    curvature = curvature.reshape(count, sectors + 1)[:, :-1]
    powers = torch.arange(ring_count(max_distance), dtype=torch.float64, device=device)
    distances = torch.cat([powers.new_zeros(1), FIRST_RING * RING_GROWTH**powers])
    near, far = distances[:-1, None, None], distances[1:, None, None]
    highest = torch.full((len(near), count, sectors), -torch.inf, dtype=torch.float64, device=device)
    for layer in range(terrain.layers):
        highest = torch.maximum(highest, _highest(terrain, path[layer], eyes.switch[:, layer], layer, distances))
    # Y is largest at the near end; X is taken at the end that makes Y / X largest
    swell = 1.0 + curvature * highest
    rise = highest - eyes.height[:, None] - swell * arc(curvature, near)[1]
    run = swell * arc(curvature, torch.where(rise > 0.0, near, far))[0]
    slopes = torch.where(torch.isfinite(highest), rise / run + SLACK, -torch.inf)
    return Envelopes(slopes.cummax(0).values.permute(1, 2, 0).contiguous(), distances[:-1])


def starts(envelopes: Envelopes, place: Tensor, directions: Directions) -> Tensor:
    """Ground distances up to which rays are clear of terrain, ``[C, N]``; infinite for those that see the sky.

    Args:
        envelopes: Those of some places.
        place: Which of them each camera looks from, ``[C]``.
        directions: The rays; ``scale`` is their slope.
    """
    _, sectors, rings = envelopes.slopes.shape
    sin, cos, slope, _ = directions
    share = sin / (sin.abs() + cos.abs())
    diamond = torch.where(cos < 0.0, 1.0 - share, 3.0 + share)
    sector = (diamond * (0.25 * sectors)).long().clamp(max=sectors - 1)
    first = (place[:, None] * sectors + sector) * rings
    flat = envelopes.slopes.view(-1)
    low, high = torch.zeros_like(sector), torch.full_like(sector, rings)
    for _ in range(rings.bit_length()):
        middle = (low + high) // 2
        below = flat[first + middle.clamp(max=rings - 1)] < slope
        between = low < high
        low, high = torch.where(between & below, middle + 1, low), torch.where(between & ~below, middle, high)
    return torch.cat([envelopes.rings, envelopes.rings.new_full((1,), torch.inf)])[low]


def _highest(terrain: DeviceTerrain, path: Tensor, switch: Tensor, layer: int, distances: Tensor) -> Tensor:
    """Height that a layer does not exceed in every ring and sector, ``[K, C, N]``; minus infinity where it has none.

    The levels of detail of the near and of the far end of a ring count, and where a piece reaches beyond the last posts
    of such a level the finer ones too, which are seen there.
    """
    column, row, _, _ = locate(path.movedim(0, -2), distances[:, None, None])  # [K + 1, C, N + 1]
    box = [side for values in (column, row) for side in _extent(values)]
    last = int(terrain.levels[layer]) - 1
    found = []
    for distance in (distances[:-1], distances[1:])[: 2 if last else 1]:
        reached = distance[:, None, None] >= switch * 2.0 ** torch.arange(1, last + 1, device=switch.device)[:, None]
        level = reached.long().sum(1) if last else torch.zeros((1, 1), dtype=torch.int64, device=switch.device)
        level = level[..., None].expand(box[0].shape)
        found.append(_top_at(terrain, layer, level, box))
        margin = MARGIN * torch.exp2(level.double())
        rows, columns = (terrain.shapes[terrain.first[layer] + level, axis] - 1 << level for axis in (0, 1))
        beyond = (box[1] + margin >= columns) | (box[3] + margin >= rows)
        for finer in range(int(level.max())):
            some = (beyond & (level > finer)).nonzero(as_tuple=True)
            top = _top_at(terrain, layer, torch.full_like(some[0], finer), [side[some] for side in box])
            found[-1][some] = torch.maximum(found[-1][some], top)
    return torch.stack(found).amax(0)


def _top_at(terrain: DeviceTerrain, layer: int, level: Tensor, box: list[Tensor]) -> Tensor:
    """As `_top_of`, at levels of detail of a layer; boxes are in posts of level 0."""
    share = torch.exp2(-level.double())
    return _top_of(terrain, terrain.first[layer] + level, [side * share for side in box])


def _extent(values: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest of the four corners of the pieces of rings: ``[K + 1, C, N + 1]`` to ``[K, C, N]`` each."""
    sides = torch.stack([values[..., :-1], values[..., 1:]])
    low, high = sides.amin(0), sides.amax(0)
    return torch.minimum(low[:-1], low[1:]), torch.maximum(high[:-1], high[1:])


def _top_of(terrain: DeviceTerrain, sheet: Tensor, box: list[Tensor]) -> Tensor:
    """Height that sheets do not exceed in boxes (west, east, north, south) of their posts; all of one shape."""
    rows, columns = terrain.shapes[sheet, 0], terrain.shapes[sheet, 1]
    west, east, north, south = box
    j0 = (west - MARGIN).floor().long().clamp(min=0)
    j1 = torch.minimum((east + MARGIN).floor().long(), columns - 2)
    i0 = (north - MARGIN).floor().long().clamp(min=0)
    i1 = torch.minimum((south + MARGIN).floor().long(), rows - 2)
    present = (j1 >= j0) & (i1 >= i0)
    j1, i1 = torch.maximum(j1, j0), torch.maximum(i1, i0)
    block = torch.ones_like(j0)
    for k in range(1, BLOCK_LEVELS):
        block += ((j1 >> k) - (j0 >> k) >= BLOCKS_ACROSS) | ((i1 >> k) - (i0 >> k) >= BLOCKS_ACROSS)
    covered = ((j1 >> block) - (j0 >> block) < BLOCKS_ACROSS) & ((i1 >> block) - (i0 >> block) < BLOCKS_ACROSS)
    first = terrain.top_offset[sheet, block - 1]
    width = terrain.top_columns[sheet, block - 1]
    highest = torch.full(j0.shape, -torch.inf, dtype=torch.float64, device=j0.device)
    for down in range(BLOCKS_ACROSS):
        for across in range(BLOCKS_ACROSS):
            i = torch.minimum((i0 >> block) + down, i1 >> block)
            j = torch.minimum((j0 >> block) + across, j1 >> block)
            index = torch.where(present, first + i * width + j, 0)
            highest = torch.maximum(highest, terrain.tops[index].double())
    return torch.where(present, torch.where(covered, highest, terrain.highest), -torch.inf)
