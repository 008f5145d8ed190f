"""Sets without queries or without views are read, checked and converted, and broken ones end in one error."""

from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_layout import build_reference
from test_matlab import write_struct

from crosslocate.check import check
from crosslocate.config.app import conf_dir
from crosslocate.config.convert_schema import validate_check, validate_convert
from crosslocate.config.schema import register
from crosslocate.convert import convert
from crosslocate.data.catalog import read_catalog
from crosslocate.errors import DataError
from crosslocate.formats.meta import no_images, read_meta, write_meta

META = "GeoPose3K_v2_original_to_depth"
ROLES = ("database", "queries")
EMPTY = [("queries",), ("database",), ROLES]
MODALITIES = ("database.modality=depth", "queries.modality=photo")


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return build_reference(tmp_path_factory.mktemp("crosslocate"), {META: ("original", "depth")})


@pytest.fixture(scope="module")
def full(layout):
    return read_meta(layout / f"datasets_meta/Sparse/{META}_val.npy")


@pytest.fixture
def run(layout, tmp_path):
    def call(command, *overrides):
        register()
        metas, cache = "datasets_meta", tmp_path / "c"
        places = [f"paths.datasets={layout}/datasets", f"paths.metas={layout}/{metas}", f"paths.cache={cache}"]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose(command.__name__, overrides=["paths.run=.", *places, *overrides])
        {check: validate_check, convert: validate_convert}[command](cfg)
        return command(cfg)

    return call


def without(meta, roles):
    return replace(meta, **dict.fromkeys(roles, no_images()))


def compact(path, meta):
    """As NumPy writes it when the database's lists have become arrays: empty ones are float64 [0]."""
    fields = {}
    for prefix, images in (("db", meta.database), ("q", meta.queries)):
        values = {
            "ImageFns": list(images.filenames), "IDs": list(images.ids), "PlaceNames": list(images.place_names),
            "WGS": images.wgs.tolist(), "UTM": images.utm.tolist(), "Elevations": images.elevations.tolist(),
            "CameraParams": images.camera.tolist(),
        }  # fmt: skip
        fields |= {prefix + key: np.array(value) if prefix == "db" else value for key, value in values.items()}
    np.save(path, np.array(fields, object), allow_pickle=True)


@pytest.mark.parametrize("roles", EMPTY)
@pytest.mark.parametrize("write", [write_meta, compact])
def test_a_role_without_images_is_read_and_has_no_problems(full, run, tmp_path, roles, write, capsys):
    path = tmp_path / "mine_val.npy"
    write(path, without(full, roles))
    meta = read_meta(path)
    for role in ROLES:
        assert len(getattr(meta, role)) == (0 if role in roles else len(getattr(full, role)))
    assert (meta.database.camera.shape[1], meta.queries.wgs.shape[1]) == (4, 2)
    assert run(check, f"meta={path}") == []
    assert run(check, f"meta={path}", "database.folder=/nowhere", "split=val")[:1] == [] or "database" not in roles
    assert f"{roles[0]}: 0 images, 0 problems" in capsys.readouterr().err


