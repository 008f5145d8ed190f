"""The reader and its cache: same arrays with and without, warm and cold, from one process and from several."""

import errno
import math
import multiprocessing
import os
import pickle
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import OpenEXR
import pyarrow as pa
import pytest

from crosslocate.data import cache as cache_module
from crosslocate.data import reader as reader_module
from crosslocate.data.cache import ImageCache
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.images import UNSEEN, decode, resize
from crosslocate.data.reader import ImageReader, aspect_of_views
from crosslocate.data.schema import SCHEMA
from crosslocate.errors import DataError

SIZE = (24, 32)
ALL = ("depth", "silhouettes", "segments")


@pytest.fixture
def dataset(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "data")


def database(root):
    return read_catalog(root / "database.parquet")


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name])


def test_images_are_those_of_the_rows(tiny_dataset):
    catalog = database(tiny_dataset)
    read = ImageReader(catalog, ALL, (12, 16)).read([5, 0, 5])
    assert [(v.shape, str(v.dtype)) for v in read.values()] == [
        ((3, 12, 16), "float16"),
        ((3, 12, 16), "uint8"),
        ((3, 12, 16, 3), "uint8"),
    ]
    for name in ALL:
        for image, row in zip(read[name], [5, 0, 5], strict=True):
            expected = resize(decode(catalog.image_path(name, row), name), (12, 16))
            np.testing.assert_array_equal(image, expected.astype(image.dtype))


def test_cached_reads_equal_uncached_reads(tiny_dataset, tmp_path):
    catalog, rng = database(tiny_dataset), np.random.default_rng(0)
    plain = ImageReader(catalog, ALL, SIZE)
    cached = ImageReader(catalog, ALL, SIZE, cache=tmp_path / "cache")
    for _ in range(4):
        rows = rng.integers(0, len(catalog), 20)
        assert_same(cached.read(rows), plain.read(rows))
    assert_same(pickle.loads(pickle.dumps(cached)).read(rows), plain.read(rows))


def test_a_warm_cache_needs_no_files(dataset, tmp_path):
    reader = ImageReader(database(dataset), ["depth"], SIZE, cache=tmp_path / "cache")
    before = reader.read(np.arange(10))
    for row in range(10):
        reader.catalog.image_path("depth", row).unlink()
    assert_same(reader.read(np.arange(10)), before)
    with pytest.raises(DataError, match=r"(?s)p0000_h090\.exr: No such file.*database\.parquet row 3 \(p0000_h090\)"):
        ImageReader(reader.catalog, ["depth"], SIZE).read([3])


def test_images_rendered_anew_are_decoded_anew(dataset, tmp_path):
    catalog = database(dataset)
    old = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache").read([0])
    folder = catalog.image_path("depth", 0).parent
    catalog.image_path("depth", 40).replace(catalog.image_path("depth", 0))
    os.utime(folder, ns=(1, folder.stat().st_mtime_ns + 1))
    new = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache").read([0])
    assert not np.array_equal(old["depth"], new["depth"])
    assert_same(new, ImageReader(catalog, ["depth"], SIZE).read([0]))


def renamed(catalog, folder, template, path_of):
    """The same rows and images of depth, where another template puts them."""
    names = catalog.names(np.arange(len(catalog)))
    for row, place in enumerate(np.asarray(catalog.place).tolist()):
        target = folder / path_of(place, names[row])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(catalog.image_path("depth", row), target)
    columns = {name: catalog.table[name].combine_chunks() for name in SCHEMA.names}
    if "/" in path_of(0, "x") and template == "{name}.exr":
        columns["name"] = [path_of(place, name)[:-4] for place, name in zip(catalog.place, names, strict=True)]
    write_catalog(folder / "views.parquet", columns, "database", {"depth": template})
    return read_catalog(folder / "views.parquet")


