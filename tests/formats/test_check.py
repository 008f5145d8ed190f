"""The check finds every planted problem, with file and row, and nothing in sound data."""

import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_pickles import HEADER, listed, number, structure, text
from hydra import compose, initialize_config_dir
from reference_layout import build_reference

from crosslocate.check import check, main
from crosslocate.config.app import conf_dir
from crosslocate.config.convert_schema import validate_check
from crosslocate.config.schema import register
from crosslocate.data.catalog import write_catalog
from crosslocate.errors import ConfigError
from crosslocate.formats.meta import read_meta, write_meta

META = "datasets_meta/Sparse/GeoPose3K_v2_original_to_depth_{}.npy"


@pytest.fixture
def layout(tmp_path):
    return build_reference(tmp_path / "crosslocate", {"GeoPose3K_v2_original_to_depth": ("original", "depth")})


@pytest.fixture
def run(layout, tmp_path):
    def call(*overrides):
        register()
        places = [
            f"paths.datasets={layout}/datasets",
            f"paths.metas={layout}/datasets_meta",
            f"paths.cache={tmp_path}/c",
        ]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("check", overrides=["paths.run=.", *places, *overrides])
        validate_check(cfg)
        return check(cfg)

    return call


def brief(found):
    return {(p.file.name.removeprefix("GeoPose3K_v2_original_to_depth_"), p.role, p.row, p.kind) for p in found}


def test_sound_data_have_no_problems(run, tiny_dataset, capsys):
    assert run("dataset=sparse_depth", "decode=true", "modalities=[segments]") == []
    assert "No problems found" in capsys.readouterr().err
    assert run(f"catalog={tiny_dataset}", "decode=true", "split=val") == []


def test_every_planted_problem_is_found(run, layout, tmp_path, capsys):
    meta = read_meta(layout / META.format("val"))
    meta.queries.camera[0, 0] = 70.0
    meta.queries.camera[1, 0] = np.inf
    meta.queries.camera[2, 0] = 2 * math.pi
    meta.queries.camera[3, 3] = 0.0
    meta.queries.wgs[4] = [200.0, -91.0]
    meta.database.camera[9, 0] = 7.0
    meta.database.camera[10, 0] = -0.001
    meta.database.elevations[5] = np.nan
    meta.database.utm[6, 1] = np.inf
    names = list(meta.database.filenames)
    names[8] = names[7]
    meta = replace(meta, database=replace(meta.database, filenames=names))
    write_meta(layout / META.format("val"), meta)
    (layout / "datasets/Sparse/database_depth" / meta.database.filenames[3]).unlink()
    (layout / "datasets/Sparse/query_original_result" / meta.queries.filenames[5]).write_bytes(b"no image")
    shutil.copy(layout / "datasets/Sparse/database_segments/000050_segments.png",
                layout / "datasets/Sparse/database_depth/000050_depth.exr")  # fmt: skip
    (layout / META.format("test")).unlink()
    expected = {
        ("val.npy", "queries", 0, "range"), ("val.npy", "queries", 1, "infinite"), ("val.npy", "queries", 3, "range"),
        ("val.npy", "database", 9, "range"), ("val.npy", "database", 10, "range"),
        ("val.npy", "queries", 4, "range"), ("val.npy", "database", 5, "NaN"), ("val.npy", "database", 6, "infinite"),
        ("val.npy", "database", 8, "duplicate name"), ("val.npy", "database", 3, "missing image"),
        ("test.npy", "", None, "missing meta structure"),
    }  # fmt: skip
    assert brief(found := run("dataset=sparse_depth")) == expected
    assert len([p for p in found if p.row == 4 and p.role == "queries"]) == 2
    broken = {("val.npy", "queries", 5, "broken image"), ("val.npy", "database", 1, "broken image")}
    report = tmp_path / "reports/all.csv"
    assert brief(run("dataset=sparse_depth", "decode=true", f"report={report}", "shown=2")) == expected | broken
    said = capsys.readouterr().err
    assert "14 problems: range 6" in said
    assert "12 more than shown" in said
    with report.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14
    assert {row["severity"] for row in rows} == {"problem"}
    assert {(row["role"], row["row"]) for row in rows if row["kind"] == "missing image"} == {("database", "3")}
    assert "yaw is 70.0; allowed: [0, 6.28319] (flickr_4.0" in rows[[r["row"] for r in rows].index("0")]["message"]


