"""A terrain on a device: its arrays as tensors, as the marches of torch and Triton take them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crosslocate.terrain.elevation.sheets import BLOCK_LEVELS
from crosslocate.terrain.elevation.terrain import Terrain

LOWEST = -20_000.0
"""Metres; tops of blocks without terrain are raised to that, so that they can be calculated with."""


class DeviceTerrain(NamedTuple):
    """L layers, S sheets, K = `BLOCK_LEVELS`; see ``elevation.sheets.Sheets``.

    Attributes:
        posts: Flat, float32.
        tops: Flat, float32, finite.
        shapes: Rows and columns of posts, int64 ``[S, 2]``.
        offset: First post, int64 ``[S]``.
        top_offset: First block, int64 ``[S, K]``.
        top_columns: Blocks in a row, int64 ``[S, K]``.
        first: The sheet of level 0 of each layer, int64 ``[L]``.
        levels: Number of levels of each layer, int64 ``[L]``.
        highest: Highest elevation in metres.
        most_levels: The largest of ``levels``.
    """

    posts: Tensor
    tops: Tensor
    shapes: Tensor
    offset: Tensor
    top_offset: Tensor
    top_columns: Tensor
    first: Tensor
    levels: Tensor
    highest: float
    most_levels: int

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.first)

    def bytes(self) -> int:
        """Memory that the tensors take on the device."""
        return sum(value.numel() * value.element_size() for value in self if isinstance(value, Tensor))


def to_device(terrain: Terrain, device: torch.device) -> DeviceTerrain:
    """Copy the arrays of a terrain to a device; arrays that are mapped from a file are read once."""
    sheets = terrain.sheets
    count = len(terrain.layers)

    def sent(values: object) -> Tensor:
        return torch.as_tensor(np.array(values), device=device)

    levels = np.bincount(sheets.layer, minlength=count)
    return DeviceTerrain(
        sent(terrain.posts),
        sent(terrain.tops).clamp_(min=LOWEST),
        sent(np.stack([sheets.rows, sheets.columns], axis=1)),
        sent(sheets.offset),
        sent(sheets.top_offset[:, :BLOCK_LEVELS]),
        sent(sheets.top_columns[:, :BLOCK_LEVELS]),
        sent(np.searchsorted(sheets.layer, np.arange(count))),
        sent(levels),
        terrain.highest,
        int(levels.max()),
    )
