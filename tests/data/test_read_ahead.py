"""Read-ahead: the same contents, errors and order as reading one file after the other, bounded, in any process."""

import math
import multiprocessing
import os
import pickle
import shutil
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.data import archive as archive_module
from crosslocate.data import read_ahead, storage
from crosslocate.data import requests as requests_module
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.open_archives import OpenArchives
from crosslocate.data.read_ahead import ReadAhead
from crosslocate.data.reader import ImageReader
from crosslocate.data.requests import read_one, requests
from crosslocate.data.schema import SCHEMA
from crosslocate.errors import DataError

SIZE = (12, 16)
NAMES = [f"{i:03d}.bin" for i in range(40)]
CONTENTS = {
    name: np.random.default_rng(i).bytes((37 * i) % 2000 + (90_000 if i % 7 == 0 else 0))
    for i, name in enumerate(NAMES)
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The same files in a folder, in a ZIP archive with deflated and stored members, and in a tar archive."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "plain.zip.d").mkdir()
    order = np.random.default_rng(0).permutation(NAMES)
    with zipfile.ZipFile(folder / "a.zip", "w") as zipped, tarfile.open(folder / "a.tar", "w") as tarred:
        for k, name in enumerate(order):
            path = folder / "plain.zip.d" / name
            path.write_bytes(CONTENTS[name])
            zipped.write(path, f"in/{name}", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[k % 2])
            tarred.add(path, f"in/{name}")
    (folder / "broken.zip").write_bytes(b"no archive")
    return folder


def outcome(content):
    return str(content) if isinstance(content, DataError) else content


def files(root, chosen):
    return [root / place / name for place, name in chosen]


PLACES = st.sampled_from(["plain.zip.d", "a.zip/in", "a.tar/in", "broken.zip", "gone.zip/in"])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(PLACES, st.sampled_from([*NAMES, "gone.bin"])), max_size=80),
    st.integers(0, 5),
    st.sampled_from([-1.0, math.inf]),
)
def test_contents_are_those_of_single_reads_in_order(root, chosen, reads, slow):
    paths = files(root, chosen)
    expected = [outcome(read_one(path)) for path in paths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_ahead, "SLOW", slow)
        assert [outcome(content) for content in ReadAhead(reads).contents(paths)] == expected


def test_neighbours_in_an_archive_are_read_at_once(root, monkeypatch):
    paths = [root / "a.tar/in" / name for name in NAMES]
    asked = requests(paths)
    assert sorted(place for request in asked for place in request.places) == list(range(len(NAMES)))
    assert [request.places[0] for request in asked] == sorted(request.places[0] for request in asked)
    lengths, pread = [], os.pread
    monkeypatch.setattr(archive_module.os, "pread", lambda f, n, at: lengths.append(n) or pread(f, n, at))
    for request in asked:
        assert request.read() == [CONTENTS[NAMES[place]] for place in request.places]
    assert len(lengths) == len(asked) < len(NAMES) / 4
    assert sum(lengths) < (root / "a.tar").stat().st_size
    monkeypatch.setattr(archive_module, "TOGETHER", 0)
    assert len(requests(paths)) == len(NAMES)


def test_a_read_of_several_that_fails_is_made_one_by_one(root, monkeypatch):
    """Only the member whose own bytes cannot be read is at fault."""
    index = storage.inside_archive(root / "a.tar/in")[0].index
    bad, pread = int(index.records[index.find(b"in/004.bin")]["offset"]), os.pread

    def damaged(file, length, offset):
        if offset <= bad < offset + length:
            raise OSError(5, "Input/output error")
        return pread(file, length, offset)

    monkeypatch.setattr(archive_module.os, "pread", damaged)
    found = list(ReadAhead(3).contents([root / "a.tar/in" / name for name in NAMES[:9]]))
    assert str(found.pop(4)) == f"{root}/a.tar: member in/004.bin Input/output error"
    assert found == [CONTENTS[name] for name in NAMES[:9] if name != "004.bin"]


class Held(ThreadPoolExecutor):
    """Threads whose reads wait until they are let go; what was handed to them is kept."""

    def __init__(self, reads, **_):
        super().__init__(1 if reads == ONE_THREAD else reads)
        self.handed, self.begun, self.let_go = [], threading.Semaphore(0), threading.Event()

    def submit(self, read):
        def held():
            self.begun.release()
            assert self.let_go.wait(60)
            return read()

        self.handed.append(super().submit(held))
        return self.handed[-1]

    def wait_for(self, count):
        """Until so many reads have begun, all of which wait."""
        for _ in range(count):
            assert self.begun.acquire(timeout=60)

    def finish(self):
        self.let_go.set()
        wait(self.handed, 60)


