from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import destination, geodesic_distance
from crosslocate.terrain.viewpoints.lattice import Lattice
from crosslocate.terrain.viewpoints.names import numbered
from crosslocate.terrain.viewpoints.positions import Positions
from crosslocate.terrain.viewpoints.splits import Blocks, ListedSplits, OneSplit


def around(longitude, latitude, count, radius, seed=0):
    rng = np.random.default_rng(seed)
    lon, lat = destination(longitude, latitude, rng.uniform(0, 2 * np.pi, count), radius * np.sqrt(rng.random(count)))
    return Positions.plain(numbered("p", np.arange(count), 5), lon, lat, np.zeros(count), left_out={})


def closest(lon, lat, split):
    """Smallest distance between splits: all pairs."""
    apart = np.inf
    for a, b in combinations(np.unique(split), 2):
        one, two = np.flatnonzero(split == a), np.flatnonzero(split == b)
        apart = min(apart, geodesic_distance(lon[one, None], lat[one, None], lon[None, two], lat[None, two]).min())
    return apart


@settings(max_examples=25)
@given(st.floats(-180, 180), st.floats(-80, 84), st.floats(1000, 20_000), st.floats(0.0, 0.5), st.integers(0, 10_000))
def test_positions_of_different_splits_are_the_gap_apart_wherever_they_are(lon, lat, size, share, seed):
    places = around(lon, lat, 300, 3.0 * size, seed)
    rule = Blocks(size, share * size, {"train": 2, "val": 1, "test": 1})
    split, told = rule.assign(places, places, seed)
    kept = split != ""
    assert told["in_gaps"] == (~kept).sum()
    assert told["in_blocks_without_database"] == 0
    assert closest(places.longitude[kept], places.latitude[kept], split[kept]) >= share * size


def test_a_position_is_left_out_only_near_a_block_of_another_split():
    places, rule = around(6.9, 45.8, 4000, 30_000.0), Blocks(5000.0, 1000.0)
    split, _ = rule.assign(places, places, 1)
    whole, _ = Blocks(5000.0, 0.0).assign(places, places, 1)
    np.testing.assert_array_equal(whole[split != ""], split[split != ""])
    left = np.flatnonzero(split == "")
    lattice = Lattice(5000.0)
    assert (lattice.to_edge(places.longitude, places.latitude)[left] < 540.0).all()
    lost = len(left) / len(places)
    assert 0.05 < lost < 1.0 - (4000.0 / 5000.0) ** 2 + 0.05


def test_positions_of_one_block_go_together_and_shares_come_out():
    places = around(6.9, 45.8, 20_000, 60_000.0)
    split, told = Blocks(5000.0, 0.0, {"train": 0.6, "val": 0.15, "test": 0.25}).assign(places, places, 7)
    row, column = Lattice(5000.0).cells(places.longitude, places.latitude)
    for block in set(zip(row.tolist(), column.tolist(), strict=True)):
        assert len(set(split[(row == block[0]) & (column == block[1])])) == 1
    for name, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        assert (split == name).mean() == pytest.approx(share, abs=0.02)
    assert sum(told["blocks"].values()) == len(set(zip(row.tolist(), column.tolist(), strict=True)))


def test_queries_follow_the_blocks_of_the_database():
    database, queries = around(6.9, 45.8, 500, 10_000.0), around(6.9, 45.8, 500, 20_000.0, seed=1)
    rule = Blocks(4000.0, 800.0)
    views, _ = rule.assign(database, database, 0)
    photos, told = rule.assign(queries, database, 0)
    assert told["in_blocks_without_database"] > 0
    assert (photos == "").sum() == told["in_gaps"] + told["in_blocks_without_database"]
    lon, lat = (np.concatenate([getattr(p, name) for p in (database, queries)]) for name in ("longitude", "latitude"))
    split = np.concatenate([views, photos])
    assert closest(lon[split != ""], lat[split != ""], split[split != ""]) >= 800.0


def test_the_seed_decides_and_nothing_else():
    places, rule = around(6.9, 45.8, 2000, 30_000.0), Blocks()
    one, again, other = (rule.assign(places, places, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.1


def test_every_split_gets_a_block_or_the_terrain_is_too_small():
    places = around(6.9, 45.8, 2000, 6000.0)
    split, told = Blocks(5000.0, 0.0, {"train": 1000, "val": 1, "test": 1}).assign(places, places, 0)
    assert set(split) == {"train", "val", "test"}
    assert min(told["blocks"].values()) == 1
    with pytest.raises(TerrainError, match="1 blocks of 100000 m; 3 splits"):
        Blocks(100_000.0, 0.0).assign(around(6.9, 45.8, 20, 100.0), around(6.9, 45.8, 20, 100.0), 0)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"size": 10.0}, "size"), ({"gap": 6000.0}, "gap"), ({"shares": {"dev": 1}}, "shares"),
        ({"shares": {"train": -1}}, r"shares\.train"), ({"shares": {"train": 0}}, "shares"),
    ],
)  # fmt: skip
def test_impossible_blocks_are_refused(values, key):
    with pytest.raises(ConfigError, match=rf"survey\.splits\.{key}"):
        Blocks(**values)


def test_one_split_and_listed_splits():
    places = around(6.9, 45.8, 3, 100.0)
    assert OneSplit("val").assign(places, places, 0)[0].tolist() == ["val"] * 3
    listed = places.take(slice(None), split=np.array(["train", "test", "train"]))
    assert ListedSplits().assign(listed, listed, 0)[0].tolist() == ["train", "test", "train"]
    with pytest.raises(TerrainError, match="viewpoint p00000 has no split"):
        ListedSplits().assign(places, places, 0)
    with pytest.raises(ConfigError, match="name"):
        OneSplit("dev")
