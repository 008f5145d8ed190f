"""The data module inside and outside Lightning, and the pipeline from raw batches to network inputs."""

import math
import shutil

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from crosslocate.data.augmentation import NoAugmentation, generator_for
from crosslocate.data.dataset import TripletDataset
from crosslocate.data.mirror import BatchMirror
from crosslocate.data.photometric import Photometric
from crosslocate.data.pipeline import InputPipeline
from crosslocate.data.relations import NegativeRule
from crosslocate.data.tensors import LogDepth, Rgb
from crosslocate.errors import ConfigError, DataError

LIGHT = Photometric(gain=0.2, contrast=0.2, tone=0.2, white_balance=0.1, hue=0, saturation=0, blur=0, noise=0.05)


def test_a_validation_can_be_about_several_splits(make_datamodule):
    data = make_datamodule()
    assert [len(loader.dataset) for loader in data.val_dataloader()] == [24, 6]
    data.val_splits = ("val", "train")
    data.setup("validate")
    assert [len(loader.dataset) for loader in data.val_dataloader()] == [24, 6, 48, 12]


def test_splits_hold_their_own_rows_and_relations(make_datamodule):
    module = make_datamodule()
    module.setup("fit")
    assert [len(s.queries) for s in (module.train, module.val, module.test)] == [12, 6, 6]
    assert [len(s.database) for s in (module.train, module.val, module.test)] == [48, 24, 24]
    assert set(module.val.queries.place) == set(module.val.database.place) == {4, 5}
    relations = module.train.relations
    assert relations is module.train.relations
    np.testing.assert_array_equal(relations.nonnegatives.counts, 12)
    assert module.train is module.split("train")


@pytest.mark.parametrize(("stage", "loaders"), [("validate", "val_dataloader"), ("test", "test_dataloader")])
def test_evaluation_loaders_give_database_then_queries(make_datamodule, stage, loaders):
    module = make_datamodule()
    module.setup(stage)
    database, queries = getattr(module, loaders)()
    for loader, role, rows in ((database, "database", 24), (queries, "query", 6)):
        batches = list(loader)
        assert {batch["role"] for batch in batches} == {role}
        assert torch.cat([batch["positions"] for batch in batches]).tolist() == list(range(rows))


