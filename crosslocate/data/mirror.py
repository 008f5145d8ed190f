"""Which queries and views of a training batch are mirrored, left for right.

A mirrored landscape is a landscape too, so this doubles the places that training sees; but a query must be mirrored
together with the views of its triplet. Mirroring turns every heading h of a picture into -h: within a triplet the
difference of headings is kept, up to its sign, and positives stay positives. Batches decide by the headings of the
catalog, before anything is mirrored; a view of the other orientation shows no real landscape, and what may be a
negative by place or heading may be one mirrored, too.

All of this is index arithmetic on the CPU (see `arrange`); pixels are turned later, where they lie (see `turned`).
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosslocate.data.dataset import unique_views
from crosslocate.data.tensors import Images

Batch = dict[str, Any]
Flags = NDArray[np.bool_]


class Mirror(Protocol):
    """What every way of mirroring offers."""

    def arrange(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch of a `TripletDataset` with two entries more, its pixels as they were.

        ``views`` int64 [M']: which of the views that were read each view of the batch is; None: each once, in order.
        ``mirrored``: for ``query`` and ``database`` which images to turn, bool [B] and [M']. All is about the whole
        batch, whoever reads its images; its first view stays the first.
        """


class BatchMirror:
    """Mirrors whole batches.

    Args:
        share: Of the batches, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def arrange(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """See `Mirror`."""
        turn = rng.random() < self.share
        counts = {"query": len(batch["query_rows"]), "database": len(batch["database_rows"])}
        return {**batch, "views": None, "mirrored": {role: np.full(n, turn) for role, n in counts.items()}}


class TripletMirror:
    """Mirrors every query by itself, together with its positive and its negatives.

    A view that is needed in both orientations stands in the batch twice, so a batch of B triplets with N negatives has
    up to min(2 M, B (1 + N)) views instead of M. Where triplets share hardly any view that costs nothing; where they
    share most (few sampled negatives), nearly twice the work of the database branch.

    Args:
        share: Of the queries, 0 to 1.
        own_copies: Give every triplet its own copy of each of its views, repeated ones included, so that each is
            augmented by itself, as the reference does; the batch then has B (1 + N) views.
    """

    def __init__(self, share: float, own_copies: bool) -> None:
        self.share, self.own_copies = share, own_copies

    def arrange(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """See `Mirror`."""
        positive, negatives = batch["positive"].numpy(), batch["negatives"].numpy()
        turn = rng.random(len(positive)) < self.share
        if self.own_copies:
            used = np.concatenate([positive, negatives.ravel()])
            present = used >= 0
            places = np.where(present, np.cumsum(present) - 1, -1)
            first, others = places[: len(positive)], places[len(positive) :].reshape(negatives.shape)
            views = used[present]
            flags = np.concatenate([turn, np.repeat(turn, negatives.shape[1])])[present]
        else:
            kinds, first, others = unique_views(
                2 * positive + turn, np.where(negatives < 0, -1, 2 * negatives + turn[:, None])
            )
            views, flags = kinds // 2, kinds % 2 == 1
        return {
            **batch,
            "database_rows": batch["database_rows"][views],
            "positive": torch.from_numpy(first),
            "negatives": torch.from_numpy(others),
            "negative_mask": batch["negative_mask"][:, views],
            "views": views,
            "mirrored": {"query": turn, "database": flags},
        }


def turned(images: Images, flags: Flags) -> dict[str, Tensor]:
    """Raw images [n, H, W] or [n, H, W, 3], the flagged ones left for right."""
    if not flags.any():
        return dict(images)
    if flags.all():
        return {name: pixels.flip(2) for name, pixels in images.items()}
    made = {}
    for name, pixels in images.items():
        rows = torch.from_numpy(np.flatnonzero(flags)).to(pixels.device)
        made[name] = pixels.index_copy(0, rows, pixels[rows].flip(2))
    return made
