"""Descriptors made elsewhere: read without trust, evaluated with a catalog or a meta structure."""

import contextlib
import csv
import json
import pickle

import numpy as np
import pytest
from golden_poses import golden_poses
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import call
from test_search_blocks import resident

from crosslocate import evaluate
from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.config.validate import validate_evaluate
from crosslocate.data.catalog import write_catalog
from crosslocate.errors import ConfigError, DataError
from crosslocate.formats.meta import MetaImages, MetaStructure, write_meta
from crosslocate.retrieval.foreign import catalog_images, meta_images, read_descriptors

NUMBERS = {"elevation": 0.0, "pitch": 0.0, "roll": 0.0}


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_descriptors_are_mapped(tmp_path, dtype):
    values = np.random.default_rng(0).random((20, 3)).astype(dtype)
    found = read_descriptors(saved(tmp_path / "d.npy", values))
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, values)


def test_checking_descriptors_leaves_none_of_them_resident(tmp_path):
    saved(tmp_path / "d.npy", np.ones((20_000, 128), np.float32))
    found = read_descriptors(tmp_path / "d.npy")
    assert resident(found) == 0
    assert found.sum() == found.size
    assert resident(found) >= found.nbytes // 1024, "it is counted"


def test_descriptors_that_are_stored_by_columns_are_refused(tmp_path):
    values = np.random.default_rng(0).random((20, 3))
    with pytest.raises(DataError, match=r"f\.npy is stored column by column .*ascontiguousarray"):
        read_descriptors(saved(tmp_path / "f.npy", np.asfortranarray(values)))
    one = np.asfortranarray(values[:, :1])
    np.testing.assert_array_equal(read_descriptors(saved(tmp_path / "o.npy", one)), one)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(4, np.float32), "shape \\(4,\\)"),
        (np.zeros((2, 3), np.int64), "int64"),
        (np.zeros((0, 3), np.float32), "."),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "row 1: .*not finite"),
        (np.array([[1.0, 2.0], [np.inf, 1.0]], np.float16), "row 1: .*not finite"),
        (np.array([[1e300, 2.0]]), "row 0: .*not finite as float32"),
        (np.array([[Trap()]], object), "not a .npy file of numbers"),
        (b"", "not a .npy file"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "not a .npy file"),
        (pickle.dumps(Trap()), "not a .npy file"),
    ],
)
def test_what_is_no_descriptors_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "d.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=rf"d\.npy.*{message}") as error:
        read_descriptors(path)
    assert "\n" not in str(error.value)
    assert "allow_pickle" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npy: no such file"):
        read_descriptors(tmp_path / "none.npy")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_numbers_or_one_error(tmp_path, data):
    np.save(tmp_path / "good.npy", np.ones((3, 4), np.float32))
    content = bytearray((tmp_path / "good.npy").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "d.npy").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(DataError):
        assert np.isfinite(read_descriptors(tmp_path / "d.npy")).all()


def columns(poses, split):
    fields = {name: getattr(poses, name) for name in ("longitude", "latitude", "yaw", "horizontal_fov")}
    count = len(poses)
    names = {"name": [f"i{row}" for row in range(count)], "place": np.arange(count), "split": [split] * count}
    return names | fields | {name: np.full(count, value) for name, value in NUMBERS.items()}


@pytest.fixture(scope="module")
def poses():
    """The first 30 queries and 360 views of a set whose poses are known."""
    queries, database = golden_poses()
    for images, count in ((queries, 30), (database, 360)):
        for name in vars(images):
            setattr(images, name, getattr(images, name)[:count].copy())
    return queries, database


@pytest.fixture
def descriptors(tmp_path):
    rng = np.random.default_rng(1)
    database = rng.random((360, 8), np.float32)
    query = database[rng.integers(0, 360, 30)] + 0.2 * rng.random((30, 8), np.float32)
    return [
        f"database_descriptors={saved(tmp_path / 'db.npy', database)}",
        f"query_descriptors={saved(tmp_path / 'q.npy', query.astype(np.float64))}",
    ]


def run(folder, *arguments):
    value = call(evaluate.main, "evaluate", [*arguments, f"paths.run={folder}"])
    return value, json.loads((folder / "results.json").read_text())


def meta_of(poses, prefix):
    count = len(poses)
    return MetaImages(
        filenames=[f"{prefix}{row}.png" for row in range(count)],
        ids=[f"{row}" for row in range(count)],
        place_names=["somewhere"] * count,
        wgs=np.stack([poses.longitude, poses.latitude], axis=1),
        utm=np.stack([poses.easting, poses.northing], axis=1),
        elevations=np.zeros(count),
        camera=np.stack([poses.yaw, np.zeros(count), np.zeros(count), poses.horizontal_fov], axis=1),
    )


