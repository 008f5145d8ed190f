"""Learning-rate schedules, stepped after every batch."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The base learning rate throughout."""
    return LambdaLR(optimizer, lambda _: 1.0)


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_steps: int, final_fraction: float) -> LambdaLR:
    """A linear rise over ``warmup_steps``, then half a cosine down to ``final_fraction`` of the base.

    The schedule of SGDR without restarts (Loshchilov and Hutter, 2017).

    Args:
        optimizer: What to schedule.
        total_steps: Steps of the whole training, warm-up included.
        warmup_steps: Steps of the rise; cut to ``total_steps``.
        final_fraction: What is left at the end, in 0..1.
    """
    rise = min(warmup_steps, total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, (step - rise) / max(1, total_steps - rise))
        return final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
