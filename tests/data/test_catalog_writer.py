"""Catalogs written in batches, their names, and the paths that templates make of their columns."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosslocate.data import catalog_names, catalog_writer
from crosslocate.data.catalog import CatalogWriter, read_catalog, write_catalog
from crosslocate.data.catalog_names import first_duplicate, hashes
from crosslocate.data.catalog_paths import file_of, files
from crosslocate.data.completeness import missing_images, require_images
from crosslocate.errors import DataError, UnwritableError

IMAGES = {"depth": "database/depth/{name}.exr"}
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=40)


def columns(n, **changes):
    base = {name: np.zeros(n) for name in ("latitude", "longitude", "elevation", "pitch", "roll", "yaw")}
    base |= {"name": [f"v{i}" for i in range(n)], "place": np.arange(n) // 2, "horizontal_fov": np.ones(n)}
    return base | {"split": ["train" if i % 3 else "test" for i in range(n)], "shard": np.arange(n) // 4} | changes


def part(values, start, stop):
    return {name: column[start:stop] for name, column in values.items()}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 40), st.lists(st.integers(0, 15), max_size=6))
def test_equal_rows_give_equal_bytes_however_they_are_split(tmp_path, n, sizes):
    values = columns(n, split=[["b", "a", "c"][i % 3] for i in range(n)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog_writer, "ROW_GROUP", 8)
        write_catalog(tmp_path / "one.parquet", values, "database", IMAGES)
        with CatalogWriter(tmp_path / "several.parquet", "database", IMAGES) as writer:
            start = 0
            for size in [*sizes, n]:
                if start < n or not writer.rows:
                    writer.append(part(values, start, start + size))
                start += size
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "several.parquet").read_bytes()
    catalog = read_catalog(tmp_path / "several.parquet")
    assert catalog.names(np.arange(n)) == values["name"]
    assert catalog.table["split"].cast(pa.string()).to_pylist() == values["split"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.parquet", "several.parquet"]


def write_batches(path, *batches):
    with CatalogWriter(path, "database", IMAGES) as writer:
        for batch in batches:
            writer.append(batch)


def test_errors_name_the_row_of_the_file_and_leave_the_old_file(tmp_path):
    path, values = tmp_path / "database.parquet", columns(12)
    write_catalog(path, values, "database", IMAGES)
    before = path.read_bytes()
    broken = {
        r"row 9 \(v9\): latitude is 99": part(values | {"latitude": np.where(np.arange(12) == 9, 99.0, 0.0)}, 6, 12),
        "row 7: name 'v3' is taken by row 3": part(
            values | {"name": [f"v{i}" if i != 7 else "v3" for i in range(12)]}, 6, 12
        ),
        "columns from row 6 on that the rows before do not have: seen, also": part(values, 6, 12)
        | {"seen": [1] * 6, "also": [2] * 6},
        "columns missing from row 6 on: shard": {k: v for k, v in part(values, 6, 12).items() if k != "shard"},
        "columns differ in type from row 6 on": part(values | {"shard": ["x"] * 12}, 6, 12),
    }
    for message, second in broken.items():
        with pytest.raises(DataError, match=message):
            write_batches(path, part(values, 0, 6), second)
    with pytest.raises(AttributeError):
        write_batches(path, values, None)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_rows_that_wait_to_be_written_are_not_counted_again(tmp_path, monkeypatch):
    """Which would take time that grows with the square of the number of batches."""
    lengths = []

    class Counted(list):
        def __iter__(self):
            lengths.append(len(self))
            return super().__iter__()

    with CatalogWriter(tmp_path / "database.parquet", "database", IMAGES) as writer:
        writer._waiting = Counted()
        for row in range(20):
            writer.append(part(columns(20), row, row + 1))
        assert sum(lengths) == 0
    assert len(read_catalog(tmp_path / "database.parquet")) == 20


def test_a_full_disk_ends_in_one_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalog_writer.pq.ParquetWriter, "write_table", full)
    with pytest.raises(UnwritableError, match=r"cannot be written \(No space left on device\)"):
        write_catalog(tmp_path / "database.parquet", columns(3), "database", IMAGES)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_without_rows_writes_a_catalog_without_rows(tmp_path):
    with CatalogWriter(tmp_path / "queries.parquet", "queries", {}):
        pass
    assert len(read_catalog(tmp_path / "queries.parquet")) == 0


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(0, 3), st.sampled_from([None, 0, 1, 3]))
def test_the_first_duplicate_is_found_whatever_the_hashes(names, offset, bits):
    array = pa.array(["x"] * offset + names, pa.string()).slice(offset)
    numbers = hashes(array)
    if bits is not None:  # nearly all of them collide
        numbers = numbers & np.uint64((1 << bits) - 1)
    expected = next(((i, names.index(name)) for i, name in enumerate(names) if names.index(name) != i), None)
    assert first_duplicate(numbers, lambda rows: [names[row] for row in rows]) == expected


def test_equal_names_have_equal_hashes_wherever_they_stand_and_others_mostly_not(monkeypatch):
    names = [f"{i:06d}" for i in range(5000)] + ["", "a", "aa", "é", "ae", "ea", "\0", "\0\0"]
    array = pa.array(names)
    numbers = hashes(array)
    assert len(np.unique(numbers)) == len(names)
    monkeypatch.setattr(catalog_names, "_TOGETHER", 7)
    assert (hashes(array) == numbers).all()
    assert (hashes(array.slice(4998)) == numbers[4998:]).all()


def test_a_duplicate_is_found_when_all_hashes_collide(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_writer, "hashes", lambda names: np.zeros(len(names), np.uint64))
    write_catalog(tmp_path / "database.parquet", columns(9), "database", IMAGES)
    with pytest.raises(DataError, match="row 5: name 'v2' is taken by row 2"):
        write_catalog(
            tmp_path / "x.parquet",
            columns(9, name=["v0", "v1", "v2", "v3", "v4", "v2", "v6", "v7", "v8"]),
            "database",
            {},
        )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text("a.\n/é{", max_size=5), st.integers(-5, 5)), min_size=1, max_size=8),
    st.lists(st.sampled_from(["{name}", "{stem}", "{shard}", "a", "/", ".", "\\1", "$", "é"]), max_size=6),
)
def test_templates_are_filled_in_row_by_row(rows, pieces):
    table = pa.table({"name": [name for name, _ in rows], "shard": [shard for _, shard in rows]})
    found = files("path", "".join(pieces), table).to_pylist()
    filled = [
        "".join(str(shard) if piece == "{shard}" else file_of(piece, name) for piece in pieces) for name, shard in rows
    ]
    assert found == filled


def test_images_lie_where_columns_say(tmp_path):
    values = columns(12, tile=pa.array([f"t{i % 3}" for i in range(12)]))
    images = {
        "depth": "depth/{shard}/{tile}/{name}.exr",
        "photo": "/photos/{split}/{place}-{stem}.jpg",
        "segments": "{name}",
    }
    write_catalog(tmp_path / "database.parquet", values, "database", images)
    catalog = read_catalog(tmp_path / "database.parquet")
    assert catalog.image_path("depth", 5) == tmp_path / "depth/1/t2/v5.exr"
    assert str(catalog.image_path("photo", 3)) == "/photos/test/1-v3.jpg"
    for modality in images:
        rows = [7, 0, 7, 11]
        assert catalog.paths(modality, rows) == [str(catalog.image_path(modality, row)) for row in rows]
        assert catalog.split("train").paths(modality, [0]) == catalog.paths(modality, [1])
    assert catalog.paths("depth", []) == []
    for row in range(12):
        if row not in (2, 9):
            catalog.image_path("depth", row).parent.mkdir(parents=True, exist_ok=True)
            catalog.image_path("depth", row).touch()
    assert sorted(missing_images(catalog, ["depth"])) == [("depth", 2), ("depth", 9)]
    with pytest.raises(DataError, match=r"(?s)2 image files are missing:.*depth/0/t2/v2\.exr of .*row 2 \(v2\)"):
        require_images([(catalog, ["depth"])])


def test_a_column_that_there_is_not_is_named_with_those_that_there_are(tmp_path):
    for images, says in (
        (
            {"depth": "{chard}/{name}.exr"},
            r"\{chard\}, which is no column of strings or integers; such columns: .*shard",
        ),
        ({"depth": "{yaw}/{name}.exr"}, r"\{yaw\}, which is no column of strings or integers"),
        ({"depth": "{}/{name}.exr"}, r"\{\}, which is no column"),
        ({"depth": "{shard}.exr"}, r"lacks \{name\} \(or \{stem\}\)"),
    ):
        with pytest.raises(DataError, match=says):
            write_catalog(tmp_path / "database.parquet", columns(3), "database", images)
    path = tmp_path / "database.parquet"
    write_catalog(path, columns(3, shard=pa.array([1, None, 2])), "database", {"depth": "{shard}/{name}.exr"})
    catalog = read_catalog(path)
    assert catalog.paths("depth", [0, 2]) == [f"{tmp_path}/1/v0.exr", f"{tmp_path}/2/v2.exr"]
    with pytest.raises(DataError, match=r"row 1 \(v1\) lacks a value"):
        catalog.paths("depth", [0, 1])
    for read in (lambda part: part.paths("depth", [1, 0]), lambda part: list(missing_images(part, ["depth"]))):
        with pytest.raises(DataError, match=r"row 1 \(v1\) lacks a value"):
            read(catalog.take([2, 1]).take([1, 0]))