def test_catalog_and_meta_structure_give_the_same_recalls(tmp_path, capsys, poses, descriptors):
    queries, database = poses
    for role, images in (("queries", queries), ("database", database)):
        write_catalog(tmp_path / f"set/{role}.parquet", columns(images, "val"), role, {"depth": "{name}.exr"})
    write_meta(tmp_path / "m.npy", MetaStructure(database=meta_of(database, "d"), queries=meta_of(queries, "q")))
    recall, by_catalog = run(tmp_path / "a", *descriptors, f"catalog={tmp_path / 'set'}", "split=val")
    assert "Recall in %, val" in capsys.readouterr().err
    _, by_meta = run(tmp_path / "b", *descriptors, f"meta={tmp_path / 'm.npy'}")
    first, second = (found["evaluations"]["val"]["descriptors"] for found in (by_catalog, by_meta))
    assert first == second
    assert 0 < first["recalls"][0]["recall"] == recall < 1
    assert first["chance_by"]["kind"] == "exact"
    with (tmp_path / "b" / "matches_val.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert rows[0]["query"] == "q0.png"
    assert sum(int(row["success"]) for row in rows if row["rank"] == "1") == first["successes"]["queries"]

    _, plane = run(tmp_path / "c", *descriptors, f"meta={tmp_path / 'm.npy'}", "distance=utm",
                 "evaluation=crosslocate", "evaluation.heading=90", "split=train")  # fmt: skip
    third = plane["evaluations"]["train"]["descriptors"]
    assert (third["threshold"], third["chance_by"]["draws"], third["heading_deg"]) == ("strict", 11, 90)
    assert third["median_error_m"] != first["median_error_m"]
    assert third["median_error_m"] == pytest.approx(first["median_error_m"], rel=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "checkpoint=None is not allowed; allowed: a checkpoint, or descriptors"),
        (["checkpoint=x", "query_descriptors=q.npy"], "query_descriptors='q.npy' .*null with checkpoint=x"),
        (["query_descriptors=q.npy"], "database_descriptors=None .*to go with query_descriptors=q.npy"),
        (["query_descriptors=q.npy", "database_descriptors=d.npy"], "catalog=None .*either catalog=<folder> or meta"),
        (["checkpoint=x", "meta=m.npy"], "meta='m.npy' .*null with a checkpoint"),
        (["checkpoint=x", "splits=[all]"], r"splits=\['all'\] .*train, val, test"),
    ],
)
def test_what_is_evaluated_is_said_once(arguments, message):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("evaluate", overrides=["paths.run=run", *arguments])
    with pytest.raises(ConfigError, match=message):
        validate_evaluate(cfg)


def test_descriptors_of_another_set_are_refused(tmp_path, poses, descriptors):
    queries = poses[0]
    meta = MetaStructure(database=meta_of(queries, "d"), queries=meta_of(queries, "q"))
    write_meta(tmp_path / "m.npy", meta)
    with pytest.raises(DataError, match=r"db\.npy has 360 descriptors for 30 images \(database of"):
        run(tmp_path / "run", *descriptors, f"meta={tmp_path / 'm.npy'}")


def test_splits_in_folders_of_their_own(tmp_path, poses):
    queries, database = poses
    for role, images in (("queries", queries), ("database", database)):
        write_catalog(tmp_path / f"test/{role}.parquet", columns(images, "test"), role, {"depth": "{name}.exr"})
    found = catalog_images(tmp_path, "test")
    assert [len(images.poses) for images in found] == [30, 360]
    assert found[1].names(np.array([3, 0])) == ["i3", "i0"]
    with pytest.raises(DataError, match=r"queries\.parquet"):
        catalog_images(tmp_path, "val")
    with pytest.raises(DataError):
        meta_images(tmp_path / "none.npy")


def test_an_unknown_split_names_those_that_exist(tmp_path, poses):
    for role, images in zip(("queries", "database"), poses, strict=True):
        write_catalog(tmp_path / f"val/{role}.parquet", columns(images, "val"), role, {"depth": "{name}.exr"})
    with pytest.raises(DataError, match=r"foo/queries\.parquet: no such catalog file; splits that have one: val"):
        catalog_images(tmp_path, "foo")


def test_any_distances_can_be_asked_for(tmp_path, poses, descriptors):
    for role, images in zip(("queries", "database"), poses, strict=True):
        write_catalog(tmp_path / f"{role}.parquet", columns(images, "val"), role, {"depth": "{name}.exr"})
    value, results = run(tmp_path / "run", *descriptors, f"catalog={tmp_path}", "evaluation.distances=[30]")
    assert results["evaluations"]["val"]["descriptors"]["distances_m"] == [30.0]
    assert value == results["evaluations"]["val"]["descriptors"]["recalls"][0]["recall"]
