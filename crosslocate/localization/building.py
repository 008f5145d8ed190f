"""Building a descriptor index: whole batches of a fixed grid, so that its bytes do not depend on how it came about.

Descriptors depend, in their last bits, on which views are embedded together. So the grid belongs to an index, and who
continues one keeps it; a batch that lacks a row is embedded whole. Kills and the number of processes leave no trace.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from crosslocate.console import say
from crosslocate.data.catalog import Catalog
from crosslocate.data.completeness import require_images
from crosslocate.data.dataset import ViewDataset, whole_batch
from crosslocate.data.reader import ImageReader
from crosslocate.errors import StoreError
from crosslocate.lit.restore import Retriever
from crosslocate.lit.signals import Listener, deferring
from crosslocate.localization.index import (
    DESCRIPTORS,
    DTYPE,
    DescriptorIndex,
    ViewFormat,
    index_fingerprint,
    read_header,
    write_header,
)
from crosslocate.retrieval.extract import extract
from crosslocate.retrieval.extraction_report import ExtractionReport
from crosslocate.retrieval.grid import WHOLE, GridBatches, Shard, share_of, unfinished
from crosslocate.retrieval.store import NAMED_ROWS, DescriptorStore


@dataclass(frozen=True)
class Extraction:
    """How views are embedded.

    Args:
        batch_size: Views embedded together, where an index is begun.
        workers: Processes that read images; 0 reads in this one.
        prefetch: Batches that each of them holds ready.
        read_ahead: Reads that each of them makes ahead of decoding, see `ReadAhead`.
        dtype: Of the stored descriptors, float32 or float16.
        verify: Compare descriptors that are there with their checksums, and make damaged ones again.
        shard: Share of this process.
        visible: Whether this process shows progress.
    """

    batch_size: int
    workers: int
    prefetch: int = 2
    read_ahead: int = 0
    dtype: str = DTYPE
    verify: bool = False
    shard: Shard = WHOLE
    visible: bool = True


def build_index(
    retriever: Retriever,
    database: Catalog,
    folder: Path,
    *,
    split: str,
    checkpoint: str,
    batch_size: int,
    workers: int,
) -> DescriptorIndex:
    """Build an index, continue a killed build, or take a finished one.

    Args:
        retriever: Makes the descriptors.
        database: Views to index.
        folder: Of the index.
        split: Of the catalog that ``database`` is, or ``all``; kept in ``index.json``.
        checkpoint: Where the weights came from; kept in ``index.json``.
        batch_size: Views embedded together.
        workers: Processes that read images; 0 reads in this one.

    Raises:
        DataError: Image files are missing or broken; found before anything is embedded where possible.
        StoreError: The folder holds another index, or the disk is full.
    """
    way = Extraction(batch_size, workers)
    index = fill_index(retriever, database, folder, way, split=split, checkpoint=checkpoint)
    index.store.require_complete(database.name)
    return index


def fill_index(
    retriever: Retriever,
    database: Catalog,
    folder: Path,
    way: Extraction,
    *,
    split: str,
    checkpoint: str,
    opened: Callable[[], None] = lambda: None,
) -> DescriptorIndex:
    """Lay an index out where there is none, and embed what this process's share of it lacks.

    Args:
        retriever: As for `build_index`, as are all but ``way``.
        database: Views to index.
        folder: Of the index.
        way: How views are embedded, and which.
        split: Of the catalog.
        checkpoint: Where the weights came from.
        opened: Called once the store is there.

    Returns:
        The index, of which other processes may have more to do.

    Raises:
        DataError: Image files are missing or broken.
        StoreError: The folder holds another index, or the disk is full.
        RunStopped: A signal asked to stop; all batches up to that are written.
    """
    modalities = retriever.pipeline.compositions["database"].modalities
    reader = ImageReader(database, modalities, ViewFormat.of(retriever.config).size, read_ahead=way.read_ahead)
    path, promised = folder / DESCRIPTORS, [(database, reader.modalities)]
    begun = path.exists()
    if not begun:
        require_images(promised)
    index = DescriptorIndex(folder, database, _store(retriever, database, path, way))
    store, size = index.store, index.store.header.batch
    if way.visible:
        _say_moved(folder, database)
    write_header(index, retriever, split, checkpoint)
    opened()
    if way.verify:
        _discard_damaged(store, way.shard)
    batches = unfinished(store, size, way.shard)
    if begun and len(batches):
        require_images(promised)
        if size != way.batch_size and way.visible:
            say(f"{folder} was begun with batch_size={size}, and goes on with it")
    return replace(index, report=_embed(retriever, reader, store, batches, way))


def _store(retriever: Retriever, database: Catalog, path: Path, way: Extraction) -> DescriptorStore:
    """The store in ``path``, laid out when there is none."""
    fingerprint = index_fingerprint(retriever, database, way.dtype)
    if path.exists():
        store = DescriptorStore.open(path, writable=True)
        if store.header.fingerprint != fingerprint:
            raise StoreError(
                f"{path.parent} holds another index{_origin(path.parent)}: of other weights, another architecture, "
                "other views or images, in another precision or dtype, or of another version; remove that folder, or "
                "choose another one with output="
            )
        return store
    size = retriever.network.descriptor_size
    return DescriptorStore.create(
        path, len(database), size, way.dtype, fingerprint, batch=way.batch_size, exist_ok=True
    )  # fmt: skip


def _origin(folder: Path) -> str:
    """What an index says it was made from, as an addition to a sentence; nothing where that cannot be read."""
    with suppress(StoreError):
        header = read_header(folder)
        return f" (of {header['catalog']}, split {header['split']}, checkpoint {header.get('checkpoint')})"
    return ""


def _say_moved(folder: Path, database: Catalog) -> None:
    """Say so where an index was begun from a catalog in another place, which has the same views and images."""
    with suppress(StoreError):
        before, now = read_header(folder)["catalog"], str(database.path.resolve())
        if before != now:
            say(f"{folder} was made from {before}; the views and images of {now} are the same, so it serves both")


def _embed(
    retriever: Retriever, reader: ImageReader, store: DescriptorStore, batches: GridBatches, way: Extraction
) -> ExtractionReport:
    loader: DataLoader[Any] = DataLoader(
        ViewDataset(reader),
        batch_sampler=batches,  # type: ignore[arg-type] # ranges serve as lists
        collate_fn=whole_batch,
        num_workers=way.workers,
        prefetch_factor=way.prefetch if way.workers else None,
        pin_memory=retriever.device.type == "cuda",
        generator=torch.Generator().manual_seed(0),  # else iterating draws from the global generator
    )
    with deferring() as heard:
        return extract(
            partial(_encode, retriever),
            _Stoppable(loader, heard) if len(batches) else (),
            store,
            device=retriever.device,
            description="Indexing views",
            visible=way.visible,
        )


def _encode(retriever: Retriever, images: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return retriever.encode("database", retriever.pipeline.inputs("database", images))


def _discard_damaged(store: DescriptorStore, shard: Shard) -> None:
    rows = None if shard == WHOLE else share_of(len(store), store.header.batch, shard).all_rows()
    damaged = store.damaged(rows)
    if len(damaged):
        some = ", ".join(map(str, damaged[:NAMED_ROWS].tolist()))
        more = ", ..." if len(damaged) > NAMED_ROWS else ""
        say(f"{store.path}: {len(damaged)} damaged descriptors (rows {some}{more}) are made again")
        store.discard(damaged)


class _Stoppable:
    """Batches that end with RunStopped after the one in which a signal asked to stop."""

    def __init__(self, loader: "DataLoader[Any]", heard: Listener | None) -> None:
        self._loader, self._heard = loader, heard

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            yield batch
            if self._heard is not None and self._heard.received is not None:
                raise self._heard.follow(self._heard.received)
