"""From raw images to network inputs, on the device where the images lie."""

from typing import Any

import numpy as np
from torch import Tensor

from crosslocate.data.augmentation import Augmentation, generator_for
from crosslocate.data.tensors import Composition, Images

Batch = dict[str, Any]


class InputPipeline:
    """Augments and composes batches. Holds no state: the same batch gives the same input.

    Args:
        query: Composition of queries.
        database: Composition of database views.
        query_augmentation: For queries of training batches.
        database_augmentation: For views of training batches.
        seed: Seed of every draw of the augmentations.
        mirror: Share of training batches that are mirrored, left for right, queries and views together: a mirrored
            landscape is a landscape too, so this doubles the places that training sees.
    """

    def __init__(
        self,
        query: Composition,
        database: Composition,
        query_augmentation: Augmentation,
        database_augmentation: Augmentation,
        seed: int,
        mirror: float,
    ) -> None:
        self.compositions = {"query": query, "database": database}
        self.augmentations = {"query": query_augmentation, "database": database_augmentation}
        self.seed, self.mirror = seed, mirror

    def __call__(self, batch: Batch) -> Batch:
        """Compose a batch of `ViewDataset` or of `TripletDataset` (which is augmented); the rest of it is passed on.

        A training batch carries ``stamp``, (epoch, round, position): with the seed it decides every draw.
        """
        if "images" in batch:
            return {**batch, "images": self.inputs(batch["role"], batch["images"])}
        stamp = batch["stamp"].tolist()
        mirrored = np.random.default_rng([self.seed, *stamp]).random() < self.mirror
        turned = mirror_images if mirrored else dict
        roles = {role: self._train(role, turned(batch[role]), stamp) for role in ("query", "database")}
        return {**batch, **roles}

    def inputs(self, role: str, images: Images) -> Tensor:
        """Network input, float32 [n, C, H, W], of raw images of a role (``query`` or ``database``), not augmented."""
        return self.compositions[role](images)

    def _train(self, role: str, images: Images, stamp: list[int]) -> Tensor:
        device = next(iter(images.values())).device
        generator = generator_for(self.seed, (*stamp, int(role == "query")), device)
        return self.inputs(role, self.augmentations[role].augment(images, generator))


def mirror_images(images: Images) -> dict[str, Tensor]:
    """Raw images [n, H, W] or [n, H, W, 3], left for right."""
    return {name: pixels.flip(2) for name, pixels in images.items()}
