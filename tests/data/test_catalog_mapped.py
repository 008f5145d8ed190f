"""The mapped form of a catalog holds what the Parquet file holds, and is never believed when it might not."""

import multiprocessing
import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosslocate.data import catalog as catalogs
from crosslocate.data import catalog_mapped, catalog_writer
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.catalog_print import fingerprint_of
from crosslocate.errors import DataError

IMAGES = {"depth": "database/depth/{name}.exr"}
ROW = st.tuples(
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.sampled_from(["train", "val", "test"]),
    st.floats(-180, 180),
    st.integers(-(2**31), 2**31 - 1),
    st.none() | st.integers(-9, 9),
    st.lists(st.text("ab", max_size=3), max_size=2),
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Catalogs of any size get a mapped form."""
    monkeypatch.delenv("CROSSLOCATE_CACHE", raising=False)
    for module in (catalogs, catalog_writer):
        monkeypatch.setattr(module, "WORTH_MAPPING", 0)


def columns(n=6, **changes):
    base = {name: np.zeros(n) for name in ("latitude", "elevation", "pitch", "roll")}
    base |= {"name": [f"v{i}" for i in range(n)], "place": np.arange(n), "split": ["test"] * n, "yaw": np.arange(n) / 2}
    return base | {"longitude": np.linspace(6, 7, n), "horizontal_fov": np.ones(n)} | changes


def written(folder, n=6, **changes):
    path = folder / "database.parquet"
    write_catalog(path, columns(n, **changes), "database", IMAGES)
    return path


def form(path):
    return path.with_name(f".{path.name}.arrow")


def is_mapped(catalog):
    return catalog.known is not None


def decoded(path):
    """The catalog as the Parquet file alone gives it."""
    with pq.ParquetFile(path) as file:
        return catalogs._decoded(path, file)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, max_size=9, unique_by=lambda row: row[0]))
def test_what_is_mapped_is_what_is_decoded(tmp_path, rows):
    names, splits, longitude, place, extra, nested = map(list, zip(*rows, strict=True)) if rows else ([],) * 6
    n = len(rows)
    path = tmp_path / "database.parquet"
    values = columns(n, name=pa.array(names, pa.string()), split=pa.array(splits, pa.string()))
    values |= {"longitude": np.array(longitude, float), "place": np.array(place, np.int32)}
    values |= {"extra": pa.array(extra, pa.int8()), "nested": pa.array(nested, pa.list_(pa.string()))}
    write_catalog(path, values, "queries", IMAGES, "depth")
    for _ in range(2):  # as written with the Parquet file, and as made on opening
        mapped, plain = read_catalog(path), decoded(path)
        assert is_mapped(mapped)
        assert mapped.table.equals(plain.table)
        assert mapped.table.schema.equals(plain.table.schema)
        assert all(mapped.table[name].num_chunks == 1 for name in mapped.table.column_names)
        assert mapped.fingerprint() == fingerprint_of(plain.table, "queries")
        assert (mapped.images, mapped.role, mapped.main) == (plain.images, plain.role, plain.main)
        form(path).unlink()


def test_opening_decodes_and_checks_nothing(tmp_path, monkeypatch):
    path = written(tmp_path)
    for name in ("make_mapped", "checked_columns", "fingerprint_of", "parquet_column"):
        monkeypatch.setattr(catalogs, name, None)
    catalog = read_catalog(path)
    assert catalog.names(range(6)) == columns()["name"]
    assert catalog.split("test").fingerprint()
    assert catalog.describe(4) == f"{path} row 4 (v4)"


def test_a_mapped_form_of_another_state_of_the_file_is_made_anew(tmp_path):
    path = written(tmp_path)
    stale = form(path).read_bytes()
    table = pq.read_table(path)
    yaw = table.schema.get_field_index("yaw")
    pq.write_table(table.set_column(yaw, "yaw", pa.array(np.full(6, 0.25))), path)
    assert read_catalog(path).yaw.tolist() == [0.25] * 6
    assert form(path).read_bytes() != stale
    same_size = path.stat()
    os.utime(path, ns=(same_size.st_atime_ns, same_size.st_mtime_ns + 1))
    form(path).write_bytes(stale)
    assert read_catalog(path).yaw.tolist() == [0.25] * 6


def test_a_file_that_is_written_anew_has_its_own_mapped_form_whatever_the_clock_says(tmp_path):
    path = written(tmp_path)
    old, stale = path.stat(), form(path).read_bytes()
    for value in (1.0, 2.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(catalog_mapped, "_stamp", lambda _: (old.st_size, old.st_mtime_ns))
            write_catalog(path, columns(yaw=np.full(6, value)), "database", IMAGES)
            assert read_catalog(path).yaw.tolist() == [value] * 6
    assert form(path).read_bytes() != stale


@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
def test_a_file_that_is_replaced_while_it_is_opened_does_not_get_the_mapped_form_of_the_old_one(
    tmp_path, monkeypatch, when
):
    path = written(tmp_path)
    (tmp_path / "new").mkdir()
    new = written(tmp_path / "new", yaw=np.full(6, 0.25))
    form(path).unlink()
    module, name = (catalogs, "make_mapped") if when == "before it is read" else (catalog_mapped, "require_distinct")
    work = getattr(module, name)

    def replaced_first(*args):
        if new.exists():
            new.replace(path)
        return work(*args)

    monkeypatch.setattr(module, name, replaced_first)
    old = read_catalog(path)
    assert is_mapped(old)
    assert old.yaw.tolist() == columns()["yaw"].tolist(), "the state that was opened"
    for _ in range(2):
        assert read_catalog(path).yaw.tolist() == [0.25] * 6
    assert sorted(file.name for file in tmp_path.iterdir()) == [f".{path.name}.arrow", path.name, "new"]


def test_a_mapped_form_that_is_replaced_while_it_is_opened_is_read_as_one_file(tmp_path, monkeypatch):
    path = written(tmp_path)
    (tmp_path / "new").mkdir()
    new = form(written(tmp_path / "new", yaw=np.full(6, 0.25)))
    footer = catalog_mapped._footer

    def replaced_after(file):
        found = footer(file)
        if new.exists():
            new.replace(form(path))
        return found

    monkeypatch.setattr(catalog_mapped, "_footer", replaced_after)
    catalog = read_catalog(path)
    assert catalog.yaw.tolist() == columns()["yaw"].tolist()
    assert catalog.fingerprint() == fingerprint_of(catalog.table, "database")


def test_a_mapped_form_that_is_cut_off_or_changed_at_its_ends_is_made_anew(tmp_path):
    path = written(tmp_path)
    good, before = form(path).read_bytes(), read_catalog(path).table.to_pylist()
    rng = np.random.default_rng(0)
    cuts = [0, 1, 31, 32, 40, len(good) - 1, len(good) - 33, *rng.integers(0, len(good), 20).tolist()]
    damaged = [good[:cut] for cut in cuts] + [good + b"\0", bytes(len(good)), good[:-48] + good[-47:] + b"\0"]
    flips = rng.integers(0, len(good), 60).tolist()  # of so small a file all is at the end of a column, or aligns it
    damaged += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in flips]
    made = 0
    for data in damaged:
        form(path).write_bytes(data)
        assert read_catalog(path).table.to_pylist() == before
        made += form(path).read_bytes() != data
    assert made >= len(damaged) - 25  # the rest changed nothing but the space between columns


def test_where_nothing_can_be_written_the_parquet_file_is_decoded(tmp_path, monkeypatch, capsys):
    path = written(tmp_path)
    form(path).unlink()
    form(path).mkdir()  # what root cannot replace by a file
    catalog = read_catalog(path)
    assert not is_mapped(catalog)
    assert catalog.table.equals(decoded(path).table)
    assert "is decoded into memory: its mapped form cannot be written" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("CROSSLOCATE_CACHE", str(tmp_path / "cache"))
    assert is_mapped(read_catalog(path))
    kept = list((tmp_path / "cache/catalogs").iterdir())
    assert [file.suffix for file in kept] == [".arrow"]
    assert is_mapped(read_catalog(path))
    write_catalog(path, columns(yaw=np.ones(6)), "database", IMAGES)
    assert read_catalog(path).yaw.tolist() == [1.0] * 6


def test_no_mapped_form_is_left_of_a_file_that_cannot_be_used(tmp_path):
    path = written(tmp_path)
    table = pq.read_table(path)
    name = table.schema.get_field_index("name")
    pq.write_table(table.set_column(name, "name", pa.array(["a", "b", "c", "d", "b", "e"])), path)
    for _ in range(2):
        with pytest.raises(DataError, match=r"database\.parquet row 4: name 'b' is taken by row 1"):
            read_catalog(path)
    assert not any(file.name.endswith(".tmp") for file in tmp_path.iterdir())


def test_small_catalogs_have_none_and_leave_none(tmp_path, monkeypatch):
    path = written(tmp_path)
    assert form(path).exists()
    for module in (catalogs, catalog_writer):
        monkeypatch.setattr(module, "WORTH_MAPPING", 7)
    write_catalog(path, columns(), "database", IMAGES)
    assert [file.name for file in tmp_path.iterdir()] == ["database.parquet"]
    assert not is_mapped(read_catalog(path))


def _open(path, results):
    catalogs.WORTH_MAPPING = 0
    catalog = read_catalog(path)
    results.put((is_mapped(catalog), catalog.fingerprint(), catalog.names(range(len(catalog)))))


def test_processes_that_open_a_file_at_once_find_the_same(tmp_path):
    path = written(tmp_path, n=2000)
    expected = (True, read_catalog(path).fingerprint(), columns(2000)["name"])
    form(path).unlink()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    started = [context.Process(target=_open, args=(path, results)) for _ in range(3)]
    for process in started:
        process.start()
    found = [results.get(timeout=60) for _ in started]
    for process in started:
        process.join()
    assert found == [expected] * 3
    assert sorted(file.name for file in tmp_path.iterdir()) == [f".{path.name}.arrow", path.name]


def test_a_split_whose_rows_follow_one_another_is_no_copy(tmp_path):
    splits = ["train"] * 2 + ["val"] * 3 + ["test", "train"]
    catalog = read_catalog(written(tmp_path, 7, split=splits))
    validation = catalog.split("val")
    assert np.shares_memory(validation.longitude, catalog.longitude)
    assert validation.names(range(3)) == ["v2", "v3", "v4"]
    assert validation.describe(0).endswith("row 2 (v2)")
    scattered = catalog.split("train")
    assert not np.shares_memory(scattered.longitude, catalog.longitude)
    assert scattered.names(range(3)) == ["v0", "v1", "v6"]
    assert catalog.split("test").split("test").names([0]) == ["v5"]
    prints = {part.fingerprint() for part in (catalog, validation, scattered)}
    assert len(prints) == 3
    assert validation.fingerprint() == catalog.take([2, 3, 4]).fingerprint()
    whole = read_catalog(written(tmp_path))
    assert whole.split("test") is whole
    assert whole.take(np.arange(6)).fingerprint() == whole.fingerprint()
    with pytest.raises(DataError, match="split 'val' has no rows; splits with rows: test"):
        whole.split("val")


def test_columns_lie_behind_one_another_and_the_footer_says_where(tmp_path):
    path = written(tmp_path)
    with form(path).open("rb") as file:
        footer = catalog_mapped._footer(file.fileno())
    places = footer["columns"]
    assert len(places) == len(columns()) + 1
    assert all(begin % 64 == 0 for begin, _, _ in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))
