import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crosslocate.data.reader import ImageReader
from crosslocate.errors import DataError, StoreError
from crosslocate.localization.building import build_index
from crosslocate.localization.index import (
    data_root,
    index_fingerprint,
    index_folder,
    open_index,
    read_database,
)

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


def test_other_weights_or_other_views_are_refused(depth_retriever, photo_retriever, tiny_dataset, tmp_path):
    build(depth_retriever, read_database(tiny_dataset, "val"), tmp_path / "index", "val")
    with pytest.raises(StoreError, match=r"was made with fingerprint .* other weights"):
        open_index(photo_retriever, tmp_path / "index")
    with pytest.raises(StoreError, match=r"was made with fingerprint"):
        build(depth_retriever, read_database(tiny_dataset, "test"), tmp_path / "index", "test")


def test_the_fingerprint_tells_weights_views_and_renderings_apart(
    depth_retriever, photo_retriever, tiny_dataset, tmp_path
):
    copy = shutil.copytree(tiny_dataset, tmp_path / "copy")
    plain, moved = read_database(tiny_dataset, "all"), read_database(copy, "all")
    assert index_fingerprint(depth_retriever, plain) == index_fingerprint(depth_retriever, moved)
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
    (tmp_path / "index.json").write_text('{"format": 2}')
    with pytest.raises(StoreError, match=r"index\.json is damaged.*catalog"):
        open_index(depth_retriever, tmp_path)
    (tmp_path / "index.json").write_text('{"format": 9}')
    with pytest.raises(StoreError, match=r"format 9; this version reads format 2: remove .* and build"):
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
