"""Blocks of descriptors, seen from an origin, on the device that searches."""

import numpy as np
import torch
from numpy.typing import NDArray


class Upload:
    """Converts blocks to float32, moves their origin, and brings them to a device.

    On the CPU every block overwrites the one before. For a GPU there are two pinned buffers in turn: one is filled
    while the other one is still being copied.

    Args:
        device: Where to.
        rows: Of the largest block.
        size: Numbers in a descriptor.
    """

    def __init__(self, device: torch.device, rows: int, size: int) -> None:
        self._device, self._turn = device, 0
        pinned = device.type == "cuda"
        self._buffers = [torch.empty((rows, size), pin_memory=pinned) for _ in range(2 if pinned else 1)]
        self._copied = [torch.cuda.Event() for _ in self._buffers] if pinned else []

    def __call__(self, descriptors: NDArray[np.floating], origin: NDArray[np.float32]) -> torch.Tensor:
        """A block [b, D] minus the origin [D], float32; valid until the next call."""
        turn, self._turn = self._turn, (self._turn + 1) % len(self._buffers)
        if self._copied:
            self._copied[turn].synchronize()
        buffer = self._buffers[turn][: len(descriptors)]
        np.subtract(descriptors, origin, out=buffer.numpy(), casting="same_kind")
        if not self._copied:
            return buffer.to(self._device)
        block = buffer.to(self._device, non_blocking=True)
        self._copied[turn].record(torch.cuda.current_stream(self._device))
        return block