def test_headings_of_queries_that_readers_wrap_are_notes(run, layout, tmp_path, capsys, monkeypatch):
    meta = read_meta(layout / META.format("val"))
    meta.queries.camera[:3, 0] = -0.001, 2 * math.pi + 0.001, -8 * math.pi
    write_meta(layout / META.format("val"), meta)
    report = tmp_path / "report.csv"
    found = run("dataset=sparse_depth", f"report={report}", "shown=2")
    assert [(p.row, p.kind, p.note) for p in found] == [(row, "range", True) for row in range(3)]
    said = " ".join(capsys.readouterr().err.split())
    for line in ("0 problems, 3 notes", "No problems found", "3 notes: range 3", "(note)"):
        assert line in said
    with report.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["severity"] for row in rows] == ["note"] * 3
    assert "yaw is -0.001; wrapped to [0, 6.28319] when read (flickr_4.0" in rows[0]["message"]
    command = ["check", f"meta={layout / META.format('val')}", f"hydra.run.dir={tmp_path}/run"]
    monkeypatch.setattr("sys.argv", command)
    main()
    meta.database.camera[0, 0] = -0.001
    write_meta(layout / META.format("val"), meta)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "1 problems: range 1" in capsys.readouterr().err


def test_fields_that_cannot_be_read_and_lengths_are_told(run, tmp_path):
    path = tmp_path / "mine_train.npy"
    path.write_bytes(HEADER + structure(dbIDs=listed(text("a")), qWGS=listed(number(1.0)), qPlaceNames=b"}"))
    found = run(f"meta={path}")
    assert brief(found) == {
        ("mine_train.npy", "database", 1, "length"), ("mine_train.npy", "queries", None, "field"),
    }  # fmt: skip
    assert len(found) == 3
    path.write_bytes(b"no pickle")
    assert brief(run(f"meta={path}")) == {("mine_train.npy", "", None, "meta structure")}
    path.write_bytes(HEADER + b"\x80\x03cos\nsystem\n.")
    assert "os.system" in run(f"meta={path}")[0].message


def test_folders_that_are_missing_are_told(run, layout):
    shutil.rmtree(layout / "datasets/Sparse/database_depth")
    found = run("dataset=sparse_depth", "split=train")
    assert brief(found) == {("train.npy", "database", None, "missing folder")}
    found = run(f"meta={layout / META.format('val')}", "database.folder=/nowhere")
    assert len(found) == 24
    assert {p.kind for p in found} == {"missing image"}


def test_catalogs_that_no_reader_would_take_are_checked(run, tiny_dataset, tmp_path):
    table = pq.read_table(tiny_dataset / "database.parquet")
    yaw = table["yaw"].to_numpy().copy()
    yaw[[2, 3]] = np.nan, -1.0
    names = table["name"].to_pylist()
    names[9] = names[4]
    for column, values in (("yaw", yaw), ("name", names)):
        table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
    table = table.drop_columns(["roll"])
    pq.write_table(table, tmp_path / "database.parquet")
    found = run(f"catalog={tmp_path}", "modalities=[]")
    assert brief(found) == {
        ("database.parquet", "database", 2, "NaN"), ("database.parquet", "database", 3, "range"),
        ("database.parquet", "database", 9, "duplicate name"), ("database.parquet", "database", None, "column"),
        ("queries.parquet", "queries", None, "catalog"),
    }  # fmt: skip
    assert len(run(f"catalog={tmp_path}", "modalities=[depth]")) == len(found) + table.num_rows
    assert brief(run(f"catalog={tmp_path}/none")) == {("database.parquet", "database", None, "catalog")}


@pytest.mark.parametrize(("pitch", "sound"), [(6.2, True), (-6.2, True), (0.5, True), (1.7, False), (4.0, False)])
def test_a_pitch_is_judged_as_it_will_be_read(run, layout, tmp_path, pitch, sound):
    meta = read_meta(layout / META.format("val"))
    meta.queries.camera[2, 1] = pitch
    write_meta(layout / META.format("val"), meta)
    found = run("dataset=sparse_depth")
    assert [(p.role, p.row, p.kind) for p in found] == ([] if sound else [("queries", 2, "range")])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "exactly one of meta, catalog, dataset"),
        (["catalog=x", "workers=0"], "workers=0"),
        (["catalog=x", "shown=-1"], "shown=-1"),
        (["catalog=x", "modalities=[colour]"], "modalities='colour'"),
    ],
)
def test_impossible_configurations_are_refused(run, overrides, says):
    with pytest.raises(ConfigError, match=says):
        run(*overrides)


