import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from crosslocate.config.validate import PRECISIONS
from crosslocate.data.reader import ImageReader
from crosslocate.errors import ConfigError, DataError, RunStopped, StoreError, UnwritableError
from crosslocate.lit.compilation import can_compile
from crosslocate.lit.restore import AUTOCAST, load_retriever
from crosslocate.lit.signals import listening
from crosslocate.localization.building import Extraction, build_index, fill_index
from crosslocate.localization.index import (
    data_root,
    index_fingerprint,
    index_folder,
    made_with,
    open_index,
    read_database,
    write_json,
)
from crosslocate.localization.share_job import leaving_notes
from crosslocate.retrieval.grid import Shard
from crosslocate.retrieval.store import DescriptorStore

BATCH = 10


def build(retriever, database, folder, split="all"):
    return build_index(
        retriever, database, folder, split=split, checkpoint="best.ckpt", batch_size=BATCH, workers=0
    )  # fmt: skip


@pytest.fixture
def encoded(depth_retriever, monkeypatch):
    """Numbers of views in the batches that the network embeds."""
    sizes = []
    encode = type(depth_retriever).encode

    def spy(self, role, inputs):
        sizes.append(len(inputs))
        return encode(self, role, inputs)

    monkeypatch.setattr(type(depth_retriever), "encode", spy)
    return sizes


def test_an_index_holds_the_descriptor_of_every_view(depth_retriever, tiny_dataset, tmp_path):
    database = read_database(tiny_dataset, "test")
    index = build(depth_retriever, database, tmp_path / "index", "test")
    images = torch.from_numpy(ImageReader(database, ["depth"], (24, 32)).read(np.arange(len(database)))["depth"])
    inputs = depth_retriever.pipeline.inputs("database", {"depth": images})
    expected = depth_retriever.encode("database", inputs).numpy()
    np.testing.assert_allclose(index.store.descriptors, expected, atol=1e-6)
    header = json.loads((tmp_path / "index" / "index.json").read_text())
    assert (header["split"], header["views"], header["checkpoint"]) == ("test", 24, "best.ckpt")
    assert Path(header["catalog"]) == (tiny_dataset / "database.parquet").resolve()


def test_a_finished_index_is_taken_as_it_is(depth_retriever, tiny_dataset, tmp_path, encoded):
    database = read_database(tiny_dataset, "val")
    first = build(depth_retriever, database, tmp_path, "val").store.descriptors.copy()
    encoded.clear()
    again = build(depth_retriever, database, tmp_path, "val")
    opened = open_index(depth_retriever, tmp_path)
    assert encoded == []
    np.testing.assert_array_equal(again.store.descriptors, first)
    np.testing.assert_array_equal(opened.store.descriptors, first)
    assert opened.database.names(np.arange(24)) == database.names(np.arange(24))


KILLED = """
import os, signal, sys, time
from pathlib import Path
from crosslocate.lit.restore import Retriever, load_retriever
from crosslocate.localization.building import build_index
from crosslocate.localization.index import read_database
from crosslocate.retrieval.store import COVERED

encode, calls = Retriever.encode, []

def dying(self, role, inputs):
    calls.append(len(inputs))
    if len(calls) == 3:
        while coverage.read_bytes().count(COVERED) < 2 * int(batch):  # a thread writes
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, role, inputs)

Retriever.encode = dying
checkpoint, root, folder, batch = sys.argv[1:]
coverage = Path(folder) / "descriptors/coverage.bin"
database = read_database(Path(root), "all")
build_index(load_retriever(checkpoint, "cpu"), database, Path(folder), split="all", checkpoint="best.ckpt",
            batch_size=int(batch), workers=0)
"""


def test_a_killed_build_continues_and_ends_as_an_uninterrupted_one(
    depth_retriever, depth_checkpoint, tiny_dataset, tmp_path, encoded
):
    arguments = [str(depth_checkpoint), str(tiny_dataset), str(tmp_path / "killed"), str(BATCH)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, env=environment, timeout=120)
    assert child.returncode == -signal.SIGKILL
    database = read_database(tiny_dataset, "all")
    with pytest.raises(StoreError, match=r"lacks 76 of 96 descriptors: rows 20 \(p0001_h240\)"):
        open_index(depth_retriever, tmp_path / "killed")
    continued = build(depth_retriever, database, tmp_path / "killed")
    assert encoded == [10, 10, 10, 10, 10, 10, 10, 6]
    whole = build(depth_retriever, database, tmp_path / "whole")
    np.testing.assert_array_equal(continued.store.descriptors, whole.store.descriptors)


