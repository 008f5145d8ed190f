"""A tiny data set in the true layout, written once per session."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_scenes import HEIGHT, WIDTH, build_dataset

from crosslocate.data.datamodule import RetrievalDataModule

settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
"""The same examples every time; HYPOTHESIS_PROFILE=default looks for others."""

LONG = (
    "test_platform_matrix", "test_readme", "test_cluster", "test_presets", "test_sweep", "test_tune",
    "test_stop_processes", "test_several_devices",
)  # fmt: skip
"""Modules of minutes. They begin first, so that no worker is left with one of them at the end."""


def pytest_collection_modifyitems(items):
    """Put the long modules first; all else stays in its order."""
    items.sort(key=lambda item: item.module.__name__ not in LONG)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """Root of a data set of 8 places (train 4, val 2, test 2), 12 views and 3 queries each, 32 x 24 pixels.

    Views have depth, silhouettes and segments; queries have photo and depth, and lie at their place. Treat it as
    read-only: copy it to change it.
    """
    return build_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def make_datamodule(tiny_dataset, tmp_path):
    """Builds the data module of the tiny data set (photo against depth); keywords replace arguments."""
    from crosslocate.data.augmentation import NoAugmentation
    from crosslocate.data.distance import Geodesic
    from crosslocate.data.mirror import BatchMirror
    from crosslocate.data.relations import NegativeRule
    from crosslocate.data.tensors import LogDepth, Rgb
    from crosslocate.mining.loader import RoundLoader

    def make(**changes) -> RetrievalDataModule:
        arguments = {
            "root": tiny_dataset,
            "query": Rgb(),
            "database": LogDepth(),
            "query_augmentation": NoAugmentation(),
            "database_augmentation": NoAugmentation(),
            "mirror": BatchMirror(0.0),
            "size": (HEIGHT, WIDTH),
            "match_fov": None,
            "distance": Geodesic(),
            "positive_distance": 20.0,
            "positive_heading": 15.0,
            "negative_distance": 2000.0,
            "negative_rule": NegativeRule(2000.0),
            "batch_size": 4,
            "extraction_batch_size": 5,
            "workers": 0,
            "cache": tmp_path / "images",
            "seed": 0,
            "train_loader": RoundLoader,
        }
        return RetrievalDataModule(**{**arguments, **changes})

    return make
