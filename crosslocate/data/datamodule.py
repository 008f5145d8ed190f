"""The data side of a run: splits, loaders, and the way from raw batches to network inputs."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from crosslocate.data.augmentation import Augmentation
from crosslocate.data.catalog import Catalog, catalog_path, read_catalog
from crosslocate.data.completeness import require_images
from crosslocate.data.dataset import TripletDataset, ViewDataset, whole_batch
from crosslocate.data.decompression import decompressed_into
from crosslocate.data.distance import PlaceDistance
from crosslocate.data.mirror import Mirror
from crosslocate.data.pipeline import Batch, InputPipeline
from crosslocate.data.reader import ImageReader, aspect_of_views
from crosslocate.data.relation_cache import RelationCache
from crosslocate.data.relations import NegativeRule
from crosslocate.data.split import ShardSampler, SplitData
from crosslocate.data.staging import stage, staged
from crosslocate.data.tensors import Composition
from crosslocate.errors import ConfigError, DataError

CATALOGS = {"query": "queries.parquet", "database": "database.parquet"}
STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ()}


class RetrievalDataModule(pl.LightningDataModule):
    """Queries and database of every split of a data set on disk.

    Validation and test have two loaders, the database first and the queries second, each with this rank's share of the
    rows (so the trainer needs ``use_distributed_sampler=False``). Training has the loader that ``train_loader`` makes
    around a `TripletDataset` and the planner, which is assigned before training starts.

    Args:
        root: Folder with ``database.parquet`` and ``queries.parquet``, or with a folder of these for every split.
        query: Composition of queries.
        database: Composition of database views.
        query_augmentation: For queries in training.
        database_augmentation: For views in training.
        mirror: Decides which images of a training batch are mirrored.
        size: (height, width) of network inputs in pixels.
        match_fov: Degrees; scale queries so that their pixels cover the same angle as those of a view of this
            horizontal field of view. None: queries are resized as they are.
        distance: What distance between places means, in relations and in recalls.
        positive_distance: Metres, see `relate`.
        positive_heading: Degrees, see `relate`.
        negative_distance: Metres, see `relate`.
        negative_rule: Which views may serve as negatives, in mining and within a batch.
        batch_size: Triplets of a training batch for each process: together they share one of as many times more.
        extraction_batch_size: Images of a batch that is only embedded.
        workers: Worker processes of every loader; 0 reads in the main process.
        prefetch: Batches that each of them holds ready.
        read_ahead: Reads that each process makes ahead of decoding where files take long to come; 0: none.
        cache: Folder for decoded images, on a disk of this machine; None decodes at every read.
        seed: Seed of the augmentations.
        train_loader: Makes the training loader from a `TripletDataset`, the planner and the triplets of a whole batch,
            with the keywords workers, prefetch and pin_memory.
        prepare: Called with ``root`` by one process before anything is read; makes data sets that can be made.
        staging: Folder on a disk of this machine that the images of a split are copied to when it is first used, by one
            process, and read from; None reads them where they are.
        relations_cache: Folder for the relations of large data sets; None finds them anew in every run.

    Attributes:
        planner: Makes the plans of training; the mining callback assigns itself.
        val_splits: What a validation is about; the recall callback assigns it.
        pipeline: Turns raw batches into network inputs.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        query: Composition,
        database: Composition,
        query_augmentation: Augmentation,
        database_augmentation: Augmentation,
        mirror: Mirror,
        size: Sequence[int],
        match_fov: float | None,
        distance: PlaceDistance,
        positive_distance: float,
        positive_heading: float | None,
        negative_distance: float,
        negative_rule: NegativeRule,
        batch_size: int,
        extraction_batch_size: int,
        workers: int,
        cache: str | Path | None,
        seed: int,
        train_loader: Callable[..., Iterable[Batch]],
        prepare: Callable[[Path], Any] | None = None,
        staging: str | Path | None = None,
        relations_cache: str | Path | None = None,
        prefetch: int = 2,
        read_ahead: int = 0,
    ) -> None:
        super().__init__()
        # A rank may have no query at all: shards are not padded.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        for key, value in (
            ("batch_size", batch_size),
            ("extraction_batch_size", extraction_batch_size),
            ("prefetch", prefetch),
        ):
            _require(value >= 1, key, value, "an integer of at least 1")
        for key, value in (("workers", workers), ("read_ahead", read_ahead)):
            _require(value >= 0, key, value, "an integer of at least 0")
        _require(len(size) == 2 and min(size) >= 1, "size", list(size), "[height, width] in pixels, each at least 1")
        _require(match_fov is None or 0 < match_fov < 180, "match_fov", match_fov, "null, or between 0 and 180 degrees")
        limit = f"at most negative_distance={negative_distance:g}, beyond which every view is a negative"
        _require(negative_rule.distance <= negative_distance, "negative_rule.distance", negative_rule.distance, limit)
        self.root, self.size, self.match_fov = Path(root), (int(size[0]), int(size[1])), match_fov
        self.cache = None if cache is None else Path(cache)
        self.staging = None if staging is None else Path(staging)
        self.distance, self.negative_rule, self.planner = distance, negative_rule, None
        self.val_splits: Sequence[str] = ("val",)
        self.batch_size, self.extraction_batch_size, self.workers = batch_size, extraction_batch_size, workers
        self.prefetch, self.read_ahead = prefetch, read_ahead
        self.pipeline = InputPipeline(query, database, query_augmentation, database_augmentation, seed, mirror)
        self._relate = partial(
            RelationCache(relations_cache),
            positive_distance=positive_distance,
            positive_heading=positive_heading,
            negative_distance=negative_distance,
            model=distance,
        )
        self._train_loader, self._prepare = train_loader, prepare
        self._catalogs: dict[Path, Catalog] = {}
        self._splits: dict[str, SplitData] = {}

    @property
    def global_batch_size(self) -> int:
        """Triplets of a whole training batch, which all processes share."""
        return self.batch_size * self._rank()[1]

    @property
    def train(self) -> SplitData:
        """Queries and database to train on."""
        return self.split("train")

    @property
    def val(self) -> SplitData:
        """Queries and database to validate on."""
        return self.split("val")

    @property
    def test(self) -> SplitData:
        """Queries and database to test on."""
        return self.split("test")

    def split(self, name: str) -> SplitData:
        """A split by name, read on first use.

        Raises:
            DataError: When the catalogs are missing or broken, or have no such split or modality.
            ConfigError: When there is not enough room to stage its images.
        """
        if name not in self._splits:
            if self.staging is not None:
                roles = self.pipeline.compositions.items()
                stage(
                    [(self._catalog(role, name), composition.modalities) for role, composition in roles], self.staging
                )
            query, database = (self._reader(role, name) for role in ("query", "database"))
            self._splits[name] = SplitData(name, query, database, self._relate)
        return self._splits[name]

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the catalog of every ``<split>/<role>`` that there is; its images are not looked at."""
        found = {}
        for split in ("train", "val", "test"):
            for role in CATALOGS:
                try:
                    found[f"{split}/{role}"] = self._catalog(role, split).fingerprint()
                except DataError:  # a data set need not have every split
                    continue
        return found

    def prepare_data(self) -> None:
        """Make the data set when it can be made (one process of a machine)."""
        if self._prepare is not None:
            with decompressed_into(self.staging):
                self._prepare(self.root)

    def setup(self, stage: str) -> None:
        """Read the catalogs that a stage needs and make sure that every image file exists.

        Raises:
            DataError: As `split`; or when files are missing, with their number and the first five.
        """
        names = self.val_splits if stage == "validate" else STAGES[stage]
        splits = [self.split(name) for name in names]
        readers = [reader for split in splits for reader in (split.query_reader, split.database_reader)]
        require_images([(reader.catalog, reader.modalities) for reader in readers])

    def require(self, *stages: str) -> None:
        """Make sure, before a long run, that everything its stages will need is there; see `setup`."""
        self.prepare_data()
        for name in stages:
            self.setup(name)

    def train_dataloader(self) -> Iterable[Batch]:
        """The loader of mined rounds."""
        if self.planner is None:
            raise ConfigError("callbacks.mining", None, "a callback that plans rounds and sets datamodule.planner")
        split = self.train
        dataset = TripletDataset(split.query_reader, split.database_reader, self.negative_rule, *self._rank())
        return self._train_loader(
            dataset,
            self.planner,
            self.global_batch_size,
            workers=self.workers,
            prefetch=self.prefetch,
            pin_memory=self._on_gpu(),
        )

    def loading(self) -> dict[str, Any]:
        """How every loader of this machine reads: keywords of a DataLoader."""
        return {
            "num_workers": self.workers,
            "prefetch_factor": self.prefetch if self.workers else None,
            "pin_memory": self._on_gpu(),
        }

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Loaders of the database and the queries of every split that a validation is about."""
        return [loader for name in self.val_splits for loader in self._view_loaders(self.split(name))]

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Loaders of the test database and queries."""
        return self._view_loaders(self.test)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002 - Lightning's signature
        """Decide which images will be mirrored while the batch is on the CPU; an empty batch has none."""
        return self.pipeline.arrange(batch) if _has_images(batch) else batch

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch, all but what is read on the CPU: reading it back would stall the device."""
        kept: Batch = {key: batch[key] for key in ("stamp", "share") if key in batch}
        moved: Batch = super().transfer_batch_to_device(
            {key: value for key, value in batch.items() if key not in kept}, device, dataloader_idx
        )
        return {**moved, **kept}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002 - Lightning's signature
        """Turn raw images into network inputs: see `InputPipeline`; an empty batch has none."""
        return self.pipeline(batch) if _has_images(batch) else batch

    def _catalog(self, role: str, split: str) -> Catalog:
        try:
            path = catalog_path(self.root, CATALOGS[role], split)
        except DataError:
            reason = getattr(self._prepare, "why_missing", lambda _: None)(split)
            if reason is None:
                raise
            raise DataError(reason) from None
        if path not in self._catalogs:
            self._catalogs[path] = read_catalog(path)
        return self._catalogs[path].split(split)

    def _reader(self, role: str, split: str) -> ImageReader:
        modalities = self.pipeline.compositions[role].modalities
        catalog = self._catalog(role, split)
        if self.staging is not None:
            catalog = staged(catalog, self.staging)
        fov, aspect = (None, None) if role == "database" else self._views_to_match(split)
        return ImageReader(
            catalog,
            modalities,
            self.size,
            match_fov=fov,
            match_aspect=aspect,
            cache=self.cache,
            read_ahead=self.read_ahead,
        )

    def _views_to_match(self, split: str) -> tuple[float, float] | tuple[None, None]:
        """What queries are scaled to: the field of view that is asked for, and the shape that views had."""
        if self.match_fov is None:
            return None, None
        views = self._reader("database", split)
        aspect = aspect_of_views(views.catalog, views.modalities[0])
        return math.radians(self.match_fov), aspect

    def _view_loaders(self, split: SplitData) -> list[DataLoader[Batch]]:
        return [self._view_loader(reader) for reader in (split.database_reader, split.query_reader)]

    def _view_loader(self, reader: ImageReader) -> DataLoader[Batch]:
        rank, world_size = self._rank()
        return DataLoader(
            ViewDataset(reader),
            batch_sampler=ShardSampler(len(reader.catalog), self.extraction_batch_size, rank, world_size),  # type: ignore[arg-type]
            collate_fn=whole_batch,
            **self.loading(),
            generator=torch.Generator().manual_seed(0),  # else iterating draws from the global generator
        )

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


def _has_images(batch: Batch) -> bool:
    """Whether there is anything in a batch: see `RoundLoader`, which fills up an epoch with empty ones."""
    return "query" in batch or "images" in batch


def _require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise ConfigError(f"dataset.{key}", value, allowed)
