"""Norms of gradients: of the whole network, of its branches, and of their parts."""

from collections.abc import Iterable, Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class GradientNorms(pl.Callback):
    """Logs the norms of the gradients before they are clipped: ``train/grad_norm``, and those of parts beside it.

    Parts are the branches of the network and what these are made of, as far as they are trained:
    ``train/grad_norm/query``, ``train/grad_norm/query_backbone``, ... Norms are calculated, on the device, in the steps
    that are logged; empty batches have none.
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the norms, if this step is logged."""
        if not trainer._logger_connector.should_update_logs:
            return
        scale = _scale(trainer, optimizer)
        norms = {"train/grad_norm": norm(gradients(pl_module))}
        for name, part in parts(pl_module.network):  # type: ignore[arg-type]
            if found := list(gradients(part)):
                norms[f"train/grad_norm/{name}"] = norm(found)
        pl_module.log_dict({name: value / scale for name, value in norms.items()})


def gradients(module: nn.Module) -> Iterator[Tensor]:
    """The gradients of a module's parameters; those of parameters without any are left out."""
    return (parameter.grad for parameter in module.parameters() if parameter.grad is not None)


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all the numbers of some tensors, a float32 scalar on their device; 0 where there is none."""
    found = list(tensors)
    if not found:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(found, dtype=torch.float32))))


def parts(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The branches of a network and their children, each once: branches that share their weights are one."""
    seen: set[int] = set()
    for name, branch in network.named_children():
        for below, child in [("", branch), *((f"_{below}", child) for below, child in branch.named_children())]:
            if id(child) not in seen:
                seen.add(id(child))
                yield f"{name}{below}", child


def _scale(trainer: pl.Trainer, optimizer: Optimizer) -> float:
    """By what gradients are multiplied at this moment: fused optimizers divide by the scale of the loss themselves."""
    scaler = trainer.scaler
    return scaler.get_scale() if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False) else 1.0