def fill(retriever, database, folder, opened=lambda: None, **changes):
    way = Extraction(**{"batch_size": BATCH, "workers": 0, "visible": False, **changes})
    return fill_index(retriever, database, folder, way, split="all", checkpoint="best.ckpt", opened=opened)


def content(folder):
    """Every byte of an index's store."""
    return {path.name: path.read_bytes() for path in (folder / "descriptors").iterdir()}


@pytest.fixture(scope="module")
def plain_index(depth_retriever, tiny_dataset, tmp_path_factory):
    """Folder of an index of all 96 views that was built at once."""
    folder = tmp_path_factory.mktemp("plain")
    fill(depth_retriever, read_database(tiny_dataset, "all"), folder)
    return folder


@pytest.mark.parametrize(("count", "workers"), [(1, 1), (2, 0), (3, 0)])
def test_any_number_of_processes_and_workers_gives_the_same_bytes(
    depth_retriever, tiny_dataset, tmp_path, plain_index, count, workers
):
    database = read_database(tiny_dataset, "all")
    written = [
        fill(depth_retriever, database, tmp_path, shard=Shard(number, count), workers=workers).report.written
        for number in reversed(range(count))
    ]
    assert written == {1: [96], 2: [46, 50], 3: [30, 30, 36]}[count]
    assert content(tmp_path) == content(plain_index)


def test_a_batch_that_lacks_a_row_is_embedded_whole_in_the_grid_that_the_index_has(
    depth_retriever, tiny_dataset, tmp_path, plain_index, encoded, capsys
):
    shutil.copytree(plain_index, tmp_path, dirs_exist_ok=True)
    DescriptorStore.open(tmp_path / "descriptors", writable=True).discard([3, 8, 95])
    fill(depth_retriever, read_database(tiny_dataset, "all"), tmp_path, batch_size=7, visible=True)
    assert encoded == [10, 6]
    assert "was begun with batch_size=10, and goes on with it" in capsys.readouterr().err
    assert content(tmp_path) == content(plain_index)


