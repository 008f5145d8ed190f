"""Staging: copied once, again only what changed, whatever happens in between; reading is the same from the copies."""

import multiprocessing
import os
import shutil
import tarfile
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crosslocate.data import decompression, staging, storage
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.completeness import missing_images
from crosslocate.data.decompression import plain_path
from crosslocate.data.reader import ImageReader
from crosslocate.data.schema import SCHEMA
from crosslocate.data.staging import stage, staged
from crosslocate.errors import ConfigError, DataError

SIZE = (12, 16)


@pytest.fixture
def dataset(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "data")


@pytest.fixture
def views(dataset):
    """Views whose depth lies in an archive with a folder in it, and whose segments lie in a folder."""
    catalog = read_catalog(dataset / "database.parquet")
    with zipfile.ZipFile(dataset / "depth.zip", "w") as file:
        for path in (dataset / "database/depth").iterdir():
            file.write(path, f"depth/{path.name}")
    (dataset / ".depth.zip.index").write_bytes(b"not an index")
    return replace(catalog, images={**catalog.images, "depth": "depth.zip/depth/{name}.exr"})


@pytest.fixture
def copied(monkeypatch):
    """Names of the files that were copied."""
    names, copy = [], staging._copy

    def counted(pair):
        copy(pair)
        names.append(Path(pair[0]).name)

    monkeypatch.setattr(staging, "_copy", counted)
    return names


def same(a, b):
    rows = np.arange(len(a))
    first, second = (ImageReader(catalog, ["depth", "segments"], SIZE).read(rows) for catalog in (a, b))
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_images_are_copied_once_and_read_from_the_copies(views, tmp_path, copied):
    train, both = views.split("train"), ["depth", "segments"]
    stage([(train, both), (views.split("val"), both)], tmp_path / "ssd")
    rows = {"train": np.arange(48), "val": np.arange(24)}
    segments = [f"{name}.png" for split in rows for name in views.split(split).names(rows[split])]
    assert sorted(copied) == sorted(["depth.zip", ".depth.zip.index", *segments])
    copied.clear()
    stage([(train, both)], tmp_path / "ssd")
    assert copied == []
    copy = staged(train, tmp_path / "ssd")
    assert list(missing_images(copy, both)) == []
    for name in both:
        assert copy.image_path(name, 3).is_relative_to(tmp_path / "ssd")
    assert same(copy, train)
    shutil.rmtree(views.root / "database")
    (views.root / "depth.zip").unlink()
    assert ImageReader(copy, both, SIZE).read([0])["depth"].shape == (1, *SIZE)


def test_only_what_changed_is_copied_again(views, tmp_path, copied):
    both = ["depth", "segments"]
    stage([(views, both)], tmp_path / "ssd")
    copied.clear()
    names = [views.image_path("segments", row) for row in (1, 2, 3)]
    names[0].write_bytes(names[1].read_bytes())
    os.utime(names[1], ns=(1, 1))
    (staged(views, tmp_path / "ssd").image_path("segments", 3)).write_bytes(b"half")
    stage([(views, both)], tmp_path / "ssd")
    assert sorted(copied) == sorted(path.name for path in names)
    assert same(staged(views, tmp_path / "ssd"), views)


def test_an_interrupted_copy_is_continued(views, tmp_path, monkeypatch, copied):
    copy, budget = staging._copy, [10]

    def interrupted(pair):
        budget[0] -= 1
        if budget[0] < 0:
            raise KeyboardInterrupt
        copy(pair)

    monkeypatch.setattr(staging, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage([(views, ["segments"])], tmp_path / "ssd")
    done = set(copied)
    assert 0 < len(done) < len(views)
    monkeypatch.setattr(staging, "_copy", copy)
    copied.clear()
    stage([(views, ["segments"])], tmp_path / "ssd")
    assert len(copied) == len(views) - len(done)
    assert done.isdisjoint(copied)


def test_a_failed_copy_leaves_nothing_half_done(views, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging.shutil, "copyfile", full)
    with pytest.raises(DataError, match=r"\.png cannot be copied to .*ssd.*: No space left on device"):
        stage([(views, ["segments"])], tmp_path / "ssd")
    assert [path.name for path in (tmp_path / "ssd").rglob("*") if path.is_file()] == [".lock"]


def test_room_is_looked_at_before_anything_is_copied(views, tmp_path, monkeypatch, copied):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: usage(2 << 26, 0, 1 << 26))
    size = (views.root / "depth.zip").stat().st_size + len(b"not an index")
    message = (
        rf"dataset\.staging='.*ssd' is not allowed; allowed: a folder with {size + (1 << 26):,} bytes free \(67,108,864"
    )
    with pytest.raises(ConfigError, match=message):
        stage([(views, ["depth"])], tmp_path / "ssd")
    assert copied == []
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="a folder to write to"):
        stage([(views, ["depth"])], tmp_path / "file")


