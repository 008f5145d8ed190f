"""Descriptors of training rows with the weights of the moment, in the middle of training."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from crosslocate.data.dataset import ViewDataset, whole_batch
from crosslocate.data.reader import ImageReader
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.workers import end_workers
from crosslocate.retrieval.extract import extract
from crosslocate.retrieval.store import DescriptorStore


class RowSampler(Sampler[list[int]]):
    """Batches of the rows assigned last."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._rows: list[int] = []

    def assign(self, rows: list[int]) -> None:
        """Set what the next iteration yields."""
        self._rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows in batches, the last one as large as it is."""
        for start in range(0, len(self._rows), self._batch_size):
            yield self._rows[start : start + self._batch_size]

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._rows) // self._batch_size)


class RoundExtractor:
    """Extracts the rows of a round, shared among the ranks, into stores in the folder of the run.

    Args:
        trainer: Knows ranks, devices and precision.
        module: Encodes; it is put into evaluation mode meanwhile.
        datamodule: Knows readers, loaders and the pipeline from raw images to network inputs.
        between_batches: Called after every batch, as often on every process as on that with the most batches.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        datamodule: Any,
        between_batches: Callable[[], None],
    ) -> None:
        self._between_batches = between_batches
        self._trainer, self._module, self._pipeline = trainer, module, datamodule.pipeline
        self._folder = Path(trainer.default_root_dir) / "mining"
        split = datamodule.train
        self._roles = {
            "query": self._loader(split.query_reader, datamodule),
            "database": self._loader(split.database_reader, datamodule),
        }

    @staticmethod
    def _loader(reader: ImageReader, datamodule: Any) -> tuple[RowSampler, DataLoader[Any]]:
        sampler = RowSampler(datamodule.extraction_batch_size)
        loader: DataLoader[Any] = DataLoader(
            ViewDataset(reader),
            batch_sampler=sampler,
            collate_fn=whole_batch,
            **datamodule.loading(),
            persistent_workers=datamodule.workers > 0,
            generator=torch.Generator().manual_seed(0),
        )
        return sampler, loader

    def clear(self) -> None:
        """End the worker processes, and remove the stores once no process reads them."""
        for _, loader in self._roles.values():
            end_workers(loader)
        self._trainer.strategy.barrier("mining-clear")
        if self._trainer.is_global_zero:
            shutil.rmtree(self._folder, ignore_errors=True)

    def queries(self, rows: Rows) -> RowDescriptors:
        """Descriptors of query rows (ascending, unique)."""
        return self._extract("query", rows)

    def database(self, rows: Rows) -> RowDescriptors:
        """Descriptors of database rows (ascending, unique)."""
        return self._extract("database", rows)

    def _extract(self, role: str, rows: Rows) -> RowDescriptors:
        trainer, module = self._trainer, self._module
        sampler, loader = self._roles[role]
        store = self._store(role, len(rows))
        sampler.assign(rows[:: trainer.world_size].tolist())  # the first process has as many as any
        most = len(sampler)
        sampler.assign(rows[trainer.global_rank :: trainer.world_size].tolist())
        was_training = module.training
        module.eval()
        try:
            extract(
                lambda images: self._encode(role, images),
                self._interrupted(_at_positions(loader, trainer.global_rank, trainer.world_size), most),
                store,
                device=module.device,
                description=f"Mining: {role} descriptors",
                visible=trainer.is_global_zero and trainer.progress_bar_callback is not None,
            )
        finally:
            module.train(was_training)
        trainer.strategy.barrier(f"mining-{role}")
        store.require_complete()
        return RowDescriptors(rows, store.descriptors)

    def _interrupted(self, batches: Iterator[dict[str, Any]], most: int) -> Iterator[dict[str, Any]]:
        done = 0
        for batch in batches:
            yield batch
            done += 1
            self._between_batches()
        for _ in range(most - done):
            self._between_batches()

    def _store(self, role: str, rows: int) -> DescriptorStore:
        """A new store, made by the first rank and opened by the others."""
        path, size = self._folder / f"train_{role}", self._module.network.descriptor_size  # type: ignore[union-attr]
        if self._trainer.is_global_zero:
            store = DescriptorStore.create(path, rows, int(size))  # type: ignore[arg-type]
        self._trainer.strategy.barrier(f"mining-store-{role}")
        return store if self._trainer.is_global_zero else DescriptorStore.open(path, writable=True)

    def _encode(self, role: str, images: Any) -> torch.Tensor:
        inputs = self._pipeline.inputs(role, images)
        with self._trainer.precision_plugin.forward_context():
            descriptors: torch.Tensor = self._module.encode(role, inputs)  # type: ignore[operator]
        return descriptors


def _at_positions(loader: DataLoader[Any], rank: int, world_size: int) -> Iterator[dict[str, Any]]:
    """The loader's batches, with the place of each row in the round's store."""
    seen = 0
    for batch in loader:
        count = len(batch["rows"])
        yield {**batch, "positions": rank + world_size * torch.arange(seen, seen + count)}
        seen += count
