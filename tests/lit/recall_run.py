"""A small evaluation, run by test_recall_callback.py here, or in several processes: `FOLDER RANKS SEARCHER`."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.distance import Geodesic
from crosslocate.lit.recall import RecallCallback
from crosslocate.retrieval import approximate
from crosslocate.retrieval.approximate import ApproximateSearcher
from crosslocate.retrieval.chance import ExactChance
from crosslocate.retrieval.field_of_view import FieldOfViewGroups
from crosslocate.retrieval.search import ExactSearcher

SIZES = {"val": (7, 25), "test": (1, 3), "train": (5, 9)}
"""Queries and views: no multiple of two; of the single test query one of two ranks gets none."""


def write_catalogs(root: Path) -> None:
    rng = np.random.default_rng(5)
    for position, role in enumerate(("queries", "database")):
        split = [name for name, sizes in SIZES.items() for _ in range(sizes[position])]
        count = len(split)
        columns = {
            "name": [f"{role}_{row}" for row in range(count)],
            "place": np.arange(count) // 3,
            "split": split,
            "longitude": 7 + np.round(0.01 * rng.random(count), 4),
            "latitude": 46 + np.round(0.002 * rng.random(count), 4),
            "elevation": np.zeros(count),
            "yaw": rng.uniform(-4, 4, count),
            "pitch": np.zeros(count),
            "roll": np.zeros(count),
            "horizontal_fov": np.ones(count),
        }
        write_catalog(root / f"{role}.parquet", columns, role, {"depth": f"{role}/{{name}}.exr"})


def descriptors(role: str, split: str, count: int) -> torch.Tensor:
    """Coarse, so that there are ties."""
    rng = np.random.default_rng([len(role), len(split)])
    return torch.from_numpy(rng.integers(0, 3, (count, 4)).astype(np.float32))


class Data(pl.LightningDataModule):
    """Splits with catalogs, and unpadded shards of batches as loaders; ``skip`` leaves out a view of the database."""

    def __init__(self, root: Path, skip: int | None = None) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        catalogs = {role: read_catalog(root / f"{role}.parquet") for role in ("queries", "database")}
        for split in SIZES:
            setattr(self, split, SimpleNamespace(**{role: c.split(split) for role, c in catalogs.items()}))
        self.skip = skip
        self.distance, self.val_splits = Geodesic(), ("val",)

    def loaders(self, split: str) -> list[DataLoader]:
        rank, ranks, loaders = self.trainer.global_rank, self.trainer.world_size, []
        for role in ("database", "queries"):
            count = len(getattr(getattr(self, split), role))
            inputs = descriptors(role, split, count)
            rows = torch.tensor([r for r in range(rank, count, ranks) if (role, r) != ("database", self.skip)])
            batches = [{"images": inputs[r], "positions": r} for r in rows.long().split(4) if len(r)]
            loaders.append(DataLoader(batches, batch_size=None))
        return loaders

    def train_dataloader(self):
        return DataLoader(torch.ones(2), batch_size=1)

    def val_dataloader(self):
        return [loader for split in self.val_splits for loader in self.loaders(split)]

    def test_dataloader(self):
        return self.loaders("test")


class Module(pl.LightningModule):
    """Hands its inputs on as descriptors; training does something harmless."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return batch["images"] * 1.0

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def recall_callback(directory: Path, **changes) -> RecallCallback:
    fields = {
        "numbers": [1, 5, 30],
        "distances": [20, 100, 500],
        "heading": 30,
        "curve_step": 50,
        "curve_limit": 600,
        "threshold": "inclusive",
        "chance": ExactChance(),
        "fields_of_view": FieldOfViewGroups([0, 45, 60, 360], 500, 100),
        "success_distance": 400,
        "splits": ["val"],
        "objective": "val/recall@5_100m",
        "searcher": ExactSearcher("cpu", 10, 3),
        "directory": str(directory),
        "dtype": "float32",
    }
    return RecallCallback(**fields | changes)


def make_trainer(root: Path, callback: RecallCallback, ranks: int = 1, **changes) -> pl.Trainer:
    options = {"accelerator": "cpu", "devices": ranks, "logger": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "enable_checkpointing": False, "use_distributed_sampler": False}
    options |= {"default_root_dir": root, "strategy": "ddp" if ranks > 1 else "auto"}
    return pl.Trainer(callbacks=[callback], **options | changes)


def by_index() -> ApproximateSearcher:
    """Looks at everything and ranks it exactly: what it finds is known."""
    return ApproximateSearcher("IVF1,Flat", "", "nprobe=1", 1, 2, 5, 1.0, 1, 0)


SEARCHERS = {"exact": lambda: ExactSearcher("cpu", 10, 3), "index": by_index}


def evaluate(root: Path, ranks: int, searcher: str = "exact") -> dict:
    with mock.patch.object(approximate, "FEWEST_ROWS", 1):  # small databases have an index, too
        return _evaluate(root, ranks, searcher)


def _evaluate(root: Path, ranks: int, searcher: str) -> dict:
    callback = recall_callback(root / f"descriptors_{ranks}", splits=["val", "train"], searcher=SEARCHERS[searcher]())
    trainer = make_trainer(root, callback, ranks)
    module, data = Module(), Data(root)
    logged = {}
    for run in (trainer.validate, trainer.test):
        run(module, datamodule=data, verbose=False)
        logged |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    matches = {
        split: {name: values.tolist() for name, values in vars(found).items()}
        for split, found in callback.matches.items()
    }
    return {"results": callback.results, "matches": matches, "logged": logged, "rank": trainer.global_rank}


if __name__ == "__main__":
    folder, ranks = Path(sys.argv[1]), int(sys.argv[2])
    outcome = evaluate(folder, ranks, sys.argv[3])
    (folder / f"outcome_{outcome['rank']}.json").write_text(json.dumps(outcome))
