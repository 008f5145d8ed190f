"""Recall@N in validation and test: one shared store of descriptors, a slice of the queries for every process."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from crosslocate.data.catalog import Catalog
from crosslocate.errors import ConfigError
from crosslocate.first_process import FirstProcess
from crosslocate.lit.sharing import shared_answers
from crosslocate.retrieval.chance import Chance
from crosslocate.retrieval.evaluation import Evaluator, Surroundings
from crosslocate.retrieval.extract import as_float32
from crosslocate.retrieval.field_of_view import FieldOfViewGroups
from crosslocate.retrieval.matches import Matches
from crosslocate.retrieval.recall import RecallCriteria
from crosslocate.retrieval.results import Results, metric_names, metrics
from crosslocate.retrieval.search import Search, Searcher
from crosslocate.retrieval.store import DescriptorStore

ROLES = ("database", "queries")
"""What the first and the second loader of a split deliver."""
SPLITS = ("train", "val", "test")
INDEX = "search"
"""Names the folder of an approximate search, beside those of the stores."""

Listener = Callable[[pl.Trainer, pl.LightningModule, str, DescriptorStore, DescriptorStore], dict[str, float]]
"""Called with trainer, module, split, and the stores of its queries and its database; the same figures on all ranks."""


class RecallCallback(pl.Callback):
    """Measures recall at the end of every validation and test.

    The steps of the module return descriptors; batches carry "positions" (rows of the split's catalog). Every split has
    two loaders, the database first and the queries second; a validation has those of all ``splits``, in that order.
    ``trainer.datamodule`` has the splits by name, each with the catalogs ``queries`` and ``database``, and the
    ``distance`` between places.

    Every process writes its rows into two memory-mapped stores, then searches every world-size-th query. What is
    exchanged between processes is which views each query found first and how far they are, never a descriptor, and all
    counting is done on the whole of it: any number of processes gives the same numbers, and each of them has all.

    Args:
        numbers: N of recall@N, ascending.
        distances: Thresholds in metres, ascending.
        heading: Heading limit in degrees of recalls with orientation.
        curve_step: Step of the recall-over-distance curve in metres.
        curve_limit: Last distance of the curve in metres.
        threshold: ``inclusive`` or ``strict``, see `RecallCriteria`.
        chance: Finds the recalls by chance.
        fields_of_view: Groups of queries that are looked at apart.
        success_distance: Metres within which the first neighbour, of a fitting heading, localizes a query; inclusive.
        splits: What is measured by a validation in training: ``val``, and others if wanted.
        objective: Name of the recall that checkpoints and sweeps go by, such as ``val/recall@1_20m``, or of a sum of
            recalls, such as ``val/recall_sum_20m``; shown in the progress bar.
        searcher: Finds neighbours.
        directory: Folder for the stores while they are needed; all processes must see it.
        dtype: Of the stored descriptors, float32 or float16.

    Attributes:
        results: The latest results by split ("train", "val", "test").
        matches: The first neighbours of every query then, by split, in the order of the queries.
        history: Epoch (-1 is before training), step and all metrics of every validation; kept in checkpoints.
        listeners: Called, on every process, after the recalls of a split were counted and before its descriptors are
            removed; the figures that they give are logged and kept in the history, under the names they give.
    """

    def __init__(
        self,
        *,
        numbers: Sequence[int],
        distances: Sequence[float],
        heading: float,
        curve_step: float,
        curve_limit: float,
        threshold: str,
        chance: Chance,
        fields_of_view: FieldOfViewGroups,
        success_distance: float,
        splits: Sequence[str],
        objective: str,
        searcher: Searcher,
        directory: str,
        dtype: str,
    ) -> None:
        criteria = RecallCriteria(tuple(numbers), tuple(distances), heading, curve_step, curve_limit, threshold)
        self.criteria = criteria
        allowed = [f"val/{name}" for name in metric_names(self.criteria)]
        if objective not in allowed:
            raise ConfigError("evaluation.objective", objective, allowed)
        if "val" not in splits or not set(splits) <= set(SPLITS) or len(set(splits)) < len(splits):
            raise ConfigError("evaluation.splits", list(splits), f"val, and any others of {', '.join(SPLITS)}, once")
        if success_distance < 0:
            raise ConfigError("evaluation.success_distance", success_distance, "metres, at least 0")
        self.evaluator = Evaluator(criteria, searcher, chance, fields_of_view, success_distance)
        self.objective, self.dtype, self.splits = objective, dtype, tuple(splits)
        self.directory = Path(directory)
        self.results: dict[str, Results] = {}
        self.matches: dict[str, Matches] = {}
        self.history: list[dict[str, float]] = []
        self._stores: dict[tuple[str, str], DescriptorStore] = {}
        self._around: dict[str, Surroundings] = {}
        self._measuring = False
        self.listeners: list[Listener] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tell the data which splits a validation is about; make what processes wait for the first one by."""
        self._first = FirstProcess(trainer.global_rank, trainer.world_size)
        trainer.datamodule.val_splits = self.splits  # type: ignore[attr-defined]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make room for new descriptors."""
        self._start(trainer, trainer.limit_val_batches)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As on_validation_start."""
        self._start(trainer, trainer.limit_test_batches)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the descriptors of a batch."""
        split = self.splits[dataloader_idx // len(ROLES)]
        self._store(trainer, split, outputs, batch, dataloader_idx % len(ROLES))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """As on_validation_batch_end."""
        self._store(trainer, "test", outputs, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Search, count, log, and keep the history of the training."""
        if not self._measuring:
            return
        values: dict[str, float] = {}
        for split in self.splits:
            values |= self._measure(trainer, pl_module, split)
        self._clear(trainer)
        if trainer.state.fn == "fit":
            self.history.append({"epoch": float(trainer.current_epoch), "step": float(trainer.global_step)} | values)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Search, count and log."""
        if self._measuring:
            self._measure(trainer, pl_module, "test")
            self._clear(trainer)

    def begin_history(self, results: Mapping[str, Results]) -> None:
        """Note what was measured before training: results by split."""
        values = {k: v for split in self.splits if split in results for k, v in metrics(results[split]).items()}
        self.history = [{"epoch": -1.0, "step": 0.0} | values]

    def state_dict(self) -> dict[str, Any]:
        """The history, as plain values."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the history of a checkpoint."""
        self.history = list(state_dict["history"])

    def _start(self, trainer: pl.Trainer, limit: float) -> None:
        whole = isinstance(limit, float) and limit == 1.0
        if not whole and not trainer.sanity_checking:
            rank_zero_warn(f"recalls are not measured: the batches are limited to {limit!r}, and recall needs them all")
        self._measuring = whole and not trainer.sanity_checking
        self._clear(trainer)

    def _store(self, trainer: pl.Trainer, split: str, descriptors: torch.Tensor, batch: Any, loader: int) -> None:
        if not self._measuring:
            return
        role, values = ROLES[loader], as_float32(descriptors)
        if (split, role) not in self._stores:
            # Whichever process comes first creates it: one with no rows at all never gets here.
            catalog: Catalog = getattr(_split(trainer, split), role)
            self._stores[split, role] = DescriptorStore.create(
                self._path(split, role), len(catalog), values.shape[1], self.dtype, catalog.fingerprint(), exist_ok=True
            )
        self._stores[split, role].write(batch["positions"].numpy(force=True), values)

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> dict[str, float]:
        """Results of one split, logged; every metric by name."""
        data, model = _split(trainer, split), trainer.datamodule.distance  # type: ignore[attr-defined]
        for store in self._stores.values():
            store.flush()
        trainer.strategy.barrier("descriptors written")
        stores = {role: DescriptorStore.open(self._path(split, role)) for role in ROLES}
        for role, store in stores.items():
            store.require_complete(getattr(data, role).name)
        rows = np.arange(trainer.global_rank, len(data.queries), trainer.world_size)
        search = self._search(trainer, split, stores)
        found = search.nearest(stores["queries"].descriptors[rows], self.evaluator.neighbours)
        own = self.evaluator.judge(found, rows, data.queries, data.database, model)
        answers = shared_answers(trainer, own, len(data.queries))
        if split not in self._around:
            self._around[split] = self.evaluator.look_around(data.queries, data.database, model)
        results = self.evaluator.results(
            split, answers, self._around[split], data.queries, len(data.database), search.report
        )
        self.results[split], self.matches[split] = results, answers.matches
        values = metrics(results)
        heard = self._listen(trainer, pl_module, split, stores)
        if search.report is not None:
            heard |= {f"{split}/search_found@{k}": share for k, share in search.report.found.items()}
        shown = {name: value for name, value in values.items() if name == self.objective}
        logged = trainer.state.fn == "fit"  # what is measured afterwards is no point of a curve
        rest = {name: value for name, value in values.items() if name not in shown} | heard
        pl_module.log_dict(rest, logger=logged)
        pl_module.log_dict(shown, prog_bar=True, logger=logged)
        return values | heard

    def _search(self, trainer: pl.Trainer, split: str, stores: Mapping[str, DescriptorStore]) -> Search:
        """The database of a split, ready to be searched; the first process makes what the others open."""
        made: list[Search] = []

        def open_or_make() -> None:
            database, path = stores["database"], self._path(split, INDEX)
            made.append(
                self.evaluator.searcher.over(
                    database.descriptors, path, database.digest(), stores["queries"].descriptors
                )
            )

        self._first.does(open_or_make)
        if not made:
            open_or_make()
        trainer.strategy.barrier("index opened")
        return made[0]

    def _listen(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        split: str,
        stores: Mapping[str, DescriptorStore],
    ) -> dict[str, float]:
        figures: dict[str, float] = {}
        for listener in self.listeners:
            figures |= listener(trainer, pl_module, split, stores["queries"], stores["database"])
        return figures

    def _path(self, split: str, role: str) -> Path:
        return self.directory / f"{split}_{role}"

    def _clear(self, trainer: pl.Trainer) -> None:
        """Remove the stores and what was made to search them, and nothing else, once no process reads them."""
        self._stores = {}
        trainer.strategy.barrier("descriptors read")
        if trainer.is_global_zero:
            for split, role in product(SPLITS, (*ROLES, INDEX)):
                path = self._path(split, role)
                for left in (path, *self.directory.glob(f".{path.name}.*")):  # and drafts of a run that was killed
                    shutil.rmtree(left, ignore_errors=True)
            with suppress(OSError):  # it is not there, or not empty
                self.directory.rmdir()
        trainer.strategy.barrier("descriptors removed")


def _split(trainer: pl.Trainer, split: str) -> Any:
    return getattr(trainer.datamodule, split)  # type: ignore[attr-defined]
