"""Small trainings for test_several_devices.py, in this process or in several; see there for the arguments."""

import sys
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import ranks_run
import torch
from hydra import compose, initialize_config_dir
from running import overrides

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.lit.assembly import build_datamodule, build_module

BATCH = 6
"""Triplets of a whole batch; 1, 2 and 3 processes divide it."""
CASES = {
    "triplet": ["loss=triplet", "loss.margin=1.0", "augmentation=crosslocate"],
    "infonce": ["loss=infonce", "augmentation=strong", "network.shared=false"],
    "batch_norm": ["loss=infonce", "augmentation=none", "optimizer.scale_lr=sqrt"],
}


class Planner:
    """A round whose last batch is smaller, and one of a single triplet: a batch with fewer than processes, and none."""

    epoch = 0

    def round_sizes(self) -> list[int]:
        return [8, 7]

    def plan(self, epoch: int, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        queries = rng.permutation(12)[: (8, 1)[index]]
        positive = 12 * (queries // 3) + rng.integers(0, 3, len(queries))
        negatives = (positive[:, None] + 12 * rng.integers(1, 3, (len(queries), 3))) % 48
        negatives[0, -1] = -1
        return np.column_stack([queries, positive, negatives]).astype(np.int32)


class Recorder(pl.Callback):
    """Losses, and gradients before every step."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.losses: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in pl_module.named_parameters()})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses.append(float(outputs["loss"]))


def train(case: str, folder: Path, dataset: Path, ranks: int) -> dict:
    """Gradients, losses, weights and learning rate of one epoch."""
    register()
    arguments = overrides(
        dataset, folder, *CASES[case], f"dataset.batch_size={BATCH // ranks}", "optimizer=sgd", "optimizer.lr=0.001",
        f"paths.run={folder}", "name=x", "scheduler=constant", "network.normalize_after=true",
    )  # fmt: skip
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=arguments)
    datamodule = build_datamodule(cfg)
    module = build_module(cfg, datamodule, pretrained=False)
    if case != "batch_norm":
        ranks_run.without_batch_norm(module)
    datamodule.planner, recorder = Planner(), Recorder()
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_epochs=1, limit_val_batches=0,
        callbacks=[recorder], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=datamodule)
    return {
        "gradients": recorder.gradients,
        "losses": recorder.losses,
        "weights": module.state_dict(),
        "lr": trainer.optimizers[0].param_groups[0]["lr"],
        "rank": trainer.global_rank,
    }


if __name__ == "__main__":
    where, data, uneven, count = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    for case in CASES:
        outcome = train(case, where, data, count)
        torch.save(outcome, where / f"{case}_{outcome['rank']}.pt")
    torch.save(ranks_run.measure(where, uneven, count), where / f"together_{outcome['rank']}.pt")
