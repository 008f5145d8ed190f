"""The descriptor memory: what it holds, and that a run killed at any moment finds it as its checkpoint left it."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import ConfigError, StoreError, UnwritableError
from crosslocate.mining import memory as module
from crosslocate.mining.descriptors import RowDescriptors
from crosslocate.mining.memory import DescriptorMemory
from crosslocate.mining.refresh import Moment
from crosslocate.mining.remembering import MemoryRefresh
from crosslocate.mining.undo import UndoLog

ROWS, SIZE = 60, 4


class KilledError(Exception):
    pass


def descriptors(rows, index):
    """What the weights of a round make of rows; exact in half precision."""
    return (np.asarray(rows)[:, None] + index * 0.25 + np.arange(SIZE)).astype(np.float32)


def content(memory):
    return np.array(memory.values), np.array(memory.rounds)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


STEPS = ("before", "log", "half", "values", "written")


def kill_at(patch, step):
    """Have the next `put` end at a step, as a killed process would: what was done before stays."""
    write, put = UndoLog.write, DescriptorMemory._write

    def log(self, *arguments):
        if step == "before":
            raise KilledError
        write(self, *arguments)
        if step == "log":
            raise KilledError

    def store(self, rows, rounds, values):
        if step == "half":
            self.values[rows[::2]] = values[::2]
            raise KilledError
        if step == "values":
            self.values[rows] = values
            raise KilledError
        put(self, rows, rounds, values)
        raise KilledError

    patch.setattr(UndoLog, "write", log)
    patch.setattr(DescriptorMemory, "_write", store)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_memory_goes_back_to_any_of_its_last_rounds_however_it_was_killed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("m") / "memory"
    memory, states = DescriptorMemory.create(folder, ROWS, SIZE), []
    rounds = data.draw(st.integers(1, 7))
    lists = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=20, unique=True).map(sorted)
    for index in range(rounds):
        states.append(content(memory))
        rows = np.array(data.draw(lists))
        memory.put(index, rows, descriptors(rows, index))
        assert same((memory.values[rows], memory.rounds[rows]), (descriptors(rows, index), np.full(len(rows), index)))
    states.append(content(memory))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, data.draw(st.sampled_from(STEPS)))
        rows = np.array(data.draw(lists))
        with pytest.raises(KilledError):
            memory.put(rounds, rows, descriptors(rows, rounds))
    back = data.draw(st.integers(max(0, rounds + 1 - module.KEPT_LOGS), rounds))
    again = DescriptorMemory(folder)
    assert again.go_back(back)
    assert same(content(again), states[back])
    assert DescriptorMemory(folder).go_back(back)  # once more, as when the resumed run is killed too
    assert same(content(again), states[back])


def test_going_back_that_is_killed_itself_is_done_anew(tmp_path, monkeypatch):
    memory, states = DescriptorMemory.create(tmp_path / "memory", ROWS, SIZE), []
    for index in range(3):
        states.append(content(memory))
        memory.put(index, np.arange(index, 30), descriptors(np.arange(index, 30), index))
    with monkeypatch.context() as patch:
        kill_at(patch, "half")
        with pytest.raises(KilledError):
            memory.go_back(1)
    assert DescriptorMemory(tmp_path / "memory").go_back(1)
    assert same(content(memory), states[1])


def test_a_memory_that_cannot_go_back_is_left_alone(tmp_path):
    memory = DescriptorMemory.create(tmp_path / "memory", ROWS, SIZE)
    for index in range(6):
        memory.put(index, np.arange(5), descriptors(np.arange(5), index))
    before = content(memory)
    assert not memory.go_back(2)  # its log is gone
    assert not memory.go_back(8)  # it never came that far
    assert same(content(memory), before)
    assert memory.go_back(6)


def test_what_cannot_be_kept_is_refused(tmp_path, monkeypatch):
    memory = DescriptorMemory.create(tmp_path / "memory", ROWS, SIZE)
    with pytest.raises(StoreError, match="row 7 is not finite in half precision"):
        memory.put(0, np.array([3, 7]), np.array([[1.0] * SIZE, [1e6] * SIZE]))
    assert not memory.known.any()
    with pytest.raises(StoreError, match="no descriptor memory"):
        DescriptorMemory(tmp_path)
    with pytest.raises(ConfigError, match=r"mining\.refresh\.renewed=0"):
        MemoryRefresh(0)

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UnwritableError, match="No space left"):
        memory.put(0, np.array([3]), np.ones((1, SIZE)))
    assert not list((tmp_path / "memory" / "undo").iterdir())
    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no room for"):
        DescriptorMemory.create(tmp_path / "other", ROWS, SIZE)
    assert not (tmp_path / "other").exists()


class Extractor:
    """Embeds with the weights of a round, in this process."""

    is_first, sizes = True, (ROWS, SIZE)

    def __init__(self, folder):
        self.folder, self.index, self.extracted = folder, 0, []

    def database(self, rows, name="database"):
        self.extracted.append(len(rows))
        return RowDescriptors(rows, descriptors(rows, self.index))

    def by_first(self, work):
        if self.is_first:
            work()


def play(folder, first, last):
    """What rounds look at; positives and candidates are the same whenever a round is played."""
    refresh, extractor, seen = MemoryRefresh(6), Extractor(folder), []
    for index in range(first, last):
        rng, extractor.index = np.random.default_rng(index), index
        positives = np.sort(rng.choice(ROWS, 3, replace=False))
        candidates = np.sort(rng.choice(ROWS, 25, replace=False))
        moment = Moment(index, (0, 0, index))
        found = refresh.database(moment, positives, candidates, extractor)
        known = np.flatnonzero(found.known)
        seen.append((known, np.array(found.of(known)), refresh.ages(moment, known)))
    return seen, extractor


def test_each_round_extracts_positives_and_the_oldest_of_the_candidates(tmp_path):
    seen, extractor = play(tmp_path, 0, 12)
    assert all(count <= 9 for count in extractor.extracted)
    ages = np.full(ROWS, -1)
    for index, (known, values, told) in enumerate(seen):
        rng = np.random.default_rng(index)
        positives = rng.choice(ROWS, 3, replace=False)
        candidates = np.setdiff1d(rng.choice(ROWS, 25, replace=False), positives)
        fresh = known[told == 0]
        assert set(positives) <= set(fresh)
        renewed = np.setdiff1d(fresh, positives)
        assert len(renewed) == 6
        assert set(renewed) <= set(candidates)
        left = np.setdiff1d(candidates, renewed)
        assert ages[renewed].max() <= ages[left].min()  # the rounds of what is left are later
        ages[fresh] = index
        np.testing.assert_array_equal(known, np.flatnonzero(ages >= 0))
        np.testing.assert_array_equal(told, index - ages[known])
        for row, value in zip(known, values, strict=True):
            np.testing.assert_array_equal(value, descriptors([row], ages[row])[0])


@pytest.mark.parametrize("step", [None, *STEPS])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_run_that_is_resumed_looks_at_what_an_undisturbed_one_does(tmp_path, step, behind):
    whole, _ = play(tmp_path / "whole", 0, 8)
    play(tmp_path / "killed", 0, 5)
    if step is not None:  # while round 5 begins
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, step)
            refresh = MemoryRefresh(6)
            refresh._memory = DescriptorMemory(tmp_path / "killed" / "memory")
            with pytest.raises(KilledError):
                refresh.database(Moment(5, (0, 0, 5)), np.arange(3), np.arange(3, 20), Extractor(tmp_path / "killed"))
    seen, _ = play(tmp_path / "killed", 5 - behind, 8)
    assert all(same(a, b) for a, b in zip(seen, whole[5 - behind :], strict=True))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_undo_files_are_found_or_read_as_they_were(tmp_path_factory, data):
    log = UndoLog(tmp_path_factory.mktemp("undo"))
    rows, values = np.arange(3), np.ones((3, 2), np.float16)
    log.write(4, rows, values)
    (path,) = log._folder.iterdir()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(content)
    try:
        found = log.read(4)
    except StoreError:
        return
    assert same(found, (rows, values))


def test_a_run_with_a_damaged_undo_file_begins_with_an_empty_memory(tmp_path, caplog):
    play(tmp_path, 0, 5)
    (tmp_path / "memory" / "undo" / "00000004.npz").write_bytes(b"")
    seen, _ = play(tmp_path, 4, 5)
    assert len(seen[0][0]) <= 9
    assert "00000004.npz cannot be read" in caplog.text


def test_a_run_without_its_memory_says_so_and_begins_with_an_empty_one(tmp_path, caplog):
    play(tmp_path, 0, 5)
    shutil.rmtree(tmp_path / "memory" / "undo")
    seen, _ = play(tmp_path, 3, 5)
    assert len(seen[0][0]) <= 9
    told = [r.getMessage() for r in caplog.records if r.name.startswith("crosslocate")]
    assert len(told) == 1
    assert "empty descriptor memory" in told[0]


def test_a_new_run_in_the_same_folder_begins_with_an_empty_memory(tmp_path):
    first, _ = play(tmp_path, 0, 4)
    second, _ = play(tmp_path, 0, 4)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


def test_only_the_first_process_writes(tmp_path):
    refresh, extractor = MemoryRefresh(6), Extractor(tmp_path)
    DescriptorMemory.create(tmp_path / "memory", ROWS, SIZE)
    extractor.is_first = False
    found = refresh.database(Moment(0, (0,)), np.arange(3), np.arange(10), extractor)
    assert not found.known.any()