def test_images_in_shards_are_looked_for_and_templates_without_their_column_told(run, tmp_path):
    values = {name: np.zeros(4) for name in ("longitude", "latitude", "elevation", "yaw", "pitch", "roll")}
    values |= {"name": list("abcd"), "place": np.arange(4), "split": ["val"] * 4, "horizontal_fov": np.ones(4)}
    images = {"depth": "depth/{shard}/{name}.exr", "photo": f"{tmp_path}/photos/{{shard}}/{{name}}.jpg"}
    path = tmp_path / "database.parquet"
    write_catalog(path, values | {"shard": np.array([0, 0, 1, 1])}, "database", images)
    for file in (
        "depth/0/a.exr",
        "depth/0/b.exr",
        "depth/1/d.exr",
        *(f"photos/{i // 2}/{'abcd'[i]}.jpg" for i in (0, 2, 3)),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    missing = {("database.parquet", "database", row, "missing image") for row in (1, 2)}
    other = {("queries.parquet", "queries", None, "catalog")}
    assert brief(run(f"catalog={tmp_path}")) == missing | other
    pq.write_table(pq.read_table(path).drop_columns(["shard"]), path)
    told = {("database.parquet", "database", None, "path template")}
    assert brief(run(f"catalog={tmp_path}")) == told | other


def test_queries_are_not_missed_where_the_manifest_names_none(run, tiny_dataset, tmp_path):
    root = tmp_path / "alone"
    shutil.copytree(tiny_dataset, root)
    (root / "queries.parquet").unlink()
    views = pq.read_table(root / "database.parquet").num_rows
    missing = {("queries.parquet", "queries", None, "catalog")}
    manifest = root / "manifest.json"
    for counts, problems in (
        (None, missing),
        (json.dumps({"counts": {"database": views}}), set()),
        (json.dumps({"counts": {"database": views, "queries": 0}}), set()),
        (json.dumps({"counts": {"database": views, "queries": 3}}), missing),
        (json.dumps({"counts": {}}), missing),
        ("{", missing),
    ):
        manifest.unlink(missing_ok=True)
        if counts is not None:
            manifest.write_text(counts)
        assert brief(run(f"catalog={root}", "gap=0", "modalities=[]")) == problems
    (root / "database.parquet").rename(root / "queries.parquet")
    manifest.write_text(json.dumps({"counts": {"database": views}}))
    assert ("database.parquet", "database", None, "catalog") in brief(run(f"catalog={root}", "modalities=[]"))


def test_images_that_are_rendered_when_they_are_read_are_not_missing(run, tmp_path):
    from live_pair import MODALITIES, world, write_live

    root = write_live(tmp_path / "live", world())
    assert run(f"catalog={root}", "decode=true") == []
    broken = shutil.copytree(root, tmp_path / "broken")
    shutil.rmtree(broken / "terrain")
    roles = ("database", "queries")
    unread = [(f"{role}.parquet", role, None, "live images") for role in roles for _ in MODALITIES]
    found = run(f"catalog={broken}")
    assert [(p.file.name, p.role, p.row, p.kind) for p in found] == unread
    assert str(broken / "terrain") in found[0].message


def test_splits_that_are_closer_than_a_gap_are_a_problem(run, tiny_dataset):
    assert run(f"catalog={tiny_dataset}", "gap=0") == []
    (leak,) = run(f"catalog={tiny_dataset}", "gap=1e6")
    assert leak.kind == "leak"
    assert "a gap of 1000000.0 m is asked for" in leak.message
    assert "row" in leak.message
    for overrides, says in (
        (["gap=-1", f"catalog={tiny_dataset}"], r"gap=-1\.0"),
        (["gap=5", "dataset=sparse_depth"], "gap=5"),
    ):
        with pytest.raises(ConfigError, match=says):
            run(*overrides)
