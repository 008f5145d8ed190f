from itertools import combinations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.leaks import closest_by_splits, closest_pairs, leak_report
from crosslocate.errors import DataError
from crosslocate.geo import destination, geodesic_distance


def brute_force(lon, lat, split):
    found = {}
    for a, b in combinations(np.unique(split), 2):
        one, two = np.flatnonzero(split == a), np.flatnonzero(split == b)
        found[f"{a}-{b}"] = float(
            geodesic_distance(lon[one, None], lat[one, None], lon[None, two], lat[None, two]).min()
        )
    return found


@given(st.floats(-180, 180), st.floats(-88, 88), st.floats(1.0, 1e6), st.integers(2, 60), st.integers(0, 9999))
def test_the_closest_pairs_are_those_of_all_pairs(lon, lat, radius, count, seed):
    rng = np.random.default_rng(seed)
    lon, lat = destination(lon, lat, rng.uniform(0, 7, count), radius * np.sqrt(rng.random(count)))
    split = rng.choice(["train", "val", "test"], count)
    expected = brute_force(lon, lat, split)
    pairs = closest_pairs(lon, lat, split)
    assert {"-".join(pair.splits): pair.distance for pair in pairs} == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)
    for pair in pairs:
        a, b = pair.rows
        assert (split[a], split[b]) == pair.splits
        assert geodesic_distance(lon[a], lat[a], lon[b], lat[b]) == pytest.approx(pair.distance)


def test_one_split_leaks_nowhere_and_shared_positions_are_zero_apart():
    lon, lat = np.array([6.0, 6.0, 7.0]), np.array([45.0, 45.0, 45.0])
    assert closest_pairs(lon, lat, np.array(["test"] * 3)) == []
    assert closest_by_splits(closest_pairs(lon, lat, np.array(["train", "test", "test"]))) == {"test-train": 0.0}


def catalogs(tmp_path, moved=0.0):
    """Views and queries at two splits 2 km apart; one query of the test split is moved towards the training views."""
    found = []
    for role, at in (("database", 0.0), ("queries", 100.0)):
        count = 8
        split = np.repeat(["train", "test"], count // 2)
        east = np.where(split == "train", -1000.0, 1000.0) + np.tile(np.arange(count // 2) * 10.0, 2) * np.where(
            split == "train", -1, 1
        )
        if role == "queries":
            east[4] -= moved
        lon, lat = destination(6.9, 45.8, np.pi / 2, east)
        lon, lat = destination(lon, lat, 0.0, at)
        columns = {
            "name": np.array([f"{role[0]}{k}" for k in range(count)]), "place": np.arange(count, dtype=np.int32),
            "split": split, "longitude": lon, "latitude": lat,
        }  # fmt: skip
        columns |= dict.fromkeys(("elevation", "yaw", "pitch", "roll"), np.zeros(count))
        columns["horizontal_fov"] = np.ones(count)
        path = tmp_path / f"{role}.parquet"
        write_catalog(path, columns, role, {"depth": "depth/{name}.exr"})
        found.append(read_catalog(path))
    return found


def test_a_set_that_keeps_its_gap_passes_with_its_figures(tmp_path):
    report = leak_report(*catalogs(tmp_path), gap=1990.0)
    assert report["gap_m"] == 1990.0
    assert report["closest_m"]["test-train"] == pytest.approx(2000.0, abs=1.0)


def test_a_set_that_leaks_is_refused_by_both_rows(tmp_path):
    found = catalogs(tmp_path, moved=1700.0)
    with pytest.raises(DataError, match=r"is 300\.\d m from") as error:
        leak_report(*found, gap=1990.0)
    assert "queries.parquet row 4 (q4) of split test" in str(error.value)
    assert "of split train" in str(error.value)
    assert "a gap of 1990.0 m" in str(error.value)
    assert leak_report(*found, gap=250.0)["closest_m"]["test-train"] < 320.0


def test_catalogs_of_one_split_each_are_compared_too(tmp_path):
    database, queries = catalogs(tmp_path, moved=1700.0)
    parts = [catalog.split(name) for catalog in (database, queries) for name in ("train", "test")]
    assert leak_report(*parts, gap=0.0) == leak_report(database, queries, gap=0.0)
    assert pq.read_metadata(tmp_path / "queries.parquet").num_rows == 8
