"""Optimizers that PyTorch does not have, and learning rates for several processes."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Adam

LEARNING_RATE_RULES: dict[str, Callable[[int], float]] = {"none": lambda _: 1.0, "linear": float, "sqrt": math.sqrt}
"""Factors of the learning rate by the number of processes, and so by how many times larger their common batch is.

``linear`` keeps the size of steps of plain SGD (Goyal et al., 2017), ``sqrt`` their variance (Krizhevsky, 2014).
"""


class EpsilonHatAdam(Adam):
    """Adam in the form that TensorFlow calculates, with "epsilon hat" (Kingma and Ba, 2015, end of section 2).

    ``w -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)``. It is PyTorch's Adam with an epsilon of
    ``epsilon / sqrt(1 - b2^t)`` at step t, which is 32 times as large in the first one; the difference is visible
    where gradients are not far above epsilon. All parameters of a group count the same steps.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        betas: Decay of the mean and of the mean square of the gradients.
        epsilon_hat: Added to the root of the mean square that is not corrected for its start at zero.
        fused: One kernel a step, see `torch.optim.Adam`.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float], epsilon_hat: float, fused: bool
    ) -> None:
        super().__init__(params, lr=lr, betas=tuple(betas), eps=epsilon_hat, fused=fused)  # type: ignore[arg-type]
        self._step_supports_amp_scaling = False  # else a skipped step would be counted
        for group in self.param_groups:
            group["epsilon_hat"], group["steps"] = epsilon_hat, 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; a closure is evaluated first, as of any optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if any(parameter.grad is not None for parameter in group["params"]):
                group["steps"] += 1
                group["eps"] = group["epsilon_hat"] / math.sqrt(1.0 - group["betas"][1] ** group["steps"])
        super().step()
        return loss
