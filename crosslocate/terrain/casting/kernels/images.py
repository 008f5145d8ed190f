"""Image columns on their way into an image."""

from typing import Any

from crosslocate.terrain.casting.kernels.compiled import compiled

BATCH = 16
"""Image columns that are collected before they are written."""


@compiled
def write(batch: Any, first: int, columns: int, out: Any) -> None:
    """Put image columns, whose pixels run from the bottom to the top, into an image."""
    height = out.shape[0]
    for w in range(height):
        for v in range(columns):
            out[w, first + v] = batch[v, height - 1 - w]