@pytest.mark.parametrize("roles", EMPTY)
@pytest.mark.parametrize("modalities", [(), MODALITIES])
def test_a_role_without_images_becomes_a_catalog_and_comes_back(full, run, tmp_path, roles, modalities):
    path = tmp_path / "mine_val.npy"
    write_meta(path, without(full, roles))
    run(convert, f"meta={path}", *modalities, f"output={tmp_path}/set")
    for role in roles:
        catalog = read_catalog(tmp_path / f"set/val/{role}.parquet")
        assert (len(catalog), len(catalog.images)) == (0, len(modalities) // 2)
    assert run(check, f"catalog={tmp_path}/set", "modalities=[]") == []
    run(convert, f"catalog={tmp_path}/set", f"output={tmp_path}/again")
    for source in ("set", "again"):
        run(convert, f"catalog={tmp_path}/{source}", f"output={tmp_path}/back.npy")
        assert (tmp_path / "back_val.npy").read_bytes() == path.read_bytes()
    run(convert, f"catalog={tmp_path}/set", "within=1e9", f"output={tmp_path}/near.npy")
    assert len(read_meta(tmp_path / "near_val.npy").database) == (0 if roles else len(full.database))
    (tmp_path / "places.csv").write_text("image,place\na,b\n")
    run(convert, f"catalog={tmp_path}/set", f"places={tmp_path}/places.csv", f"output={tmp_path}/named.npy")


def test_a_split_of_a_whole_set_may_have_no_queries(tiny_dataset, run, tmp_path):
    from crosslocate.data.catalog import write_catalog

    for role in ROLES:
        catalog = read_catalog(tiny_dataset / f"{role}.parquet")
        rows = [i for i in range(len(catalog)) if role == "database" or catalog.table["split"][i].as_py() != "val"]
        columns = {name: catalog.table.take(rows)[name] for name in catalog.table.column_names if name != "file_row"}
        write_catalog(tmp_path / f"set/{role}.parquet", columns, role, catalog.images)
    run(convert, f"catalog={tmp_path}/set", *MODALITIES, f"output={tmp_path}/back.npy")
    counts = {split: len(read_meta(tmp_path / f"back_{split}.npy").queries) for split in ("train", "val", "test")}
    assert counts == {"train": 12, "val": 0, "test": 6}
    with pytest.raises(DataError, match="split 'dev' has no rows; splits with rows: test, train, val"):
        run(convert, f"catalog={tmp_path}/set", *MODALITIES, "split=dev", f"output={tmp_path}/x.npy")
    write_catalog(tmp_path / "set/database.parquet", {k: v.slice(0, 0) for k, v in columns.items()}, "database", {})
    with pytest.raises(DataError, match=r"database\.parquet: has no rows, so that no split is known"):
        run(convert, f"catalog={tmp_path}/set", f"output={tmp_path}/x.npy")


def test_a_matlab_file_without_queries_is_checked(run, tmp_path):
    write_struct(tmp_path / "old_val.mat", dbCamParams=np.ones((3, 4)), qCamParams=np.ones((1, 4)))
    assert {problem.kind for problem in run(check, f"meta={tmp_path}/old_val.mat")} <= {"range", "duplicate name"}


@pytest.fixture(scope="module")
def sources(full, tmp_path_factory):
    """Bytes of meta structures with an empty role, each as we write it and as NumPy does."""
    folder, made = tmp_path_factory.mktemp("empty"), []
    few = replace(full, **{role: _first(getattr(full, role), 2) for role in ROLES})
    for roles in EMPTY:
        for write in (write_meta, compact):
            write(folder / "x.npy", without(few, roles))
            made.append((folder / "x.npy").read_bytes())
    return made


def _first(images, n):
    from crosslocate.formats.conversion import take

    return take(images, np.arange(n))


@pytest.fixture(scope="module")
def configurations():
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return {
            command: compose(command.__name__, overrides=["paths.run=.", "meta=x_val.npy", *more])
            for command, more in ((check, ["shown=1"]), (convert, [*MODALITIES, "output=x"]))
        }


def refusal(cfg):
    try:
        convert(cfg)
    except DataError as error:
        return str(error)
    return ""


CHANGE = st.tuples(st.sampled_from(["set", "cut", "drop", "insert"]), st.floats(0, 1), st.binary(max_size=9))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 5), st.lists(CHANGE, max_size=4))
def test_mutated_sets_with_an_empty_role_end_in_data_or_one_error(tmp_path, sources, configurations, which, changes):
    data = bytearray(sources[which])
    for kind, where, extra in changes:
        at = int(where * len(data))
        data[at : {"set": at + len(extra), "cut": len(data), "drop": at + 1 + len(extra), "insert": at}[kind]] = (
            extra if kind in ("set", "insert") else b""
        )
    path = tmp_path / "mutated_val.npy"
    path.write_bytes(data)
    try:
        good = read_meta(path) is not None
    except DataError:
        good = False
    checked, converted = configurations[check], configurations[convert]
    checked.meta = converted.meta = str(path)
    found = check(checked)
    assert good or any(not problem.note for problem in found)
    for output in ("set", "back.npy"):
        converted.output = str(tmp_path / output)
        said = refusal(converted)
        assert path.name in said if said else good