ONE_THREAD = 4


@pytest.fixture
def begin(root, monkeypatch):
    """Take the first file of a folder: the reader, what follows, its threads and the paths that were read."""
    read, taken = storage.read_bytes, []
    monkeypatch.setattr(storage, "read_bytes", lambda path: taken.append(path) or read(path))
    monkeypatch.setattr(read_ahead, "SLOW", -1.0)
    monkeypatch.setattr(read_ahead, "ThreadPoolExecutor", Held)

    def of(reads):
        ahead = ReadAhead(reads)
        contents = ahead.contents([root / "plain.zip.d" / name for name in NAMES])
        assert next(contents) == CONTENTS[NAMES[0]]
        return contents, ahead._threads[1], taken

    return of


def test_slow_files_are_read_at_the_same_time_but_not_too_many(root, begin):
    contents, threads, taken = begin(6)
    threads.wait_for(6)
    assert len(threads.handed) == 6, "what is not used holds up what follows"
    threads.finish()
    assert list(contents) == [CONTENTS[name] for name in NAMES[1:]]
    assert sorted(taken) == [root / "plain.zip.d" / name for name in NAMES]


def test_little_waits_to_be_used(begin, monkeypatch):
    contents, threads, _ = begin(3)
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 1)
    threads.finish()
    assert next(contents) == CONTENTS[NAMES[1]]
    assert next(contents) == CONTENTS[NAMES[2]]
    assert len(threads.handed) == 3, "as long as one waits, none is added"
    contents.close()


def test_whoever_leaves_early_begins_nothing_more(begin):
    contents, threads, taken = begin(ONE_THREAD)
    threads.wait_for(1)
    contents.close()
    threads.finish()
    assert [read.cancelled() for read in threads.handed] == [False, True, True, True]
    assert len(taken) == 2
    assert list(ReadAhead(4).contents([])) == []


def test_archives_that_open_quickly_need_no_threads(root, tmp_path, monkeypatch):
    paths = [Path(shutil.copy(root / "a.zip", tmp_path / f"{k}.zip")) / "in" / NAMES[k] for k in range(8)]
    seen, opened = [], requests_module._opened

    def watched(path):
        seen.append(threading.current_thread().name)
        return opened(path)

    monkeypatch.setattr(requests_module, "_opened", watched)
    for slow, threaded in ((math.inf, 0), (-1.0, 7)):
        ahead, seen[:] = ReadAhead(4), []
        monkeypatch.setattr(read_ahead, "SLOW", slow)
        assert list(ahead.contents(paths)) == [CONTENTS[name] for name in NAMES[:8]]
        assert len(seen) == 8
        assert sum(name.startswith("read-ahead") for name in seen) == threaded
        assert (ahead._threads is None) == (not threaded)


def test_quick_files_need_no_threads(root):
    ahead = ReadAhead(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_ahead, "SLOW", math.inf)
        assert len(list(ahead.contents([root / "a.zip/in" / name for name in NAMES]))) == len(NAMES)
    assert ahead._threads is None


@pytest.fixture
def threads_always(monkeypatch):
    monkeypatch.setattr(read_ahead, "SLOW", -1.0)


@pytest.mark.usefixtures("threads_always")
@pytest.mark.parametrize("cached", [False, True])
def test_images_and_errors_are_the_same(tiny_dataset, tmp_path, cached):
    root = shutil.copytree(tiny_dataset, tmp_path / "data")
    catalog = read_catalog(root / "database.parquet")
    cache = [tmp_path / f"cache_{k}" if cached else None for k in range(2)]
    plain, ahead = (
        ImageReader(catalog, ["depth", "segments"], SIZE, cache=folder, read_ahead=reads)
        for folder, reads in zip(cache, (0, 7), strict=True)
    )
    rows = np.random.default_rng(0).integers(0, len(catalog), 90)
    expected, found = plain.read(rows), ahead.read(rows)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    gone, broken = [row for row in range(len(catalog)) if row not in rows][:2]
    catalog.image_path("depth", gone).unlink()
    catalog.image_path("depth", broken).write_bytes(b"\x76\x2f\x31\x01 nothing")
    first = sorted([gone, broken])[0]
    for order in ([gone, broken], [broken, gone], [5, gone, 6, broken, 7]):
        messages = []
        for reader in (plain, ahead):
            with pytest.raises(DataError) as caught:
                reader.read(order)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        row = first if cached else next(row for row in order if row in (gone, broken))
        assert f"database.parquet row {row} (" in messages[0]


def read_and_send(reader, rows, out):
    out.put({name: values.tobytes() for name, values in reader.read(rows).items()})


