"""Training losses over the descriptors of one batch of mined triplets.

All losses share one signature. A batch has B queries and M unique database views; the plan gives every query one
positive and N negatives as indices into the views (-1 where there is none), and ``negative_mask`` says which of the
batch's other views may serve as negatives of which query.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crosslocate.errors import ConfigError


def squared_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distance over the last dimension, from the differences (no cancellation)."""
    return (a - b).square().sum(dim=-1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """One minus the dot product over the last dimension; the cosine distance of normalised descriptors."""
    return 1.0 - (a * b).sum(dim=-1)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"squared_euclidean": squared_euclidean, "cosine": cosine}


class RetrievalLoss(nn.Module, ABC):
    """Base of the losses: computes in float32 outside of autocast, whatever the network ran in."""

    def forward(
        self, query: Tensor, database: Tensor, positive: Tensor, negatives: Tensor, negative_mask: Tensor
    ) -> Tensor:
        """The loss of one batch, a float32 scalar.

        Args:
            query: Descriptors of the queries ``[B, D]``.
            database: Descriptors of the batch's unique views ``[M, D]``.
            positive: Index of every query's positive view ``[B]``.
            negatives: Indices of the plan's negatives ``[B, N]``, -1 where there is none.
            negative_mask: Whether a view may be a negative of a query ``[B, M]``, never true for its positive.
        """
        with torch.autocast(query.device.type, enabled=False):
            return self.compute(query.float(), database.float(), positive, negatives, negative_mask)

    @abstractmethod
    def compute(
        self, query: Tensor, database: Tensor, positive: Tensor, negatives: Tensor, negative_mask: Tensor
    ) -> Tensor:
        """The loss itself, on float32 descriptors; arguments as in ``forward``."""


class TripletLoss(RetrievalLoss):
    """Margin loss over the plan's triplets, summed over queries and negatives.

    ``sum max(d(q, p) + margin - d(q, n), 0)`` as in CrossLocate (Tomesek et al., 2022). The batch's other views play
    no role.

    Args:
        margin: How much farther than the positive a negative should be.
        distance: ``squared_euclidean`` or ``cosine`` (1 - dot product, without normalising).
    """

    def __init__(self, margin: float, distance: str) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ConfigError("loss.distance", distance, DISTANCES)
        self.margin, self.distance = margin, distance

    def extra_repr(self) -> str:
        """Parameters for the printed module."""
        return f"margin={self.margin}, distance={self.distance}"

    def compute(
        self, query: Tensor, database: Tensor, positive: Tensor, negatives: Tensor, negative_mask: Tensor
    ) -> Tensor:
        """See the base class; ``negative_mask`` is not used."""
        del negative_mask
        distance = DISTANCES[self.distance]
        to_positive = distance(query, database[positive])
        to_negatives = distance(query[:, None], database[negatives.clamp(min=0)])
        violations = F.relu(to_positive[:, None] + self.margin - to_negatives)
        return violations.masked_fill(negatives < 0, 0.0).sum()


class InfoNCELoss(RetrievalLoss):
    """Cross-entropy of finding the positive among the plan's negatives and the batch (van den Oord et al., 2018).

    The scores are dot products over the temperature; descriptors should be normalised. With ``symmetric`` the mean
    with the other direction is taken (Radford et al., 2021): finding the query among those queries of the batch for
    which the positive view is a negative.

    Args:
        temperature: Divides the scores; small values look at the hardest negatives only.
        symmetric: Whether views also look for their queries.
    """

    def __init__(self, temperature: float, symmetric: bool) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError("loss.temperature", temperature, "positive numbers")
        self.temperature, self.symmetric = temperature, symmetric

    def extra_repr(self) -> str:
        """Parameters for the printed module."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}"

    def compute(
        self, query: Tensor, database: Tensor, positive: Tensor, negatives: Tensor, negative_mask: Tensor
    ) -> Tensor:
        """See the base class; the mean over the queries."""
        scores = query @ database.T / self.temperature
        candidates = with_indices(negative_mask, negatives)
        loss = F.cross_entropy(scores.masked_fill(~with_indices(candidates, positive[:, None]), -torch.inf), positive)
        if not self.symmetric:
            return loss
        own = torch.arange(len(query), device=query.device)
        rivals = with_indices(candidates[:, positive].T, own[:, None])
        return (loss + F.cross_entropy(scores[:, positive].T.masked_fill(~rivals, -torch.inf), own)) / 2


def with_indices(mask: Tensor, indices: Tensor) -> Tensor:
    """A copy of a mask ``[B, M]`` that is also true at every row's ``indices`` ``[B, N]``; -1 stands for none."""
    padded = F.pad(mask, (0, 1))
    return padded.scatter(1, indices % padded.shape[1], True)[:, :-1]
