"""What a store does about damage, kills and full disks: flipped bits, rows written twice, limits of the file system."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import StoreError
from crosslocate.retrieval import store as store_module
from crosslocate.retrieval.row_file import RowFile, reserve
from crosslocate.retrieval.store import COVERED, DescriptorStore

ROWS, SIZE = 11, 3
FILES = ("descriptors.bin", "coverage.bin", "checksums.bin", "header.json")


def fill(path, rows=ROWS, size=SIZE, dtype="float16"):
    store = DescriptorStore.create(path, rows, size, dtype, "weights")
    store.write(np.arange(rows), np.random.default_rng(0).standard_normal((rows, size)))
    return store


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "a"
    fill(path)
    return path


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_flipped_bit_is_found(whole, name, share):
    file = whole / name
    content = file.read_bytes()
    flip(file, int(share * 8 * len(content)))
    try:
        with pytest.raises(StoreError):
            DescriptorStore.open(whole, verify=True)
    finally:
        file.write_bytes(content)
    DescriptorStore.open(whole, verify=True).require_complete()


def test_checksums_are_of_the_row_and_its_number(whole):
    store = DescriptorStore.open(whole)
    found = np.fromfile(whole / "checksums.bin", np.uint32)
    assert found.tolist() == [zlib.crc32(store.descriptors[row].tobytes(), row) for row in range(ROWS)]


def test_damaged_rows_are_named_and_can_be_made_again(tmp_path, monkeypatch):
    store = fill(tmp_path / "a")
    digest, values = store.digest(), store.descriptors.copy()
    flip(tmp_path / "a/descriptors.bin", 8 * (4 * SIZE * 2) + 3)  # row 4
    flip(tmp_path / "a/checksums.bin", 8 * 4 * 9)  # row 9
    flip(tmp_path / "a/coverage.bin", 8 * 6 + 2)  # row 6
    monkeypatch.setattr(store_module, "TOGETHER", 2 * SIZE * 2)  # blocks of two rows
    with pytest.raises(StoreError, match=r"3 of 11 descriptors do not fit their checksums: rows 4, 6, 9; extract"):
        DescriptorStore.open(tmp_path / "a", verify=True)
    store = DescriptorStore.open(tmp_path / "a", writable=True)
    assert store.damaged([9, 1, 4]).tolist() == [4, 9]
    store.verify([0, 1, 2, 10])
    assert store.missing().tolist() == [6]
    store.discard(store.damaged())
    assert store.missing().tolist() == [4, 6, 9]
    assert store.missing(2).tolist() == [4, 6]
    store.write([4, 6, 9], values[[4, 6, 9]])
    store.verify()
    assert store.digest() == digest


def test_swapped_rows_are_damage(tmp_path):
    store = fill(tmp_path / "a")
    for name, width in (("descriptors.bin", SIZE * 2), ("checksums.bin", 4)):
        content = np.fromfile(tmp_path / "a" / name, np.uint8).reshape(ROWS, width)
        content[[2, 5]] = content[[5, 2]]
        content.tofile(tmp_path / "a" / name)
    assert store.damaged().tolist() == [2, 5]


def test_the_digest_tells_content_and_kind_apart(tmp_path):
    first, same = fill(tmp_path / "a"), fill(tmp_path / "b")
    assert first.digest() == same.digest()
    same.write([3], np.ones((1, SIZE)))
    assert first.digest() != same.digest()
    assert len(first.digest()) == 32
    same.discard([0])
    with pytest.raises(StoreError, match="lacks 1 of 11"):
        same.digest()


def test_rows_are_replaced_only_when_they_change(tmp_path, monkeypatch):
    store = fill(tmp_path / "a")
    written = []
    write = RowFile.write

    def spy(self, rows, values):
        written.append((self.path.name, rows.tolist(), np.asarray(values).ravel()[0]))
        write(self, rows, values)

    monkeypatch.setattr(RowFile, "write", spy)
    changed = store.descriptors[[1, 2, 3]].copy()
    store.write([1, 2, 3], changed)
    assert written == []
    changed[1] = 7
    store.write([1, 2, 3], changed)
    coverage = [(rows, value) for name, rows, value in written if name == "coverage.bin"]
    assert [name for name, *_ in written] == ["coverage.bin", "descriptors.bin", "checksums.bin", "coverage.bin"]
    assert coverage == [([2], 0), ([2], COVERED)]
    store.verify()


DYING = """
import sys, numpy as np
from crosslocate.retrieval.store import DescriptorStore
store = DescriptorStore.open(sys.argv[1], writable=True)
print("begin", flush=True)
values = np.random.default_rng(0).standard_normal((4096, 64)).astype(np.float32)
step = 0
while True:
    rows = np.random.default_rng([1, step]).permutation(4096)[:700]
    store.write(rows, values[rows] + step % 2)
    step += 1