@pytest.mark.usefixtures("threads_always")
def test_forked_processes_have_threads_of_their_own(tiny_dataset):
    reader = ImageReader(read_catalog(tiny_dataset / "database.parquet"), ["depth"], SIZE, read_ahead=3)
    rows = np.arange(20)
    expected = reader.read(rows)["depth"].tobytes()
    assert reader._ahead._threads is not None
    assert pickle.loads(pickle.dumps(reader)).read(rows)["depth"].tobytes() == expected
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    processes = [context.Process(target=read_and_send, args=(reader, rows, out)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [out.get(timeout=60) for _ in processes] == [{"depth": expected}] * 2
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


def test_few_archives_stay_open(root, tmp_path):
    paths = [Path(shutil.copy(root / "a.zip", tmp_path / f"{k}.zip")) for k in range(6)]
    opened = OpenArchives(lambda path: archive_module.Archive(Path(path)), most=3)
    first = opened.get(str(paths[0]), (0, 0))
    for path in (*paths, paths[0], paths[5]):
        assert opened.get(str(path), (0, 0)).read(b"in/005.bin") == CONTENTS["005.bin"]
    assert len(opened) == 3
    assert first.read(b"in/005.bin") == CONTENTS["005.bin"], "whoever still reads from one goes on"
    again = opened.get(str(paths[0]), (0, 0))
    assert opened.get(str(paths[0]), (0, 0)) is again
    assert opened.get(str(paths[0]), (0, 1)) is not again, "it has changed"
    number = again._file
    del again
    opened.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_threads_wait_for_the_one_that_looks_for_the_members(root):
    made, barrier = [], threading.Barrier(8)

    def make(path):
        time.sleep(0.05)
        made.append(path)
        return archive_module.Archive(Path(path))

    opened, found = OpenArchives(make), []

    def ask():
        barrier.wait()
        found.append(opened.get(str(root / "a.zip"), (1, 1)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(archive is found[0] for archive in found)


def test_an_archive_that_cannot_be_opened_is_tried_again(root, tmp_path):
    opened = OpenArchives(lambda path: archive_module.Archive(Path(path)))
    with pytest.raises(DataError, match="No such file"):
        opened.get(str(tmp_path / "a.zip"), (1, 1))
    shutil.copy(root / "a.zip", tmp_path / "a.zip")
    assert len(opened.get(str(tmp_path / "a.zip"), (1, 1)).index) == len(NAMES)


@pytest.mark.usefixtures("threads_always")
def test_an_archive_is_read_like_a_folder(tiny_dataset, tmp_path):
    catalog = read_catalog(tiny_dataset / "database.parquet")
    shutil.make_archive(str(tmp_path / "depth"), "zip", tiny_dataset / "database", "depth")
    packed = replace(catalog, images={"depth": f"{tmp_path}/depth.zip/depth/{{name}}.exr"})
    rows = np.random.default_rng(1).integers(0, len(catalog), 50)
    found = ImageReader(packed, ["depth"], SIZE, read_ahead=4).read(rows)
    np.testing.assert_array_equal(found["depth"], ImageReader(catalog, ["depth"], SIZE).read(rows)["depth"])


@pytest.mark.usefixtures("threads_always")
def test_more_shards_than_stay_open_are_read_like_a_folder(tiny_dataset, tmp_path, monkeypatch):
    catalog = read_catalog(tiny_dataset / "database.parquet")
    for place in range(8):
        with tarfile.open(tmp_path / f"{place}.tar", "w") as file:
            for row in np.flatnonzero(np.asarray(catalog.place) == place):
                path = catalog.image_path("depth", row)
                file.add(path, f"depth/{path.name}")
    columns = {name: catalog.table[name].combine_chunks() for name in SCHEMA.names}
    write_catalog(tmp_path / "shards.parquet", columns, "database", {"depth": "{place}.tar/depth/{name}.exr"})
    few = OpenArchives(storage._open, most=2)
    monkeypatch.setattr(storage, "_archives", few)
    rows = np.random.default_rng(1).permutation(len(catalog))
    expected = ImageReader(catalog, ["depth"], SIZE).read(rows)["depth"]
    for reads in (0, 5):
        reader = ImageReader(read_catalog(tmp_path / "shards.parquet"), ["depth"], SIZE, read_ahead=reads)
        np.testing.assert_array_equal(reader.read(rows)["depth"], expected)
        assert len(few) == 2
    key = ImageReader(read_catalog(tmp_path / "shards.parquet"), ["depth"], SIZE)._key
    before = key("depth")
    shutil.copy(tmp_path / "7.tar", tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "7.tar")
    assert key("depth") != before, "a shard was replaced: what is cached of it may be old"
