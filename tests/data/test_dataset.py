"""Batches of views and of triplets against a row-by-row construction."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from crosslocate.data.catalog import read_catalog
from crosslocate.data.dataset import TripletDataset, ViewDataset, unique_views, whole_batch
from crosslocate.data.reader import ImageReader
from crosslocate.data.relations import NegativeRule, relate
from crosslocate.data.split import ShardSampler
from crosslocate.geo import geodesic_distance, heading_difference

SIZE = (24, 32)


@pytest.fixture
def readers(tiny_dataset, tmp_path):
    queries = read_catalog(tiny_dataset / "queries.parquet").split("train")
    database = read_catalog(tiny_dataset / "database.parquet").split("train")
    cache = tmp_path / "cache"
    return (
        ImageReader(queries, ["photo"], SIZE, cache=cache),
        ImageReader(database, ["depth", "segments"], SIZE, cache=cache),
    )


def random_plan(readers, triplets=10, negatives=4, seed=0):
    """Rows as a miner makes them, some with fewer negatives than others."""
    queries, database = (reader.catalog for reader in readers)
    rng = np.random.default_rng(seed)
    positives = relate(queries, database).positives
    rows = rng.integers(0, len(queries), triplets)
    plan = np.full((triplets, 2 + negatives), -1, np.int32)
    plan[:, 0], plan[:, 1] = rows, [positives.row(row)[0] for row in rows]
    plan[:, 2:] = rng.integers(0, len(database), (triplets, negatives))
    plan[rng.random(plan.shape) < 0.2 * (np.arange(2 + negatives) >= 2)] = -1
    return plan


def test_views_by_position(readers):
    rows = np.array([40, 2, 7, 9])
    dataset = ViewDataset(readers[1], rows)
    batch = dataset.__getitems__([3, 0])
    assert len(dataset) == 4
    assert batch["role"] == "database"
    assert batch["positions"].tolist() == [3, 0]
    assert batch["rows"].tolist() == [9, 40]
    for name, images in readers[1].read([9, 40]).items():
        np.testing.assert_array_equal(batch["images"][name], images)
    assert ViewDataset(readers[0]).__getitems__(range(2))["role"] == "query"
    assert dataset[1]["rows"].tolist() == [2]


def test_triplets_hold_every_view_once_positives_first(readers):
    plan = random_plan(readers)
    batch = TripletDataset(*readers, NegativeRule(2000.0)).__getitems__([tuple(row) for row in plan])
    rows = batch["database_rows"].numpy()
    used = list(dict.fromkeys([*plan[:, 1], *(v for row in plan[:, 2:] for v in row if v >= 0)]))
    assert rows.tolist() == used
    np.testing.assert_array_equal(batch["query_rows"], plan[:, 0])
    np.testing.assert_array_equal(rows[batch["positive"]], plan[:, 1])
    negatives = batch["negatives"].numpy()
    np.testing.assert_array_equal(np.where(negatives >= 0, rows[negatives], -1), plan[:, 2:])
    for reader, key, expected in ((readers[0], "query", plan[:, 0]), (readers[1], "database", rows)):
        for name, images in reader.read(expected).items():
            np.testing.assert_array_equal(batch[key][name], images)


@pytest.mark.parametrize("heading", [None, 45.0, 0.01])
def test_negative_mask_is_the_rule_without_the_positives(readers, heading):
    plan = random_plan(readers, seed=1)
    batch = TripletDataset(*readers, NegativeRule(100.0, heading)).__getitems__(plan)
    queries, database = (reader.catalog for reader in readers)
    mask = batch["negative_mask"]
    assert mask.dtype == torch.bool
    for b, query in enumerate(batch["query_rows"].tolist()):
        for m, view in enumerate(batch["database_rows"].tolist()):
            metres = geodesic_distance(
                queries.longitude[query], queries.latitude[query], database.longitude[view], database.latitude[view]
            )
            apart = heading_difference(queries.yaw[query], database.yaw[view])
            expected = metres > 100 or (heading is not None and apart > math.radians(heading))
            assert mask[b, m] == (expected and view != plan[b, 1])
    assert mask.any()
    assert not mask.all()
    assert not mask[torch.arange(len(plan)), batch["positive"]].any()


def test_a_triplet_without_negatives(readers):
    batch = TripletDataset(*readers, NegativeRule(2000.0))[np.array([3, 12, -1, -1])]
    assert batch["negatives"].tolist() == [[-1, -1]]
    assert batch["database_rows"].tolist() == [12]
    assert batch["negative_mask"].tolist() == [[False]]


def test_unique_views_by_hand():
    rows, positives, negatives = unique_views(np.array([5, 3, 5]), np.array([[3, 8], [-1, 5], [8, 1]]))
    assert rows.tolist() == [5, 3, 8, 1]
    assert positives.tolist() == [0, 1, 0]
    assert negatives.tolist() == [[1, 2], [-1, 0], [2, 3]]


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_with_workers_covers_every_row_once(readers, workers):
    dataset = ViewDataset(readers[1])
    sampler = ShardSampler(len(dataset), 7)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=whole_batch, num_workers=workers)
    batches = list(loader)
    assert torch.cat([batch["positions"] for batch in batches]).tolist() == list(range(48))
    depth = torch.cat([batch["images"]["depth"] for batch in batches])
    np.testing.assert_array_equal(depth, readers[1].read(np.arange(48))["depth"])


@pytest.mark.parametrize(("count", "world_size"), [(10, 1), (10, 3), (2, 4), (9, 3)])
def test_shards_are_disjoint_and_complete(count, world_size):
    shards = [ShardSampler(count, 2, rank, world_size) for rank in range(world_size)]
    positions = [np.concatenate([*s, np.empty(0, int)]).tolist() for s in shards]
    assert sorted(p for shard in positions for p in shard) == list(range(count))
    for rank, (sampler, own) in enumerate(zip(shards, positions, strict=True)):
        assert own == list(range(rank, count, world_size))
        assert len(sampler) == len(list(sampler))