@pytest.mark.parametrize(
    ("template", "path_of"),
    [
        ("depth/{place}/{name}.exr", lambda place, name: f"depth/{place}/{name}.exr"),
        ("{place}/depth/{name}.exr", lambda place, name: f"{place}/depth/{name}.exr"),
        ("{name}/depth.exr", lambda place, name: f"{name}/depth.exr"),
        ("{name}.exr", lambda place, name: f"in/{place}/{name}.exr"),
    ],
)
def test_an_image_replaced_in_any_of_many_folders_is_decoded_anew(tiny_dataset, tmp_path, template, path_of):
    catalog = renamed(database(tiny_dataset), tmp_path, template, path_of)
    reader = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache")
    old, key = reader.read([9])["depth"], reader._key("depth")
    (tmp_path / "unrelated").touch()
    assert ImageReader(catalog, ["depth"], SIZE)._key("depth") == key
    path = catalog.image_path("depth", 9)
    shutil.copy(catalog.image_path("depth", 40), path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    os.utime(path.parent, ns=(1, path.parent.stat().st_mtime_ns + 1))
    new = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache").read([9])["depth"]
    assert not np.array_equal(old, new)
    np.testing.assert_array_equal(new, ImageReader(catalog, ["depth"], SIZE).read([9])["depth"])
    with pytest.MonkeyPatch.context() as patch:  # the folders above the many
        patch.setattr(reader_module, "MOST_FOLDERS", 2)
        assert isinstance(ImageReader(catalog, ["depth"], SIZE)._changed("depth", tmp_path), int)


def test_a_shard_that_is_rewritten_in_place_is_decoded_anew(tiny_dataset, tmp_path):
    def pack(place, shift=0):
        with tarfile.open(tmp_path / f"{place}.tar", "w") as file:
            rows = np.flatnonzero(np.asarray(views.place) == place)
            for row, other in zip(rows, np.roll(rows, shift), strict=True):
                file.add(views.image_path("depth", other), f"in/{views.name(row)}.exr")

    views = database(tiny_dataset)
    for place in np.unique(views.place).tolist():
        pack(place)
    columns = {name: views.table[name].combine_chunks() for name in SCHEMA.names}
    write_catalog(tmp_path / "shards.parquet", columns, "database", {"depth": "{place}.tar/in/{name}.exr"})
    catalog = read_catalog(tmp_path / "shards.parquet")
    old = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache").read([9])["depth"]
    before = tmp_path.stat().st_mtime_ns
    pack(int(catalog.place[9]), 1)
    assert tmp_path.stat().st_mtime_ns == before, "the folder of the shards did not change"
    new = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache").read([9])["depth"]
    assert not np.array_equal(old, new)
    np.testing.assert_array_equal(new, ImageReader(catalog, ["depth"], SIZE).read([9])["depth"])


def test_sizes_splits_and_fields_of_view_do_not_share_cached_images(tiny_dataset, tmp_path):
    queries = read_catalog(tiny_dataset / "queries.parquet")
    variants = [
        (queries, SIZE, None),
        (queries, (12, 16), None),
        (queries.split("val"), SIZE, None),
        (queries, SIZE, math.radians(60)),
        (queries, SIZE, math.radians(50)),
    ]
    for catalog, size, fov in variants:
        cached = ImageReader(catalog, ["photo"], size, match_fov=fov, cache=tmp_path / "cache")
        plain = ImageReader(catalog, ["photo"], size, match_fov=fov)
        assert_same(cached.read([0, 3]), plain.read([0, 3]))
    assert len(list((tmp_path / "cache").glob("*.images"))) == len(variants)


def test_matched_field_of_view_pads_narrow_queries_with_gray(tiny_dataset):
    queries = read_catalog(tiny_dataset / "queries.parquet")
    narrow = int(np.argmin(queries.horizontal_fov))
    wide = ImageReader(queries, ["photo", "depth"], SIZE, match_fov=math.radians(100)).read([narrow])
    assert (wide["photo"][0, :, 0] == 127).all()
    assert (wide["depth"][0, :, 0] == UNSEEN).all()
    assert not (wide["photo"][0, :, 16] == 127).all()


def test_queries_are_matched_to_the_shape_that_views_had(tiny_dataset):
    """Views of 24 x 32 pixels squeezed to a square: a query of the same camera comes out like its view."""
    views, queries = database(tiny_dataset), read_catalog(tiny_dataset / "queries.parquet")
    assert aspect_of_views(views, "depth") == 24 / 32
    fov = float(queries.horizontal_fov[4])
    reader = ImageReader(queries, ["depth_plain"], (16, 16), match_fov=fov, match_aspect=24 / 32)
    plain = ImageReader(queries, ["depth_plain"], (16, 16))
    assert_same(reader.read([4]), plain.read([4]))
    assert not np.array_equal(
        ImageReader(queries, ["depth_plain"], (16, 16), match_fov=fov).read([4])["depth_plain"],
        plain.read([4])["depth_plain"],
    )


def test_a_query_without_a_usable_field_of_view_is_named(tiny_dataset):
    queries = read_catalog(tiny_dataset / "queries.parquet")
    angles = queries.horizontal_fov.copy()
    angles[2] = np.radians(179.9)
    column = queries.table.column_names.index("horizontal_fov")
    broken = replace(queries, table=queries.table.set_column(column, "horizontal_fov", pa.array(angles)))
    with pytest.raises(DataError, match=r"field of view is 179\.9 degrees.*queries\.parquet row 2 \(p0000_q02\)"):
        ImageReader(broken, ["photo"], SIZE, match_fov=1.0).read([1, 2])


def test_one_file_is_read_in_several_ways(tiny_dataset, tmp_path):
    queries, names = read_catalog(tiny_dataset / "queries.parquet"), ("photo", "photo_gray", "depth", "depth_plain")
    cached, plain = (ImageReader(queries, names, SIZE, cache=cache) for cache in (tmp_path / "cache", None))
    for _ in range(2):
        read = cached.read([0, 5])
        assert_same(read, plain.read([0, 5]))
    assert {name: str(images.dtype) for name, images in read.items()} == {
        "photo": "uint8", "photo_gray": "float32", "depth": "float16", "depth_plain": "float32",
    }  # fmt: skip
    np.testing.assert_allclose(read["photo_gray"], read["photo"] @ [0.299, 0.587, 0.114], atol=0.01)


def test_depth_beyond_half_precision_is_kept_at_its_limit(dataset):
    catalog = database(dataset)
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    for metres, kept in ((90_000, 65_504), (123, 123)):
        path = str(catalog.image_path("depth", 0))
        OpenEXR.File(header, {"R": np.full(SIZE, metres, np.float32)}).write(path)
        assert (ImageReader(catalog, ["depth"], SIZE).read([0])["depth"] == kept).all()


def test_unknown_modality_is_refused_at_once(tiny_dataset):
    with pytest.raises(DataError, match=r"no images of modality 'photo'; it has: depth, segments, silhouettes"):
        ImageReader(database(tiny_dataset), ["photo"], SIZE)


def fill(reader, seed, barrier):
    barrier.wait()
    order = np.random.default_rng(seed).permutation(len(reader.catalog))
    for start in range(0, len(order), 8):
        reader.read(order[start : start + 8])


def test_processes_fill_one_cache_together(tiny_dataset, tmp_path):
    context = multiprocessing.get_context("fork")
    reader = ImageReader(database(tiny_dataset), ALL, SIZE, cache=tmp_path / "cache")
    barrier = context.Barrier(3)
    processes = [context.Process(target=fill, args=(reader, seed, barrier)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    rows = np.arange(len(reader.catalog))
    assert_same(reader.read(rows), ImageReader(reader.catalog, ALL, SIZE).read(rows))
    assert all(reader._open_cache(name).missing(rows).size == 0 for name in ALL)


def test_a_row_is_flagged_only_after_its_data(tmp_path):
    """A process killed between data and flag leaves a row that is decoded again."""
    cache = ImageCache(tmp_path / "c", 4, (2, 2), "uint8")
    cache.write(2, np.full((2, 2), 9, np.uint8))
    np.testing.assert_array_equal(cache.missing(np.array([3, 2, 0, 3])), [0, 3])
    again = ImageCache(tmp_path / "c", 4, (2, 2), "uint8")
    np.testing.assert_array_equal(again.read(np.array([2, 0]))[:, 0, 0], [9, 0])
    with pytest.raises(ValueError, match=r"image 1 has shape \(3, 3\); the cache holds \(2, 2\)"):
        cache.write(1, np.zeros((3, 3), np.uint8))


def test_a_full_disk_ends_caching_but_not_reading(tiny_dataset, tmp_path, monkeypatch, caplog):
    catalog = database(tiny_dataset)
    reader = ImageReader(catalog, ["depth"], SIZE, cache=tmp_path / "cache")
    reader.read(np.arange(5))

    def full(file, data, offset):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_module.os, "pwrite", full)
    plain = ImageReader(catalog, ["depth"], SIZE)
    for rows in ([3, 7, 4, 7], [8, 1]):
        assert_same(reader.read(rows), plain.read(rows))
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("crosslocate")]
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]


def test_an_impossible_cache_folder_is_named(tiny_dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"image cache .*file/database-depth-32x24-.*choose another folder, or none"):
        ImageReader(database(tiny_dataset), ["depth"], SIZE, cache=tmp_path / "file").read([0])