def test_missing_images_are_named_before_anything_is_copied(views, tmp_path, copied):
    for row in range(7):
        views.image_path("segments", row).unlink()
    with pytest.raises(DataError, match=r"(?s)7 image files are missing:\n.*p0000_h000\.png.*and 2 more"):
        stage([(views, ["depth", "segments"])], tmp_path / "ssd")
    assert copied == []


def test_files_that_catalogs_share_are_copied_once(views, tmp_path, copied):
    both = [(views, ["segments"]), (views.split("val"), ["segments"]), (views.take([0, 5]), ["segments"])]
    stage(both, tmp_path / "ssd")
    assert len(copied) == len(set(copied)) == len(views)


@pytest.fixture
def compressed(views):
    """The views, with their depth in an archive that is compressed as a whole."""
    with tarfile.open(views.root / "depth.tar.gz", "w:gz") as file:
        file.add(views.root / "database/depth", "depth")
    return replace(views, images={**views.images, "depth": "depth.tar.gz/depth/{name}.exr"})


def test_compressed_archives_are_decompressed_into_the_folder(compressed, views, tmp_path, copied, monkeypatch):
    monkeypatch.setenv("CROSSLOCATE_CACHE", str(tmp_path / "cache"))
    both, folder = ["depth", "segments"], tmp_path / "ssd"
    stage([(compressed, both)], folder)
    copy = staged(compressed, folder)
    assert copy.image_path("depth", 0).is_relative_to(folder)
    assert not (tmp_path / "cache").exists()
    assert same(copy, views)
    monkeypatch.setattr(decompression, "_make", lambda *paths: pytest.fail("decompressed again"))
    copied.clear()
    stage([(compressed, both)], folder)
    assert copied == []
    monkeypatch.undo()
    os.utime(views.root / "depth.tar.gz", ns=(1, 1))
    stage([(compressed, both)], folder)
    assert staged(compressed, folder).image_path("depth", 0) != copy.image_path("depth", 0)
    assert not (folder / copy.image_path("depth", 0).relative_to(folder).parts[0]).exists()
    assert same(staged(compressed, folder), views)


def test_what_makes_a_data_set_decompresses_into_the_folder(make_datamodule, compressed, tmp_path):
    archive = compressed.root / "depth.tar.gz"
    module = make_datamodule(
        prepare=lambda root: set(storage.names(root / archive.name)), root=compressed.root, staging=tmp_path / "ssd"
    )
    module.prepare_data()
    assert plain_path(archive, tmp_path / "ssd").is_file()


@pytest.fixture
def sharded(dataset):
    """Views whose depth is spread over archives by a column, one for every two places."""
    catalog = read_catalog(dataset / "database.parquet")
    columns = {name: catalog.table[name].combine_chunks() for name in SCHEMA.names}
    shard = np.asarray(catalog.place) // 2
    for number in np.unique(shard):
        with tarfile.open(dataset / f"depth_{number}.tar", "w") as file:
            for row in np.flatnonzero(shard == number):
                path = catalog.image_path("depth", row)
                file.add(path, path.name)
    images = {**catalog.images, "depth": "depth_{shard}.tar/{name}.exr"}
    write_catalog(dataset / "sharded.parquet", {**columns, "shard": shard}, "database", images)
    return read_catalog(dataset / "sharded.parquet")


