"""Start values of poolings that begin with what the training data look like to the backbone."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from crosslocate.console import track
from crosslocate.data.datamodule import RetrievalDataModule
from crosslocate.data.dataset import ViewDataset, whole_batch
from crosslocate.models.network import Branch, CrossModalNetwork
from crosslocate.models.pooling import LocalSample

STREAM = 0x1DEA
"""Sets the draws of this module apart from others of the same seed."""


def initialize_poolings(
    network: CrossModalNetwork, datamodule: RetrievalDataModule, seed: int, device: torch.device, *, visible: bool
) -> None:
    """Start the poolings that ask for it at local descriptors of the training split; others are left alone.

    Every branch sees images of the roles that it serves. The draws depend on the seed alone, so that every process
    of a training finds the same; at most ``images * locations`` descriptors of a role are held at a time.

    Args:
        network: Its poolings are changed; it is in evaluation mode on the way, and comes back as it was.
        datamodule: Has the training split.
        seed: Of the run.
        device: Where to compute.
        visible: Whether this process shows progress.

    Raises:
        DataError: If the split has too few local descriptors.
    """
    branches = [(network.query, ["query", "database"] if network.shared else ["query"])]
    if network.database is not None:
        branches.append((network.database, ["database"]))
    for branch, roles in branches:
        if (sample := branch.pooling.initialization) is None:
            continue
        training, place = branch.training, next(branch.parameters()).device
        branch.eval().to(device)
        found = [local_descriptors(branch, role, datamodule, sample, seed, device, visible=visible) for role in roles]
        branch.pooling.initialize(torch.cat(found), seed)
        branch.train(training).to(place)


@torch.inference_mode()
def local_descriptors(
    branch: Branch,
    role: str,
    datamodule: RetrievalDataModule,
    sample: LocalSample,
    seed: int,
    device: torch.device,
    *,
    visible: bool,
) -> Tensor:
    """Local descriptors of some images of the training split, float32 ``[n, C]``, on the device.

    Args:
        branch: Gives the feature maps.
        role: ``query`` or ``database``.
        datamodule: Has the training split.
        sample: How many images, and how many locations of each; all of them where there are fewer.
        seed: Of the draws.
        device: Where the branch is.
        visible: Whether this process shows progress.
    """
    reader = datamodule.train.reader(role)
    count = len(reader.catalog)
    random = np.random.default_rng([seed, STREAM, int(role == "query")])
    rows = np.sort(random.choice(count, min(count, sample.images), replace=False))
    generator = torch.Generator().manual_seed(int(random.integers(1 << 62)))
    batches = DataLoader(
        ViewDataset(reader, rows),
        batch_size=datamodule.extraction_batch_size,
        collate_fn=whole_batch,
        **datamodule.loading(),
        generator=torch.Generator().manual_seed(0),  # else iterating draws from the global generator
    )
    found = []
    for batch in track(batches, f"Local descriptors ({role})", len(batches), visible=visible):
        images = {name: pixels.to(device) for name, pixels in batch["images"].items()}
        maps = branch.features(datamodule.pipeline.inputs(role, images)).flatten(2).transpose(1, 2).float()
        drawn = torch.rand(maps.shape[:2], generator=generator).argsort(dim=1)[:, : sample.locations]
        found.append(maps.gather(1, drawn.to(device)[..., None].expand(-1, -1, maps.shape[2])).flatten(0, 1))
    return torch.cat(found)
