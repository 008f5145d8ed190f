"""Losses that go wrong in one step of one process."""

import torch
from torch import distributed

from crosslocate.models.losses import TripletLoss


class InfiniteBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * torch.inf


class BrokenLoss(TripletLoss):
    """A triplet loss, but for the given call: there it is multiplied by ``factor``, or its gradient is infinite.

    Args:
        call: Which call goes wrong, from 0.
        factor: What the loss is multiplied by then; None makes its gradient infinite.
        rank: The process in which it goes wrong.
    """

    def __init__(self, call, factor=None, rank=0):
        super().__init__(0.1, "squared_euclidean")
        self.call, self.factor, self.rank, self.calls = call, factor, rank, 0

    def forward(self, *arguments):
        loss = super().forward(*arguments)
        self.calls += 1
        here = distributed.get_rank() if distributed.is_initialized() else 0
        if self.calls - 1 != self.call or here != self.rank:
            return loss
        return InfiniteBackward.apply(loss) if self.factor is None else loss * self.factor


class GreedyLoss(TripletLoss):
    """A triplet loss that wants more memory than any machine has."""

    def forward(self, *arguments):
        torch.empty(2**58)