class Seen(pl.LightningModule):
    """Takes what Lightning hands it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_batches, self.views = [], {0: [], 1: []}

    def training_step(self, batch, batch_idx):
        self.train_batches.append(batch)
        return self.weight * batch["query"].mean()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.views[dataloader_idx].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Planner:
    epoch = 0

    def __init__(self, plan):
        self.rows = plan

    def round_sizes(self):
        return [len(self.rows)]

    def plan(self, epoch, index):
        return self.rows


def fit(module, plan):
    seen = Seen()
    module.planner = Planner(plan)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(seen, datamodule=module)
    return seen


@pytest.mark.parametrize("workers", [0, 1])
def test_lightning_gets_network_inputs(make_datamodule, workers):
    """Training batches are augmented by (seed, stamp), views are not, and nothing else is lost on the way."""
    module = make_datamodule(query_augmentation=LIGHT, workers=workers)
    plan = np.array([[q, 12 * (q // 3), 12 * ((q // 3 + 1) % 4), -1] for q in range(12)], np.int32)
    seen = fit(module, plan)
    assert [batch["query_rows"].tolist() for batch in seen.train_batches] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    for position, batch in enumerate(seen.train_batches):
        assert batch["stamp"].tolist() == [0, 0, position]
        rows = batch["query_rows"]
        raw = {name: torch.from_numpy(v) for name, v in module.train.query_reader.read(rows).items()}
        light = LIGHT.augment(raw, generator_for(0, (0, 0, position, 1), torch.device("cpu")))
        torch.testing.assert_close(batch["query"], Rgb()(light))
        assert not torch.allclose(batch["query"], Rgb()(raw))
        depth = module.train.database_reader.read(batch["database_rows"])["depth"]
        torch.testing.assert_close(batch["database"], LogDepth()({"depth": torch.from_numpy(depth)}))
    photos = torch.cat([batch["images"] for batch in seen.views[1]])
    raw = {name: torch.from_numpy(v) for name, v in module.val.query_reader.read(np.arange(6)).items()}
    torch.testing.assert_close(photos, Rgb()(raw))
    assert torch.cat([batch["images"] for batch in seen.views[0]]).shape == (24, 2, 24, 32)


def test_pipeline_decides_by_seed_and_stamp(make_datamodule):
    module = make_datamodule()
    dataset = TripletDataset(module.train.query_reader, module.train.database_reader, module.negative_rule)
    batch = dataset.__getitems__([[0, 0, 12], [3, 12, 0]])

    def query(seed, stamp):
        pipeline = InputPipeline(Rgb(), LogDepth(), LIGHT, NoAugmentation(), seed, BatchMirror(0.0))
        return pipeline({**batch, "stamp": torch.tensor(stamp)})["query"]

    first = query(0, [1, 2, 3])
    assert torch.equal(first, query(0, [1, 2, 3]))
    for other in (query(1, [1, 2, 3]), query(0, [2, 2, 3]), query(0, [1, 3, 3]), query(0, [1, 2, 4])):
        assert not torch.equal(first, other)


def test_mirrored_batches_turn_queries_and_views_together(make_datamodule):
    module = make_datamodule()
    dataset = TripletDataset(module.train.query_reader, module.train.database_reader, module.negative_rule)
    batch = dataset.__getitems__([[0, 0, 12], [3, 12, 0]])

    def inputs(mirror, position):
        pipeline = InputPipeline(Rgb(), LogDepth(), NoAugmentation(), NoAugmentation(), 0, BatchMirror(mirror))
        made = pipeline({**batch, "stamp": torch.tensor([0, 0, position])})
        return made["query"], made["database"]

    plain, always = inputs(0.0, 0), inputs(1.0, 0)
    for straight, turned in zip(plain, always, strict=True):
        assert not torch.equal(straight, turned)
        assert torch.equal(straight.flip(3), turned)
    mirrored = [torch.equal(inputs(0.5, k)[0], always[0]) for k in range(40)]
    assert 8 < sum(mirrored) < 32
    assert all(torch.equal(inputs(0.5, k)[1], (always if m else plain)[1]) for k, m in enumerate(mirrored))


def test_match_fov_touches_queries_only(make_datamodule):
    module = make_datamodule(match_fov=100.0)
    assert module.val.query_reader.match_fov == pytest.approx(math.radians(100))
    assert module.val.database_reader.match_fov is None
    photo = module.val.query_reader.read([0])["photo"][0]
    assert (photo[:, 0] == 127).all()


def test_prepare_makes_the_data_set(make_datamodule, tiny_dataset, tmp_path):
    root = tmp_path / "made"
    module = make_datamodule(root=root, prepare=lambda path: shutil.copytree(tiny_dataset, path))
    with pytest.raises(DataError, match=r"made/queries\.parquet: no such catalog file"):
        module.setup("fit")
    module.prepare_data()
    module.setup("fit")
    assert len(module.train.queries) == 12


def test_missing_images_stop_before_training(make_datamodule, tiny_dataset, tmp_path):
    root = shutil.copytree(tiny_dataset, tmp_path / "data")
    (root / "queries/photo/p0004_q01.jpg").unlink()
    module = make_datamodule(root=root)
    module.setup("test")
    with pytest.raises(DataError, match=r"(?s)1 image files are missing:.*p0004_q01\.jpg of .*queries\.parquet row 13"):
        module.setup("fit")


def test_a_modality_that_is_not_there_is_named(make_datamodule):
    module = make_datamodule(database=Rgb())
    with pytest.raises(DataError, match=r"database\.parquet: no images of modality 'photo'; it has: depth"):
        module.setup("validate")


def test_training_without_a_planner_is_refused(make_datamodule):
    module = make_datamodule()
    module.setup("fit")
    with pytest.raises(ConfigError, match=r"callbacks\.mining"):
        module.train_dataloader()


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("batch_size", 0, "an integer of at least 1"),
        ("extraction_batch_size", -2, "an integer of at least 1"),
        ("workers", -1, "an integer of at least 0"),
        ("prefetch", 0, "an integer of at least 1"),
        ("read_ahead", -1, "an integer of at least 0"),
        ("size", [24], r"\[height, width\]"),
        ("match_fov", 200.0, "between 0 and 180 degrees"),
    ],
)
def test_impossible_arguments_name_key_value_and_range(make_datamodule, key, value, allowed):
    with pytest.raises(ConfigError, match=rf"dataset\.{key}=.*allowed: .*{allowed}"):
        make_datamodule(**{key: value})


def test_every_loader_reads_as_configured(make_datamodule):
    for workers, ready in ((0, None), (2, 3)):
        module = make_datamodule(workers=workers, prefetch=3, read_ahead=5)
        module.setup("fit")
        module.planner = Planner(np.zeros((1, 3), np.int32))
        for loader in (*module.val_dataloader(), module.train_dataloader()._inner):
            assert (loader.num_workers, loader.prefetch_factor, loader.pin_memory) == (workers, ready, False)
        assert module.val.query_reader._ahead.reads == module.train.database_reader._ahead.reads == 5


def test_a_negative_rule_beyond_the_relations_is_refused(make_datamodule):
    with pytest.raises(ConfigError, match=r"dataset\.negative_rule\.distance=3000\.0 .*at most negative_distance=2000"):
        make_datamodule(negative_rule=NegativeRule(3000.0))


@pytest.mark.parametrize(
    ("modality", "augmentation"),
    [
        ("depth", "default"),
        ("segments", "strong"),
        ("silhouettes", "none"),
        ("composite", "strong"),
        ("depth_to_depth", "default"),
        ("depth", "crosslocate"),
        ("segments", "crosslocate"),
        ("composite", "crosslocate"),
        ("depth_to_depth", "crosslocate"),
        ("depth", "light"),
    ],
)
def test_every_modality_and_augmentation_option_works(tiny_dataset, tmp_path, modality, augmentation):
    """The YAML options, composed as the command line composes them, on real batches."""
    from hydra import compose, initialize_config_dir

    from crosslocate.config.app import conf_dir
    from crosslocate.config.build import build
    from crosslocate.config.schema import register

    register()
    overrides = [
        f"modality={modality}",
        f"augmentation={augmentation}",
        "dataset=custom",
        f"dataset.root={tiny_dataset}",
        "dataset.size=[24,32]",
        "dataset.workers=0",
        f"paths.cache={tmp_path}",
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        module = build(compose("train", overrides=overrides).dataset)
    module.setup("fit")
    dataset = TripletDataset(module.train.query_reader, module.train.database_reader, module.negative_rule)
    batch = module.pipeline(
        {**dataset.__getitems__([[0, 0, 12], [3, 12, 0]]), "stamp": torch.zeros(3, dtype=torch.int64)}
    )
    for role in ("query", "database"):
        channels = module.pipeline.compositions[role].channels
        assert batch[role].shape == (len(batch[f"{role}_rows"]), channels, 24, 32)
        assert torch.isfinite(batch[role]).all()
