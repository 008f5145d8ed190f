from pathlib import Path

import numpy as np
import pytest

from crosslocate.retrieval.blocks import blocks, give_back, is_mapped, take


def resident(array):
    """KiB of an array's mapping that are resident, by the kernel; it may map two MiB where a page is asked for."""
    first = array.ctypes.data
    found = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            low, high = (int(end, 16) for end in head.split("-"))
            inside = low <= first < high
        elif inside and line.startswith("Rss:"):
            found = int(line.split()[1])
    return found


@pytest.fixture
def stored(tmp_path):
    values = np.random.default_rng(0).standard_normal((40_001, 257)).astype(np.float32)
    values.tofile(tmp_path / "values.bin")
    return values, np.memmap(tmp_path / "values.bin", np.float32, "r", shape=values.shape)


@pytest.mark.parametrize("rows", [1, 7, 1000, 4001, 9999])
def test_blocks_are_the_whole_in_order(stored, rows):
    values, mapped = (array[:4001] for array in stored)
    for database in (values[:50], mapped[:50], mapped[13:] if rows > 7 else mapped[13:60]):
        parts = list(blocks(database, rows))
        assert [start for start, _ in parts] == list(range(0, len(database), rows))
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), database)


def test_no_more_than_a_block_stays_resident(stored):
    values, mapped = stored
    whole = values.nbytes // 1024
    assert mapped.sum() != 0
    assert resident(mapped) >= whole
    give_back(mapped)
    assert resident(mapped) == 0
    for _, part in blocks(mapped, 2000):
        assert part.sum() != 0
        assert resident(mapped) < whole / 4
    assert resident(mapped) < whole / 8
    found = take(mapped, np.array([4000, 3, 3, 17]))
    assert resident(mapped) == 0
    np.testing.assert_array_equal(found, values[[4000, 3, 3, 17]])


def test_changes_that_are_in_memory_alone_are_kept(stored, tmp_path):
    values, _ = stored
    own = np.memmap(tmp_path / "values.bin", np.float32, "c", shape=values.shape)
    own[5] = 1
    list(blocks(own, 100))
    give_back(own)
    assert (own[5] == 1).all()
    assert not is_mapped(own)
    shared = np.memmap(tmp_path / "values.bin", np.float32, "r+", shape=values.shape)
    shared[7] = 2
    give_back(shared)
    assert (shared[7] == 2).all()
