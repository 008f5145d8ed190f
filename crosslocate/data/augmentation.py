"""What every augmentation of a batch of raw images offers, and how its draws are seeded.

An augmentation takes and gives a dict from modality to tensor [n, H, W] or [n, H, W, 3], on the device where they lie
and before the composition, with values on the scale of the files (0 to 255, metres). It draws from the given
generator, which lives on the images' device, and from nothing else. An image's draws are those of its place in the
batch, whoever else augments the rest of it. Its steps are in `crosslocate.data.photometric`,
`crosslocate.data.geometric` and `crosslocate.data.reference_augmentation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from crosslocate.data.tensors import Images


@dataclass(frozen=True)
class Places:
    """Where some images stand in a batch that is shared among processes.

    Draws are made for the whole batch, and each process takes those of its own images; so they are the same for any
    number of processes.

    Args:
        total: Images of the whole batch; None: these are all.
        rows: Positions of these images in it, int64 [n]; None: all.
    """

    total: int | None = None
    rows: Tensor | None = None

    def count(self, images: int) -> int:
        """Images to draw for, where ``images`` are these."""
        return images if self.total is None else self.total

    def own(self, drawn: Tensor, axis: int = 0) -> Tensor:
        """The draws of these images, out of draws for the whole batch along an axis."""
        return drawn if self.rows is None else drawn.index_select(axis, self.rows.to(drawn.device))


WHOLE = Places()
"""The places of a batch that is not shared."""


class Augmentation(Protocol):
    """What every augmentation offers."""

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """Changed copies of the images, which stand at ``places``; what is not changed is passed on."""


class NoAugmentation:
    """Passes images on."""

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """See `Augmentation`."""
        del generator, places
        return images


class Chain:
    """Several augmentations, one after the other.

    Args:
        steps: In the order in which they are applied.
    """

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        self.steps = tuple(steps)

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """See `Augmentation`."""
        for step in self.steps:
            images = step.augment(images, generator, places)
        return images


def generator_for(seed: int, stamp: Sequence[int], device: torch.device) -> Generator:
    """The generator of one training batch, from the run's seed and the batch's (epoch, round, position)."""
    state = np.random.SeedSequence([seed, *stamp]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & (2**63 - 1))
