"""From raw images to network inputs, on the device where the images lie."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosslocate.data.augmentation import WHOLE, Augmentation, Places, generator_for
from crosslocate.data.mirror import Mirror, turned
from crosslocate.data.tensors import Composition, Images

Batch = dict[str, Any]


class InputPipeline:
    """Mirrors, augments and composes batches. Holds no state: the same batch gives the same input.

    Args:
        query: Composition of queries.
        database: Composition of database views.
        query_augmentation: For queries of training batches.
        database_augmentation: For views of training batches.
        seed: Seed of every draw of the augmentations.
        mirror: Decides which images of a training batch are mirrored.
    """

    def __init__(
        self,
        query: Composition,
        database: Composition,
        query_augmentation: Augmentation,
        database_augmentation: Augmentation,
        seed: int,
        mirror: Mirror,
    ) -> None:
        self.compositions = {"query": query, "database": database}
        self.augmentations = {"query": query_augmentation, "database": database_augmentation}
        self.seed, self.mirror = seed, mirror

    def arrange(self, batch: Batch) -> Batch:
        """Decide on the CPU, before a training batch is moved, which images will be mirrored; pass others on."""
        if "images" in batch or "mirrored" in batch:
            return batch
        arranged = self.mirror.arrange(batch, np.random.default_rng([self.seed, *batch["stamp"].tolist()]))
        return _own(arranged) if "share" in arranged else arranged

    def __call__(self, batch: Batch) -> Batch:
        """Compose a batch of `ViewDataset` or of `TripletDataset` (which is augmented); the rest of it is passed on.

        A training batch carries ``stamp``, (epoch, round, position): with the seed it decides every draw. Of one that
        is shared among processes, each draws the same and gets the inputs of its own images.
        """
        if "images" in batch:
            return {**batch, "images": self.inputs(batch["role"], batch["images"])}
        batch = self.arrange(batch)
        roles = {role: self.inputs(role, self.augmented(batch, role)) for role in self.compositions}
        return {key: value for key, value in batch.items() if key not in ("views", "mirrored")} | roles

    def augmented(self, batch: Batch, role: str) -> Images:
        """Raw images of a role of a training batch, mirrored and augmented: what is composed of it."""
        batch = self.arrange(batch)
        images = _chosen(batch[role], batch["views"] if role == "database" else None)
        images = turned(images, batch["mirrored"][role])
        device = next(iter(images.values())).device
        generator = generator_for(self.seed, (*batch["stamp"].tolist(), int(role == "query")), device)
        return self.augmentations[role].augment(images, generator, _places(batch, role))

    def inputs(self, role: str, images: Images) -> Tensor:
        """Network input, float32 [n, C, H, W], of raw images of a role (``query`` or ``database``), not augmented."""
        return self.compositions[role](images)


def _own(batch: Batch) -> Batch:
    """An arranged batch that is shared: which images to turn, and which to take, of those that this process has."""
    share, views = batch["share"], batch["views"]
    if views is not None:
        read = share.positions("database")
        share = share.of_views(views)
        views = np.searchsorted(read, views[share.positions("database")])
    mirrored = {role: flags[share.positions(role)] for role, flags in batch["mirrored"].items()}
    return {**batch, "share": share, "views": views, "mirrored": mirrored}


def _places(batch: Batch, role: str) -> Places:
    if "share" not in batch:
        return WHOLE
    share = batch["share"]
    return Places(len(share.owners[role]), torch.from_numpy(share.positions(role)))


def _chosen(images: Images, rows: np.ndarray | None) -> Images:
    """Some of the images, perhaps repeated; None: all as they are."""
    if rows is None:
        return images
    return {name: pixels[torch.from_numpy(rows).to(pixels.device)] for name, pixels in images.items()}