"""


def test_a_killed_writer_leaves_rows_whole_or_uncovered(tmp_path):
    DescriptorStore.create(tmp_path / "a", 4096, 64)
    for moment in (0.02, 0.05, 0.08):
        child = subprocess.Popen([sys.executable, "-c", DYING, str(tmp_path / "a")], stdout=subprocess.PIPE)
        with child.stdout:
            child.stdout.readline()
            time.sleep(moment)
            child.send_signal(signal.SIGKILL)
        child.wait()
    store = DescriptorStore.open(tmp_path / "a", verify=True)
    assert store.covered.any()
    values = np.random.default_rng(0).standard_normal((4096, 64)).astype(np.float32)
    rows = np.flatnonzero(store.covered)
    kept = store.descriptors[rows]
    right = (kept == values[rows]).all(axis=1) | (kept == values[rows] + np.float32(1)).all(axis=1)
    assert right.all()


LIMITED = """
import resource, sys, numpy as np
from crosslocate.errors import StoreError
from crosslocate.retrieval.store import DescriptorStore
folder, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if sys.argv[3] == "create":
        DescriptorStore.create(folder, 1000, 64)
    else:
        store = DescriptorStore.open(folder, writable=True)
        for row in range(0, 1000, 10):
            store.write(np.arange(row, row + 10), np.ones((10, 64)))
except StoreError as error:
    print(error)
"""


def limited(folder, limit, action):
    command = [sys.executable, "-c", LIMITED, str(folder), str(limit), action]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_file_system_that_takes_no_more_is_an_error_at_once(tmp_path):
    assert "no room for 0.00 GiB of descriptors in" in limited(tmp_path / "a", 100_000, "create")
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_before_a_full_disk_is_kept(tmp_path):
    """As on a file system that promises space and has none: writes fail one day, and no map raises SIGBUS."""
    DescriptorStore.create(tmp_path / "a", 1000, 64)
    said = limited(tmp_path / "a", 100_000, "write")
    assert "descriptors.bin cannot be written" in said
    assert "what was written before is kept" in said
    store = DescriptorStore.open(tmp_path / "a", writable=True, verify=True)
    assert np.flatnonzero(store.covered).tolist() == list(range(390))
    store.write(store.missing(), np.ones((610, 64)))
    store.require_complete()


def test_without_reservations_free_space_is_asked_for(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    fill(tmp_path / "a").verify()
    with pytest.raises(OSError, match="No space left"):
        reserve(tmp_path / "b", 1 << 60)


def test_drafts_of_killed_processes_are_removed_and_others_left(tmp_path):
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    abandoned, living, elsewhere = (
        tmp_path / f".a.{machine}.{process}.00ff00ff.tmp"
        for machine, process in ((host, dead.pid), (host, os.getpid()), (f"{host}x", dead.pid))
    )
    for draft in (abandoned, living, elsewhere):
        draft.mkdir()
    fill(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", living.name, elsewhere.name])
