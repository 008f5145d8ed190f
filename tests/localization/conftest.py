"""Checkpoints of untrained networks, and the retrievers restored from them."""

import pytest
from tiny_checkpoint import DEPTH_TO_DEPTH, PHOTO_TO_DEPTH, save_checkpoint

from crosslocate.lit.restore import load_retriever


@pytest.fixture(scope="session")
def depth_checkpoint(tiny_dataset, tmp_path_factory):
    """One shared branch for depth on both sides: equal images have equal descriptors, even untrained."""
    return save_checkpoint(tmp_path_factory.mktemp("depth") / "best.ckpt", tiny_dataset, DEPTH_TO_DEPTH)


@pytest.fixture(scope="session")
def photo_checkpoint(tiny_dataset, tmp_path_factory):
    """Photographs against depth, two branches."""
    return save_checkpoint(tmp_path_factory.mktemp("photo") / "best.ckpt", tiny_dataset, PHOTO_TO_DEPTH)


@pytest.fixture(scope="session")
def depth_retriever(depth_checkpoint):
    return load_retriever(depth_checkpoint, "cpu")


@pytest.fixture(scope="session")
def photo_retriever(photo_checkpoint):
    return load_retriever(photo_checkpoint, "cpu")
