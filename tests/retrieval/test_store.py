import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crosslocate.errors import StoreError
from crosslocate.retrieval.store import DescriptorStore


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_is_read_back(tmp_path, dtype):
    values = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    store = DescriptorStore.create(tmp_path / "a", 7, 5, dtype, "weights-1")
    store.write([6, 0, 3], values[[6, 0, 3]])
    store.write(np.array([1, 2, 4, 5]), values[[1, 2, 4, 5]])
    store.flush()
    read = DescriptorStore.open(tmp_path / "a", "weights-1")
    read.require_complete()
    assert read.descriptors.dtype == dtype
    assert (len(read), read.size) == (7, 5)
    np.testing.assert_array_equal(read.descriptors, values.astype(dtype))


def test_missing_rows_are_named(tmp_path):
    store = DescriptorStore.create(tmp_path / "a", 20, 2)
    store.write([4, 5], np.ones((2, 2)))
    assert store.missing(3).tolist() == [0, 1, 2]
    assert np.flatnonzero(store.covered).tolist() == [4, 5]
    with pytest.raises(
        StoreError, match=r"18 of 20 descriptors: rows 0 \(view 0\), 1 \(view 1\), .*6 \(view 6\), \.\.\.$"
    ):
        store.require_complete(lambda row: f"view {row}")
    store.write(store.missing(17), np.ones((17, 2)))
    with pytest.raises(StoreError, match=r"1 of 20 descriptors: rows 19$"):
        store.require_complete()


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        ([0, 3], np.ones((2, 2)), "row 3 is outside .* 3 rows"),
        ([-1], np.ones((1, 2)), "row -1 is outside"),
        ([0, 1], np.ones((2, 3)), r"shape \(2, 3\).*expected \(2, 2\)"),
        ([0, 1], np.array([[0, 1], [np.nan, 0]]), r"row 1 is not finite as float16 \(1 of 2"),
        ([2], np.array([[1e6, 0]]), "row 2 is not finite as float16"),
    ],
)
def test_bad_descriptors_are_refused_and_leave_no_trace(tmp_path, rows, values, message):
    store = DescriptorStore.create(tmp_path / "a", 3, 2, "float16")
    with pytest.raises(StoreError, match=message):
        store.write(rows, values)
    assert not store.covered.any()


def test_nothing_to_write_is_fine(tmp_path):
    store = DescriptorStore.create(tmp_path / "a", 3, 2)
    store.write(np.empty(0, np.int64), np.empty((0, 2)))
    assert len(store.missing()) == 3


def test_processes_that_start_together_share_one_store(tmp_path):
    def work(rank):
        store = DescriptorStore.create(tmp_path / "a", 16, 3, exist_ok=True)
        rows = np.arange(rank, 16, 8)
        store.write(rows, np.repeat(rows[:, None], 3, axis=1))
        store.flush()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    store = DescriptorStore.open(tmp_path / "a")
    store.require_complete()
    np.testing.assert_array_equal(store.descriptors[:, 1], np.arange(16))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_create_replaces_unless_told_to_share(tmp_path):
    DescriptorStore.create(tmp_path / "a", 2, 2).write([0], np.ones((1, 2)))
    assert DescriptorStore.create(tmp_path / "a", 2, 2, exist_ok=True).covered[0]
    assert not DescriptorStore.create(tmp_path / "a", 2, 2).covered[0]
    with pytest.raises(StoreError, match=r"rows=2.*which is not.*rows=3"):
        DescriptorStore.create(tmp_path / "a", 3, 2, exist_ok=True)


def test_other_weights_are_refused(tmp_path):
    DescriptorStore.create(tmp_path / "a", 2, 2, fingerprint="old")
    with pytest.raises(StoreError, match="fingerprint 'old', not 'new'"):
        DescriptorStore.open(tmp_path / "a", "new")


def test_damaged_stores_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no descriptor store in .*nowhere"):
        DescriptorStore.open(tmp_path / "nowhere")
    path = tmp_path / "a"
    DescriptorStore.create(path, 4, 2)
    os.truncate(path / "descriptors.bin", 20)
    with pytest.raises(StoreError, match=r"descriptors.bin has 20 bytes where 32"):
        DescriptorStore.open(path)
    header = json.loads((path / "header.json").read_text())
    (path / "header.json").write_text(json.dumps(header | {"format": 9}))
    with pytest.raises(StoreError, match="format 9"):
        DescriptorStore.open(path)
    (path / "header.json").write_text(json.dumps(header | {"size": 3}, indent=1) + "\n")
    with pytest.raises(StoreError, match=r"header.json is damaged.*checksum; remove"):
        DescriptorStore.open(path)
    (path / "header.json").write_text("{")
    with pytest.raises(StoreError, match=r"header.json cannot be read"):
        DescriptorStore.open(path)


def test_a_store_of_the_first_format_says_what_to_do(tmp_path):
    DescriptorStore.create(tmp_path / "a", 2, 2)
    old = {"format": 1, "rows": 2, "size": 2, "dtype": "float32", "fingerprint": ""}
    (tmp_path / "a/header.json").write_text(json.dumps(old, indent=1))
    with pytest.raises(StoreError, match=r"has format 1, of an earlier version.*remove .*a and extract"):
        DescriptorStore.open(tmp_path / "a")


def test_impossible_stores_are_refused(tmp_path):
    with pytest.raises(StoreError, match="0 rows"):
        DescriptorStore.create(tmp_path / "a", 0, 2)
    with pytest.raises(StoreError, match="'float64' is not supported; allowed: float32, float16"):
        DescriptorStore.create(tmp_path / "a", 1, 2, "float64")


def test_a_full_disk_is_an_error_at_creation(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match=r"no room for 4\.\d\d GiB of descriptors.*No space left"):
        DescriptorStore.create(tmp_path / "a", 1 << 20, 1024)
    assert list(tmp_path.iterdir()) == []


def test_opened_for_reading_only(tmp_path):
    DescriptorStore.create(tmp_path / "a", 2, 2)
    with pytest.raises(StoreError, match="opened for reading only"):
        DescriptorStore.open(tmp_path / "a").write([0], np.ones((1, 2)))
    DescriptorStore.open(tmp_path / "a", writable=True).write([0], np.ones((1, 2)))
    assert DescriptorStore.open(tmp_path / "a").missing().tolist() == [1]
