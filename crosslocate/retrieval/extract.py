"""The one loop that turns views into descriptors."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import torch

from crosslocate.console import track
from crosslocate.retrieval.extraction_report import ExtractionReport
from crosslocate.retrieval.lanes import as_float32, lane
from crosslocate.retrieval.row_writer import RowWriter
from crosslocate.retrieval.store import DescriptorStore

__all__ = ["Batch", "as_float32", "extract"]

Batch = Mapping[str, Any]


def extract(
    encode: Callable[[Any], torch.Tensor],
    batches: Iterable[Batch],
    store: DescriptorStore,
    *,
    device: torch.device | str = "cpu",
    description: str = "Extracting descriptors",
    visible: bool = True,
) -> ExtractionReport:
    """Encode batches of views and write the descriptors into a store.

    While a batch is encoded, a thread writes the one before; on a GPU the next one is copied meanwhile too. Whatever
    ends the loop, also an exception that ``batches`` raises to stop it, what was encoded is written and flushed first.

    Args:
        encode: Turns ``batch["images"]``, moved to ``device``, into descriptors [n, D]. Networks belong in evaluation
            mode before; gradients are off here.
        batches: Batches with "images" (a tensor, or a mapping of tensors; in pinned memory for a GPU) and "positions"
            (int64 [n], rows of the store). A sharded loader gives each process its own rows.
        store: Where the descriptors go. The caller checks its coverage once every process is done.
        device: Where to encode.
        description: Shown beside the progress bar.
        visible: Whether this process shows progress.

    Returns:
        How many descriptors were written, and where the time went.

    Raises:
        StoreError: Descriptors cannot be written.
    """
    total = len(batches) if isinstance(batches, Sized) else None
    begin, waited, way = time.perf_counter(), _Waited(batches), lane(device)
    with torch.inference_mode(), RowWriter(store) as writer:
        for batch in track(waited, description, total, visible=visible):
            writer.put(batch["positions"].numpy(force=True), way.embed(encode, batch["images"]))
    seconds = time.perf_counter() - begin
    return ExtractionReport(writer.written, seconds, waited.seconds, way.transfer, way.compute, writer.seconds)


class _Waited:
    """Batches, and the seconds for which they were waited for."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[Batch]:
        begin = time.perf_counter()
        for batch in self._batches:
            self.seconds += time.perf_counter() - begin
            yield batch
            begin = time.perf_counter()
        self.seconds += time.perf_counter() - begin