def test_damaged_rows_are_made_again_when_asked(depth_retriever, tiny_dataset, tmp_path, plain_index, encoded, capsys):
    shutil.copytree(plain_index, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "descriptors/descriptors.bin"
    damaged = bytearray(file.read_bytes())
    for row in (4, 41):
        damaged[row * len(damaged) // 96 + 5] ^= 16
    file.write_bytes(damaged)
    database = read_database(tiny_dataset, "all")
    open_index(depth_retriever, tmp_path)
    with pytest.raises(StoreError, match=r"2 of 96 descriptors do not fit their checksums: rows 4, 41"):
        open_index(depth_retriever, tmp_path, verify=True)
    for number in (0, 1):
        fill(depth_retriever, database, tmp_path, verify=True, shard=Shard(number, 2))
    assert encoded == [10, 10]
    assert content(tmp_path) == content(plain_index)
    said = capsys.readouterr().err
    assert "2 damaged descriptors (rows 4, 41) are made again" in said


def test_a_signal_ends_a_build_after_its_batch_and_the_same_continues(
    depth_retriever, tiny_dataset, tmp_path, plain_index, encoded, monkeypatch, capsys
):
    database, spy = read_database(tiny_dataset, "all"), type(depth_retriever).encode

    def interrupted(self, role, inputs):
        if len(encoded) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return spy(self, role, inputs)

    monkeypatch.setattr(type(depth_retriever), "encode", interrupted)
    with pytest.raises(RunStopped, match="terminated"), listening(), leaving_notes() as note:
        fill(depth_retriever, database, tmp_path, opened=lambda: note(tmp_path / "descriptors"))
    assert encoded == [10] * 4
    assert "40 of 96 descriptors are there; the same command continues" in capsys.readouterr().err
    monkeypatch.setattr(type(depth_retriever), "encode", spy)
    fill(depth_retriever, database, tmp_path)
    assert encoded == [10] * 9 + [6]
    assert content(tmp_path) == content(plain_index)


@contextmanager
def file_size_limit(size):
    """As on a full disk, no file of this process can grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_is_finished(depth_retriever, tiny_dataset, tmp_path, plain_index, encoded):
    database = read_database(tiny_dataset, "all")
    row = len(content(plain_index)["descriptors.bin"]) // 96
    with file_size_limit(35 * row) as limited, pytest.raises(StoreError, match=r"descriptors\.bin cannot be written"):
        fill(depth_retriever, database, tmp_path, opened=limited)
    assert np.flatnonzero(DescriptorStore.open(tmp_path / "descriptors", verify=True).covered).tolist() == list(
        range(30)
    )
    encoded.clear()
    fill(depth_retriever, database, tmp_path)
    assert encoded == [10] * 6 + [6]
    assert content(tmp_path) == content(plain_index)


def test_small_files_that_cannot_be_written_are_an_error_and_leave_the_old_ones(tmp_path):
    write_json(tmp_path / "extraction.json", {"written": 3})
    with file_size_limit(2) as limited:
        limited()
        with pytest.raises(UnwritableError, match=r"extraction\.json cannot be written \(File too large\).*continues"):
            write_json(tmp_path / "extraction.json", {"written": 4})
    assert json.loads((tmp_path / "extraction.json").read_text()) == {"written": 3}
    assert len(list(tmp_path.iterdir())) == 1


def test_precision_compilation_and_dtype_belong_to_an_index(depth_checkpoint, tiny_dataset, tmp_path, plain_index):
    database = read_database(tiny_dataset, "all")
    ways = [{}, {"precision": "bf16-mixed"}, {"precision": "16-mixed"}, {"compiled": True}]
    retrievers = [load_retriever(depth_checkpoint, "cpu", **way) for way in ways]
    assert len({index_fingerprint(r, database, dtype) for r in retrievers for dtype in ("float32", "float16")}) == 8
    half = retrievers[1]
    fill(half, database, tmp_path, dtype="float16")
    assert made_with(tmp_path) == {"precision": "bf16-mixed", "compiled": False}
    opened = open_index(load_retriever(depth_checkpoint, "cpu", **made_with(tmp_path)), tmp_path).store
    assert opened.header.dtype == "float16"
    full = DescriptorStore.open(plain_index / "descriptors").descriptors
    assert not np.array_equal(opened.descriptors, full.astype(np.float16))
    np.testing.assert_allclose(opened.descriptors, full, atol=0.02)
    with pytest.raises(StoreError, match=r"made with precision=bf16-mixed, compile=False, not with precision=32-true"):
        open_index(retrievers[0], tmp_path)
    with pytest.raises(ConfigError, match=r"precision='64-true'.*32-true, bf16-mixed, 16-mixed"):
        load_retriever(depth_checkpoint, "cpu", precision="64-true")
    assert tuple(AUTOCAST) == PRECISIONS


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_network_gives_the_same_bytes_however_it_is_interrupted(
    depth_checkpoint, tiny_dataset, tmp_path, plain_index
):
    assert can_compile("cpu")
    database = read_database(tiny_dataset, "all")
    fill(load_retriever(depth_checkpoint, "cpu", compiled=True), database, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    store = DescriptorStore.open(tmp_path / "again/descriptors", writable=True)
    store.discard([20, 95])
    torch._dynamo.reset()
    fill(load_retriever(depth_checkpoint, "cpu", compiled=True), database, tmp_path / "again", shard=Shard(1, 2))
    fill(load_retriever(depth_checkpoint, "cpu", compiled=True), database, tmp_path / "again")
    assert content(tmp_path / "again") == content(tmp_path / "whole")
    plain = DescriptorStore.open(plain_index / "descriptors").descriptors
    np.testing.assert_allclose(store.descriptors, plain, atol=1e-4)


def test_without_a_compiler_that_is_said(monkeypatch, capsys):
    def lacking(*_, **__):
        raise RuntimeError("\nNo working C++ compiler found\nin a long list of places")

    monkeypatch.setattr(torch, "compile", lacking)
    assert not can_compile("cpu")
    assert "torch.compile does not work here (No working C++ compiler found)" in capsys.readouterr().err


def test_other_weights_or_other_views_are_refused(depth_retriever, photo_retriever, tiny_dataset, tmp_path):
    build(depth_retriever, read_database(tiny_dataset, "val"), tmp_path / "index", "val")
    with pytest.raises(StoreError, match=r"was made with fingerprint .* other weights"):
        open_index(photo_retriever, tmp_path / "index")
    both = r"index holds another index \(of .*database\.parquet, split val, .*remove that folder, or .* with output="
    with pytest.raises(StoreError, match=both):
        build(depth_retriever, read_database(tiny_dataset, "test"), tmp_path / "index", "test")


def test_a_copy_of_a_data_set_has_the_same_index_and_that_is_said(depth_retriever, tiny_dataset, tmp_path, capsys):
    copy = shutil.copytree(tiny_dataset, tmp_path / "copy")
    build(depth_retriever, read_database(tiny_dataset, "val"), tmp_path / "index", "val")
    assert "serves both" not in capsys.readouterr().err
    build(depth_retriever, read_database(copy, "val"), tmp_path / "index", "val")
    assert f"the views and images of {copy.resolve()}/database.parquet are the same" in capsys.readouterr().err
    assert open_index(depth_retriever, tmp_path / "index").database.root == copy.resolve()
    shutil.copy(copy / "database/depth/p0005_h120.exr", copy / "database/depth/p0004_h000.exr")
    with pytest.raises(StoreError, match=r"was made with fingerprint .* other views or images"):
        open_index(depth_retriever, tmp_path / "index")


def test_the_fingerprint_tells_weights_views_and_renderings_apart(
    depth_retriever, photo_retriever, tiny_dataset, tmp_path
):
    copy = shutil.copytree(tiny_dataset, tmp_path / "copy")
    plain, moved = read_database(tiny_dataset, "all"), read_database(copy, "all")
    assert index_fingerprint(depth_retriever, plain) == index_fingerprint(depth_retriever, moved)
    first = copy / "database/depth/p0000_h000.exr"
    content = first.read_bytes()
    shutil.copy(copy / "database/depth/p0005_h120.exr", first)  # equal names and poses, another image
    assert index_fingerprint(depth_retriever, plain) != index_fingerprint(depth_retriever, moved)
    first.write_bytes(content)
    (copy / "manifest.json").write_text("{}")
    prints = {
        index_fingerprint(depth_retriever, plain),
        index_fingerprint(depth_retriever, moved),
        index_fingerprint(depth_retriever, read_database(tiny_dataset, "val")),
        index_fingerprint(photo_retriever, plain),
    }
    assert len(prints) == 4
    assert index_folder(tmp_path, depth_retriever, plain).parent == tmp_path / "index"


def test_missing_images_are_named_before_anything_is_embedded(depth_retriever, tiny_dataset, tmp_path, encoded):
    root = shutil.copytree(tiny_dataset, tmp_path / "set")
    (root / "database/depth/p0003_h090.exr").unlink()
    with pytest.raises(DataError, match=r"p0003_h090\.exr of .* row 39"):
        build(depth_retriever, read_database(root, "all"), tmp_path / "index")
    assert encoded == []


def test_no_index_or_a_damaged_one_says_what_to_do(depth_retriever, tmp_path):
    with pytest.raises(StoreError, match=r"no index in .*index\.json is missing"):
        open_index(depth_retriever, tmp_path)
    (tmp_path / "index.json").write_text('{"format": 3}')
    with pytest.raises(StoreError, match=r"index\.json is damaged.*catalog"):
        open_index(depth_retriever, tmp_path)
    (tmp_path / "index.json").write_text('{"format": 9}')
    with pytest.raises(StoreError, match=r"format 9; this version reads format 3: remove .* and build"):
        open_index(depth_retriever, tmp_path)


def test_an_unknown_split_names_those_that_exist(tiny_dataset):
    with pytest.raises(DataError, match=r"split 'tset' has no rows.*test, train, val"):
        read_database(tiny_dataset, "tset")


def test_the_data_set_of_the_run_is_made_first_when_it_can_be(depth_retriever, tmp_path):
    config = depth_retriever.config.copy()
    config.dataset.root = str(tmp_path / "made")
    config.dataset.prepare = {"_target_": "os.makedirs", "_partial_": True}
    assert data_root(config, None) == tmp_path / "made"
    assert (tmp_path / "made").is_dir()
    assert data_root(config, str(tmp_path / "other")) == tmp_path / "other"
    assert not (tmp_path / "other").exists()