def test_of_shards_those_with_a_row_are_copied(sharded, views, tmp_path, copied):
    (sharded.root / ".depth_2.tar.index").write_bytes(b"not an index")
    folder, val = tmp_path / "ssd", sharded.split("val")
    stage([(val, ["depth"])], folder)
    assert sorted(copied) == [".depth_2.tar.index", "depth_2.tar"]
    stage([(sharded, ["depth", "segments"]), (sharded.split("train"), ["depth"])], folder)
    archives = [name for name in copied if name.endswith(".tar")]
    assert sorted(archives) == [f"depth_{k}.tar" for k in range(4)]
    copied.clear()
    stage([(sharded, ["depth", "segments"])], folder)
    assert copied == []
    copy = staged(sharded, folder)
    assert list(missing_images(copy, ["depth", "segments"])) == []
    assert copy.image_path("depth", 30) != sharded.image_path("depth", 30)
    assert same(sharded, views)
    for k in range(4):
        (sharded.root / f"depth_{k}.tar").unlink()
    assert same(copy, views)
    (sharded.root / "depth_3.tar").touch()
    with pytest.raises(DataError, match=r"(?s)3 image files are missing:\n.*depth_0\.tar"):
        stage([(sharded, ["depth"])], folder)


def test_compressed_shards_are_refused(sharded, tmp_path, copied):
    with tarfile.open(sharded.root / "depth_1.tar", "w:gz") as file:
        file.add(sharded.root / "database/depth", "depth")
    with pytest.raises(ConfigError, match=r"dataset\.staging=.*null, or shards .*\(.*depth_1\.tar is\)"):
        stage([(sharded, ["depth"])], tmp_path / "ssd")
    assert copied == []


def test_folders_by_a_column_are_copied_file_by_file(dataset, views, tmp_path, copied):
    """A template may spread images over folders, also such as are called like archives."""
    columns = {name: views.table[name].combine_chunks() for name in SCHEMA.names}
    place = np.asarray(views.place)
    for row in range(len(views)):
        source = dataset / "database/depth" / f"{views.name(row)}.exr"
        target = dataset / f"by_place/{place[row]}.zip" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    images = {**views.images, "depth": "by_place/{place}.zip/{name}.exr"}
    write_catalog(dataset / "spread.parquet", columns, "database", images)
    spread = read_catalog(dataset / "spread.parquet").split("val")
    stage([(spread, ["depth", "segments"])], tmp_path / "ssd")
    assert len(copied) == 2 * len(spread) == 48
    shutil.rmtree(dataset / "by_place")
    assert same(staged(spread, tmp_path / "ssd"), views.split("val"))


def stage_views(catalog, folder, out):
    names, copy = [], staging._copy
    staging._copy = lambda pair: (copy(pair), names.append(Path(pair[0]).name))
    stage([(catalog, ["depth", "segments"])], folder)
    out.put(len(names))


def test_one_process_of_a_machine_copies(views, tmp_path):
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    processes = [context.Process(target=stage_views, args=(views, tmp_path / "ssd", out)) for _ in range(3)]
    for process in processes:
        process.start()
    assert sorted(out.get(timeout=60) for _ in processes) == [0, 0, len(views) + 2]
    for process in processes:
        process.join(60)


def test_a_data_module_reads_from_the_copies(make_datamodule, dataset, tmp_path):
    plain = make_datamodule(root=dataset, cache=None)
    module = make_datamodule(root=dataset, cache=None, staging=tmp_path / "ssd")
    for one in (plain, module):
        one.require("fit", "test")
    for split in ("train", "val", "test"):
        for reader in (module.split(split).query_reader, module.split(split).database_reader):
            name = reader.modalities[0]
            assert reader.catalog.image_path(name, 0).is_relative_to(tmp_path / "ssd")
        rows = [0, 2]
        expected = plain.split(split).database_reader.read(rows)
        read = module.split(split).database_reader.read(rows)
        np.testing.assert_array_equal(read["depth"], expected["depth"])


def test_queries_are_matched_to_the_views_of_their_split(make_datamodule):
    reader = make_datamodule(match_fov=60.0, size=(20, 20)).train.query_reader
    assert reader.match_aspect == 24 / 32
    assert reader.match_fov == pytest.approx(np.radians(60))
    assert make_datamodule(size=(20, 20)).train.query_reader.match_fov is None
