"""Descriptors of a batch that several processes embedded, and what else they must have in common."""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from crosslocate.data.share import Rows, Share


def gathered(own: Tensor, share: Share, role: str) -> Tensor:
    """The descriptors of a whole batch, on every process, out of those that each embedded.

    Every process then computes the loss of the whole batch. Its gradient reaches the images that the process embedded,
    times the number of processes; the mean over processes that `torch.nn.parallel.DistributedDataParallel` takes is
    therefore the gradient of one process with the whole batch, whatever the loss. Nothing is sent on the way back.

    Args:
        own: Descriptors [n, D] of this process, in the order of ``share.positions``.
        share: What each process embeds.
        role: ``query`` or ``database``.

    Returns:
        Descriptors [B, D] of the whole batch.
    """
    whole: Tensor = _Gathered.apply(own, share.owners[role], share.rank)
    return whole


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, owners: Rows, rank: int) -> Tensor:
        """Exchange parts of one size: the largest; what fills up the others is dropped."""
        world_size = dist.get_world_size()
        counts = np.bincount(owners, minlength=world_size)
        padded = own.new_zeros(int(counts.max()), own.shape[1])
        padded[: counts[rank]] = own[: counts[rank]]
        parts = [torch.empty_like(padded) for _ in range(world_size)]
        dist.all_gather(parts, padded)
        in_turn = torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])
        ctx.world_size, ctx.shape = world_size, own.shape
        ctx.mine = torch.from_numpy(np.flatnonzero(owners == rank)).to(own.device)
        order = torch.from_numpy(np.argsort(owners, kind="stable")).to(own.device)
        return torch.empty_like(in_turn).index_copy_(0, order, in_turn)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """This process's part; an image that it embedded for nobody (see `Share.positions`) gets zeros."""
        own = gradients[0].new_zeros(ctx.shape)
        own[: len(ctx.mine)] = gradients[0][ctx.mine] * ctx.world_size
        return own, None, None


@torch.no_grad()
def equalize_buffers(module: nn.Module) -> None:
    """Give every process the buffers of the first: running statistics of normalisation follow each one's own images."""
    buffers = list(module.buffers())
    for dtype in dict.fromkeys(buffer.dtype for buffer in buffers):  # in the same order everywhere, unlike a set
        alike = [buffer for buffer in buffers if buffer.dtype == dtype]
        flat = torch.cat([buffer.flatten() for buffer in alike])
        dist.broadcast(flat, 0)
        for buffer, values in zip(alike, flat.split([buffer.numel() for buffer in alike]), strict=True):
            buffer.copy_(values.view_as(buffer))
