"""Named sets: catalogs made of meta structures and folders in CrossLocate's layout."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_files import golden
from hydra import compose, initialize_config_dir
from reference_layout import METAS, SPLITS, build_reference, meta_images, shots
from test_matlab import write_struct

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.data.catalog import read_catalog
from crosslocate.data.completeness import missing_images
from crosslocate.errors import ConfigError, DataError
from crosslocate.formats.companions import folders_beside, name_images, split_names
from crosslocate.formats.conversion import number_places, to_images
from crosslocate.formats.meta import MetaStructure, read_meta, write_meta
from crosslocate.formats.reference_set import FORMAT, MANIFEST, ReferenceSet


@pytest.fixture(scope="session")
def layout(tmp_path_factory):
    """A tiny CrossLocate installation; read-only."""
    return build_reference(tmp_path_factory.mktemp("crosslocate"))


def sparse_depth(folder, **changes):
    return replace(
        ReferenceSet(
            folder / "datasets", folder / "datasets_meta", "Sparse", "database_depth", "depth", "query_original_result",
            "photo", "GeoPose3K_v2_original_to_depth", 32,
        ), **changes,
    )  # fmt: skip


def copied(layout, folder, *, images=True):
    shutil.copytree(layout / "datasets_meta", folder / "datasets_meta")
    if images:
        (folder / "datasets").symlink_to(layout / "datasets")
    return folder


def test_catalogs_hold_what_the_meta_structures_say(layout, tmp_path):
    sparse_depth(layout)(tmp_path / "set")
    for split in SPLITS:
        meta = read_meta(layout / f"datasets_meta/Sparse/GeoPose3K_v2_original_to_depth_{split}.npy")
        for role, modality in (("database", "depth"), ("queries", "photo")):
            images, catalog = getattr(meta, role), read_catalog(tmp_path / "set" / split / f"{role}.parquet")
            assert catalog.role == role
            assert catalog.splits == (split,)
            back = to_images(catalog, modality)
            for name in ("filenames", "ids", "place_names"):
                assert getattr(back, name) == getattr(images, name)
            for name in ("wgs", "utm", "elevations", "camera"):
                np.testing.assert_array_equal(getattr(back, name), getattr(images, name))
            assert list(missing_images(catalog, catalog.images)) == []
            assert set(catalog.images) == {
                "depth",
                "segments",
                "silhouettes",
                *(["photo"] if role == "queries" else []),
            }
    assert catalog.name(0) == shots()["test"]["queries"][0].stem
    database = read_catalog(tmp_path / "set/train/database.parquet")
    assert database.name(0) == "000001"
    assert database.place.tolist() == np.repeat(np.arange(4), 12).tolist()
    assert read_catalog(tmp_path / "set/train/queries.parquet").place.tolist() == np.repeat(np.arange(4), 3).tolist()
    mains = [read_catalog(tmp_path / f"set/val/{role}.parquet").main for role in ("database", "queries")]
    assert mains == ["depth", "photo"]


def test_only_what_changed_is_written_again(layout, tmp_path):
    named, root = sparse_depth(copied(layout, tmp_path)), tmp_path / "set"
    named(root)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    named(root)
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    meta = named.read("val")
    write_meta(named.meta_file("val"), replace(meta, queries=replace(meta.queries, ids=["new"] * 6)))
    (root / "test/queries.parquet").unlink()
    named(root)
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert {path.parent.name for path in changed} == {"val", "test"}
    assert read_catalog(root / "val/queries.parquet").table["id"].to_pylist() == ["new"] * 6
    replace(named, database="database_segments", database_modality="segments",
            meta="GeoPose3K_v2_original_to_segments")(root)  # fmt: skip
    assert "_segments.png" in read_catalog(root / "train/database.parquet").images["segments"]


def test_folders_that_come_later_are_listed_then(layout, tmp_path):
    shutil.copytree(layout, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "datasets/Sparse"
    shutil.move(folder / "database_segments", tmp_path / "aside")
    sparse_depth(tmp_path)(tmp_path / "set")
    assert "segments" not in read_catalog(tmp_path / "set/val/database.parquet").images
    shutil.move(tmp_path / "aside", folder / "database_segments")
    (tmp_path / "set" / MANIFEST).write_text(json.dumps({"format": FORMAT, "splits": {"train": 3, "test": None}}))
    sparse_depth(tmp_path)(tmp_path / "set")
    assert "segments" in read_catalog(tmp_path / "set/val/database.parquet").images


@pytest.mark.parametrize(("form", "ending"), [("zip", "zip"), ("gztar", "tar.gz")])
@pytest.mark.parametrize("archived", ["database_depth", "Sparse"])
def test_archives_stand_for_folders(layout, tmp_path, monkeypatch, archived, form, ending):
    monkeypatch.setenv("CROSSLOCATE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(layout, tmp_path, dirs_exist_ok=True)
    root = tmp_path / "datasets/Sparse"
    source = root if archived == "Sparse" else root / archived
    shutil.make_archive(str(source), form, source.parent, source.name)
    shutil.rmtree(source)
    sparse_depth(tmp_path)(tmp_path / "set")
    for role in ("database", "queries"):
        catalog = read_catalog(tmp_path / f"set/val/{role}.parquet")
        assert list(missing_images(catalog, catalog.images)) == []
    assert f"{archived}.{ending}/" in read_catalog(tmp_path / "set/val/database.parquet").images["depth"]


def test_what_is_missing_is_said_with_where_to_put_it(layout, tmp_path):
    with pytest.raises(DataError, match=r"to_depth_train\.npy: no such meta structure .*paths\.metas=<folder>"):
        sparse_depth(tmp_path)(tmp_path / "set")
    copied(layout, tmp_path, images=False)
    with pytest.raises(DataError, match=r"Sparse/database_depth: no such folder, nor .*paths\.datasets=<folder>"):
        sparse_depth(tmp_path)(tmp_path / "set")
    assert not (tmp_path / "set").exists()
    with pytest.raises(DataError, match=r"nothing_val\.npy: no such meta structure"):
        sparse_depth(layout, meta="nothing").read("val")
    with pytest.raises(ConfigError, match="query_modality"):
        sparse_depth(layout, query_modality=None)


@pytest.fixture
def datamodule(layout, tmp_path):
    def make(folder=layout, *overrides):
        register()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", overrides=[
                "dataset=sparse_depth", "dataset.size=[24,32]", "dataset.workers=0", f"paths.cache={tmp_path}/cache",
                f"paths.datasets={folder}/datasets", f"paths.metas={folder}/datasets_meta", f"paths.run={tmp_path}",
                "name=x", *overrides,
            ])  # fmt: skip
        return build(cfg.dataset)

    return make


def test_a_data_module_reads_a_set_as_it_was_unpacked(datamodule):
    made = datamodule()
    made.require("fit", "test")
    assert (len(made.train.queries), len(made.train.database)) == (12, 48)
    assert made.train.relations.positives.counts.min() >= 1
    images = made.test.reader("query").read([0, 3])["photo"]
    assert images.shape == (2, 24, 32, 3)


def test_a_split_without_a_meta_structure_is_missed_when_it_is_asked_for(layout, datamodule, tmp_path):
    folder = copied(layout, tmp_path / "partial")
    (folder / "datasets_meta/Sparse/GeoPose3K_v2_original_to_depth_test.npy").unlink()
    made = datamodule(folder)
    made.require("fit")
    with pytest.raises(DataError, match=r"to_depth_test\.npy: no such meta structure.*paths\.metas="):
        made.require("test")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda m: m.camera.__setitem__((2, 3), 0.0),
            r"_val\.npy queries row 2 \(flickr.*fov is 0\.0; allowed",
        ),
        (lambda m: m.wgs.__setitem__((1, 1), 95.0), r"_val\.npy queries row 1 .*latitude is 95"),
        (lambda m: m.filenames.__setitem__(3, m.filenames[0]), r"_val\.npy queries row 3: name 'flickr.* by row 0"),
        (
            lambda m: m.filenames.__setitem__(3, "../a.jpg"),
            r"_val\.npy queries row 3: '\.\./a\.jpg' is no name",
        ),
        (lambda m: m.filenames.__setitem__(3, "/etc/a.jpg"), r"_val\.npy queries row 3: '/etc/a\.jpg' is no name"),
        (lambda m: m.elevations.__setitem__(4, np.nan), r"_val\.npy: qElevations row 4 holds nan"),
    ],
)
def test_impossible_rows_are_named_with_the_meta_structure(layout, tmp_path, change, says):
    named = sparse_depth(copied(layout, tmp_path))
    meta = named.read("val")
    meta = replace(meta, queries=replace(meta.queries, filenames=list(meta.queries.filenames)))
    change(meta.queries)
    write_meta(named.meta_file("val"), meta)
    with pytest.raises(DataError, match=says):
        named(tmp_path / "set")


def test_a_set_without_queries_says_so_where_they_are_needed(layout, datamodule, tmp_path):
    folder = tmp_path / "views"
    for part in ("datasets", "datasets_meta/Uniform"):
        (folder / part).mkdir(parents=True)
    (folder / "datasets/Uniform").symlink_to(layout / "datasets/Sparse")
    for split in ("train", "val"):
        meta = layout / f"datasets_meta/Sparse/GeoPose3K_v2_original_to_depth_{split}.npy"
        (folder / f"datasets_meta/Uniform/Alps_CH1_to_depth_{split}.npy").symlink_to(meta)
    made = datamodule(folder, "dataset=uniform_database_depth", "dataset.size=[24,32]")
    with pytest.raises(DataError, match=r"uniform_database_depth: this data set is views alone.* choose a data set"):
        made.require("fit")


def test_views_alone_and_renders_against_renders(layout, tmp_path):
    sparse_depth(layout, queries=None, query_modality=None)(tmp_path / "views")
    assert sorted(p.name for p in (tmp_path / "views/train").iterdir()) == ["database.parquet"]
    sparse_depth(layout, queries="query_depth_result", query_modality="depth", meta="GeoPose3K_v2_depth")(
        tmp_path / "d"
    )
    queries = read_catalog(tmp_path / "d/train/queries.parquet")
    assert queries.images["depth"].endswith("query_depth_result/{name}.exr")
    assert queries.images["photo"].endswith("query_original_result/{name}.jpg")
    assert len(METAS) == 6


def test_matlab_sets_are_read_too(tmp_path):
    for folder in ("db", "query_render_color_result"):
        (tmp_path / "datasets/geoPose3K" / folder).mkdir(parents=True)
    (tmp_path / "datasets_meta/geoPose3K").mkdir(parents=True)
    write_struct(tmp_path / "datasets_meta/geoPose3K/geoPose3K_render_color_val.mat", dbCamParams=np.ones((3, 4)),
                 qCamParams=np.ones((1, 4)))  # fmt: skip
    named = sparse_depth(
        tmp_path, root="geoPose3K", database="db", database_modality="segments", query_modality="segments",
        queries="query_render_color_result", meta="geoPose3K_render_color",
    )  # fmt: skip
    named(tmp_path / "set")
    catalog = read_catalog(tmp_path / "set/val/database.parquet")
    assert [catalog.name(row) for row in range(3)] == ["place1/v0", "v1_é", "v2"]
    assert catalog.images == {"segments": f"{tmp_path}/datasets/geoPose3K/db/{{name}}.png"}
    assert len(set(catalog.place.tolist())) == 3


@pytest.mark.parametrize(
    ("filenames", "names", "template"),
    [
        (["000001_depth.exr", "000002_depth.exr"], ["000001", "000002"], "{name}_depth.exr"),
        (["a_segments.png", "b_silhouettes.png"], ["a_segments", "b_silhouettes"], "{name}.png"),
        (["a.b.jpg", "c_depth_.jpg"], ["a.b", "c_depth_"], "{name}.jpg"),
        (["a.jpg", "a.png", "b"], ["a.jpg", "a.png", "b"], "{name}"),
        (["_depth.exr"], ["_depth"], "{name}.exr"),
        ([], [], "{name}"),
    ],
)
def test_what_all_file_names_end_in_is_left_out_of_names(filenames, names, template):
    assert split_names(filenames) == (names, template)
    assert [template.replace("{name}", name) for name in names] == filenames


def test_companions_of_queries_with_mixed_endings_are_found_by_stem(tmp_path):
    for name in ("query_original_resolution_result", "query_depth_result", "query_segments_resolution_result"):
        (tmp_path / name).mkdir()
    folders = folders_beside(tmp_path, "query_original_resolution_result", "photo")
    assert {name: path.name for name, path in folders.items()} == {
        "depth": "query_depth_result", "segments": "query_segments_resolution_result",
    }  # fmt: skip
    images = name_images(["a.jpg", "b.JPG"], "photo", {"photo": "/q", "depth": "/d"}).images
    assert images == {"photo": "/q/{name}", "depth": "/d/{stem}.exr"}
    assert folders_beside(tmp_path, "query_CH1_to_segments_result", "photo") == {}
    assert folders_beside(tmp_path, "db", "segments") == {}


def test_places_are_numbered_by_name_or_else_by_position():
    made = meta_images(shots()["train"]["database"], ".png")
    assert number_places(made).tolist() == np.repeat(np.arange(4), 12).tolist()
    alike = replace(made, place_names=["x"] * len(made))
    assert number_places(alike).tolist() == np.repeat(np.arange(4), 12).tolist()
    assert number_places(meta_images([], ".png")).tolist() == []


def test_figures_of_the_reference_survive_the_way_through_catalogs(tmp_path):
    root = tmp_path / "datasets_meta/Sparse"
    root.mkdir(parents=True)
    for folder in ("database_depth", "query_original_result"):
        (tmp_path / "datasets/Sparse" / folder).mkdir(parents=True)
    shutil.copy(golden("meta_lists.npy"), root / "GeoPose3K_v2_original_to_depth_train.npy")
    named = sparse_depth(tmp_path)
    named(tmp_path / "set")
    meta = named.read("train")
    back = MetaStructure(*(to_images(read_catalog(tmp_path / f"set/train/{role}.parquet"), modality)
                           for role, modality in (("database", "depth"), ("queries", "photo"))))  # fmt: skip
    write_meta(tmp_path / "a.npy", meta)
    write_meta(tmp_path / "b.npy", back)
    assert Path(tmp_path / "a.npy").read_bytes() == Path(tmp_path / "b.npy").read_bytes()
