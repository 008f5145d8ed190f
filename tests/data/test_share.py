"""A batch that processes share is, put together, the batch of one process: images, mirroring, draws and all."""

import numpy as np
import pytest
import torch

from crosslocate.config.build import build
from crosslocate.data.augmentation import Chain
from crosslocate.data.dataset import TripletDataset
from crosslocate.data.geometric import Geometric
from crosslocate.data.mirror import BatchMirror, TripletMirror
from crosslocate.data.noise import DepthNoise
from crosslocate.data.photometric import Photometric
from crosslocate.data.pipeline import InputPipeline
from crosslocate.data.reference_augmentation import CrossLocateAugmentation
from crosslocate.data.share import Share
from crosslocate.data.tensors import LogDepth, Rgb

LIGHT = Chain(
    [
        Geometric(0.05, 0.1, 0.1, 3.0),
        Photometric(
            gain=0.2, contrast=0.2, tone=0.2, white_balance=0.1, hue=20.0, saturation=0.2, blur=0.05, noise=0.05
        ),
    ]
)
DEEP = Chain([Geometric(0.05, 0.1, 0.1, 3.0), DepthNoise(0.1, 0.05)])
REFERENCE = CrossLocateAugmentation((0.1, 0.1), 3, 20, 5, 20, 0.2, 0.02, 5.0, 0.5)
MIRRORS = {
    "batch": BatchMirror(0.5), "triplets": TripletMirror(0.5, own_copies=False), "copies": TripletMirror(0.5, True),
}  # fmt: skip
PLANS = {
    "shared": [[0, 0, 12, 24], [3, 12, 0, -1], [4, 13, 0, 24], [0, 1, 12, 13], [9, 36, 0, 24]],
    "one": [[0, 0, 12, -1]],
}


def batch_of(data, plan, position, pipeline, **share):
    split = data.train
    dataset = TripletDataset(split.query_reader, split.database_reader, data.negative_rule, **share)
    return pipeline({**dataset.__getitems__(plan), "stamp": torch.tensor([1, 2, position])})


@pytest.mark.parametrize("world_size", [2, 3, 7])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("augmentations", [(LIGHT, DEEP), (REFERENCE, REFERENCE)], ids=["chain", "reference"])
def test_parts_are_those_of_the_whole_batch(make_datamodule, world_size, plan, mirror, augmentations):
    data = make_datamodule()
    pipeline = InputPipeline(Rgb(), LogDepth(), *augmentations, 5, MIRRORS[mirror])
    for position in range(3):
        whole = batch_of(data, PLANS[plan], position, pipeline)
        done = {role: [] for role in ("query", "database")}
        for rank in range(world_size):
            part = batch_of(data, PLANS[plan], position, pipeline, rank=rank, world_size=world_size)
            for name in ("query_rows", "database_rows", "positive", "negatives", "negative_mask"):
                assert torch.equal(part[name], whole[name])
            for role, positions in done.items():
                mine = part["share"].positions(role)
                assert torch.equal(part[role], whole[role][mine])
                positions += [p for p in mine.tolist() if part["share"].owners[role][p] == rank]
        assert {role: sorted(p) for role, p in done.items()} == {role: list(range(len(whole[role]))) for role in done}


def test_each_process_reads_its_images_alone(make_datamodule):
    data = make_datamodule()
    plan = np.array([[q, 12 * (q // 3), 12 * ((q // 3 + 1) % 4) + 1] for q in range(12)])
    read = []
    for rank in range(3):
        split = data.train
        batch = TripletDataset(split.query_reader, split.database_reader, data.negative_rule, rank, 3)[plan[0]]
        whole = TripletDataset(split.query_reader, split.database_reader, data.negative_rule, rank, 3).__getitems__(
            plan
        )
        assert len(batch["query"]["photo"]) == 1
        read.append([len(whole["query"]["photo"]), len(whole["database"]["depth"])])
    assert read == [[4, 3], [4, 3], [4, 2]]


def test_a_process_alone_has_the_whole_and_no_share(make_datamodule):
    data = make_datamodule()
    dataset = TripletDataset(data.train.query_reader, data.train.database_reader, data.negative_rule)
    assert "share" not in dataset.__getitems__(PLANS["shared"])


def test_views_stay_with_who_read_them():
    share = Share.of({"query": 2, "database": 3}, rank=1, world_size=2)
    assert share.positions("query").tolist() == [1]
    assert share.positions("database").tolist() == [1]
    later = share.of_views(np.array([0, 1, 1, 2, 1]))
    assert later.positions("database").tolist() == [1, 2, 4]
    assert later.positions("query").tolist() == [1]


@pytest.mark.parametrize("option", ["light", "default", "moderate", "strong", "crosslocate"])
def test_options_of_augmentation_can_be_shared(make_datamodule, option):
    from hydra import compose, initialize_config_dir

    from crosslocate.config.app import conf_dir
    from crosslocate.config.schema import register

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        node = compose("train", overrides=["paths.run=x", "name=x", f"augmentation={option}"]).augmentation
    data = make_datamodule()
    pipeline = InputPipeline(Rgb(), LogDepth(), build(node.query), build(node.database), 0, build(node.mirror))
    whole = batch_of(data, PLANS["shared"], 0, pipeline)
    part = batch_of(data, PLANS["shared"], 0, pipeline, rank=1, world_size=2)
    for role in ("query", "database"):
        assert torch.equal(part[role], whole[role][part["share"].positions(role)])
