"""Descriptors of training rows with the weights of the moment, in the middle of training."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from crosslocate.data.dataset import ViewDataset, whole_batch
from crosslocate.data.reader import ImageReader
from crosslocate.first_process import FirstProcess
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.workers import end_workers
from crosslocate.retrieval.extract import extract
from crosslocate.retrieval.store import DescriptorStore

T = TypeVar("T")

QUERIES, DATABASE = OF_A_ROUND = "query", "database"
"""Stores that every round replaces."""


class RowSampler(Sampler[list[int]]):
    """Batches of the rows assigned last that are this process's: every world-size-th of them.

    The batches are those of one process, whatever the number of processes: so are descriptors, to the last bit.
    """

    def __init__(self, batch_size: int, rank: int, world_size: int) -> None:
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size
        self._rows: Rows = np.empty(0, np.int64)

    def assign(self, rows: Rows) -> None:
        """Set what the next iteration yields a share of."""
        self._rows = rows

    @property
    def starts(self) -> range:
        """Places of the first row of each of this process's batches."""
        step = self._batch_size
        return range(self._rank * step, len(self._rows), self._world_size * step)

    @property
    def most(self) -> int:
        """Batches of the process that has the most."""
        return -(-len(self._rows) // (self._batch_size * self._world_size))

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows in batches, the last one as large as it is."""
        for start in self.starts:
            yield self._rows[start : start + self._batch_size].tolist()

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.starts)


class RoundExtractor:
    """Extracts the rows of a round, shared among the ranks, into stores in the folder of the run.

    Args:
        trainer: Knows ranks, devices and precision.
        module: Encodes; it is put into evaluation mode meanwhile.
        datamodule: Knows readers, loaders and the pipeline from raw images to network inputs.
        between_batches: Called after every batch, as often on every process as on that with the most batches.

    Attributes:
        extracted: Images embedded since `begin`, by all processes.
        seconds: Seconds spent on that.
        reading_seconds: Seconds for which this process has waited for images since then.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        datamodule: Any,
        between_batches: Callable[[], None],
    ) -> None:
        self._between_batches = between_batches
        self._first = FirstProcess(trainer.global_rank, trainer.world_size)
        self._trainer, self._module, self._pipeline = trainer, module, datamodule.pipeline
        self._folder = Path(trainer.default_root_dir) / "mining"
        self._data = split = datamodule.train
        self._roles = {
            "query": self._loader(split.query_reader, datamodule),
            "database": self._loader(split.database_reader, datamodule),
        }
        self.begin()

    def _loader(self, reader: ImageReader, datamodule: Any) -> tuple[RowSampler, DataLoader[Any]]:
        sampler = RowSampler(datamodule.extraction_batch_size, self._trainer.global_rank, self._trainer.world_size)
        loader: DataLoader[Any] = DataLoader(
            ViewDataset(reader),
            batch_sampler=sampler,
            collate_fn=whole_batch,
            **datamodule.loading(),
            persistent_workers=datamodule.workers > 0,
            generator=torch.Generator().manual_seed(0),
        )
        return sampler, loader

    def clear(self, *, everything: bool) -> None:
        """End the worker processes, and remove stores once no process reads them.

        Args:
            everything: Whether to remove what rounds have in common, too; a training that ended before its limits goes
                on with it when it is resumed.
        """
        for _, loader in self._roles.values():
            end_workers(loader)
        self._trainer.strategy.barrier("mining-clear")
        if self._trainer.is_global_zero:
            for path in [self._folder] if everything else [self._folder / name for name in OF_A_ROUND]:
                shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # it is not there, or not empty
                self._folder.rmdir()

    @property
    def folder(self) -> Path:
        """Where descriptors of this training are kept; `clear` removes them."""
        return self._folder

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows of the database, and numbers of a descriptor."""
        return len(self._data.database), int(self._module.network.descriptor_size)  # type: ignore[union-attr, arg-type]

    def by_first(self, work: Callable[[], object]) -> None:
        """Have the first process do something, and wait for it; all processes fail if it does."""
        self._first.does(work)

    def told(self, value: T) -> T:
        """The value of the first process, on every process."""
        told: T = self._trainer.strategy.broadcast(value)
        return told

    def begin(self) -> None:
        """Count anew what a round extracts, and the seconds that takes."""
        self.extracted, self.seconds, self.reading_seconds = 0, 0.0, 0.0

    def queries(self, rows: Rows) -> RowDescriptors:
        """Descriptors of query rows (ascending, unique)."""
        return self._extract("query", rows, QUERIES)

    def database(self, rows: Rows, name: str = DATABASE) -> RowDescriptors:
        """Descriptors of database rows (ascending, unique), in a store of that name."""
        return self._extract("database", rows, name)

    def _extract(self, role: str, rows: Rows, name: str) -> RowDescriptors:
        trainer, module = self._trainer, self._module
        sampler, loader = self._roles[role]
        begin = time.perf_counter()
        store = self._store(name, len(rows))
        sampler.assign(rows)
        was_training = module.training
        module.eval()
        try:
            report = extract(
                lambda images: self._encode(role, images),
                self._interrupted(_at_positions(loader, sampler), sampler.most),
                store,
                device=module.device,
                description=f"Mining: {role} descriptors",
                visible=trainer.is_global_zero and trainer.progress_bar_callback is not None,
            )
        finally:
            module.train(was_training)
        self.extracted, self.reading_seconds = self.extracted + len(rows), self.reading_seconds + report.reading
        trainer.strategy.barrier(f"mining-{name}")
        store.require_complete()
        self.seconds += time.perf_counter() - begin
        return RowDescriptors(rows, store.descriptors)

    def _interrupted(self, batches: Iterator[dict[str, Any]], most: int) -> Iterator[dict[str, Any]]:
        done = 0
        for batch in batches:
            yield batch
            done += 1
            self._between_batches()
        for _ in range(most - done):
            self._between_batches()

    def _store(self, name: str, rows: int) -> DescriptorStore:
        """A new store, made by the first rank and opened by the others."""
        path = self._folder / name
        self.by_first(lambda: DescriptorStore.create(path, rows, self.sizes[1]))
        return DescriptorStore.open(path, writable=True)

    def _encode(self, role: str, images: Any) -> torch.Tensor:
        inputs = self._pipeline.inputs(role, images)
        with self._trainer.precision_plugin.forward_context():
            descriptors: torch.Tensor = self._module.encode(role, inputs)  # type: ignore[operator]
        return descriptors


def _at_positions(loader: DataLoader[Any], sampler: RowSampler) -> Iterator[dict[str, Any]]:
    """The loader's batches, with the place of each row in the round's store."""
    for start, batch in zip(sampler.starts, loader, strict=True):
        yield {**batch, "positions": torch.arange(start, start + len(batch["rows"]))}
