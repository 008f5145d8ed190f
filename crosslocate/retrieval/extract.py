"""The one loop that turns views into descriptors."""

from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any

import torch

from crosslocate.console import track
from crosslocate.retrieval.store import DescriptorStore

Batch = Mapping[str, Any]


def extract(
    encode: Callable[[Any], torch.Tensor],
    batches: Iterable[Batch],
    store: DescriptorStore,
    *,
    device: torch.device | str = "cpu",
    description: str = "Extracting descriptors",
    visible: bool = True,
) -> int:
    """Encode batches of views and write the descriptors into a store.

    Args:
        encode: Turns ``batch["images"]``, moved to ``device``, into descriptors [n, D]. Networks belong in evaluation
            mode before; gradients are off here.
        batches: Batches with "images" (a tensor, or a mapping of tensors) and "positions" (int64 [n], rows of the
            store). A sharded loader gives each process its own rows.
        store: Where the descriptors go. The caller checks its coverage once every process is done.
        device: Where to encode.
        description: Shown beside the progress bar.
        visible: Whether this process shows progress.

    Returns:
        Number of descriptors written.
    """
    written = 0
    total = len(batches) if isinstance(batches, Sized) else None
    with torch.inference_mode():
        for batch in track(batches, description, total, visible=visible):
            descriptors = encode(_moved(batch["images"], torch.device(device)))
            store.write(batch["positions"].numpy(force=True), as_float32(descriptors))
            written += len(descriptors)
    store.flush()
    return written


def as_float32(descriptors: torch.Tensor) -> Any:
    """Descriptors as a float32 array in host memory, from any device and floating type."""
    return descriptors.detach().to("cpu", torch.float32).numpy()


def _moved(images: Any, device: torch.device) -> Any:
    if isinstance(images, Mapping):
        return {key: value.to(device, non_blocking=True) for key, value in images.items()}
    return images.to(device, non_blocking=True)
