"""Lists of texts, numbers and rows are packed while a pickle is interpreted, and nothing comes out otherwise for it."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hand_pickles import HEADER, SCALAR, dtype, fields, listed, number, structure, text, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from crosslocate.errors import DataError
from crosslocate.formats import packed_texts, pickle_machine, pickle_table
from crosslocate.formats.companions import split_names
from crosslocate.formats.conversion import _require_names
from crosslocate.formats.meta import read_meta
from crosslocate.formats.pickles import Mapping
from crosslocate.formats.texts import Texts, as_arrow

MANY = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def mapping(tmp_path, content, protocol=4, packer=pickle.Pickler):
    """A file whose dict holds the content, as Python's pickler writes it."""
    buffer = io.BytesIO()
    packer(buffer, protocol).dump(content)
    path = tmp_path / "content.npy"
    path.write_bytes(HEADER + buffer.getvalue())
    return Mapping(path)


def packed_kinds(found, field):
    """Kinds of the chunks that a field's list is made of; None where it is not packed."""
    chunks = found._table.packed(found.fields[field])
    return None if chunks is None else found._table.kind[chunks].tolist()


SCALARS = st.floats(allow_nan=False).map(np.float64)
PAIRS = st.lists(SCALARS, min_size=2, max_size=2)


@settings(MANY, max_examples=50)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=30),
    st.lists(SCALARS | st.floats(allow_nan=False) | st.integers(-9, 9), max_size=30),
    st.lists(PAIRS | PAIRS.map(tuple) | st.lists(st.integers(0, 3), min_size=2, max_size=2), max_size=30),
    st.lists(st.integers(0, 29), max_size=40),
    st.sampled_from([2, 3, 4, 5]),
    st.integers(1, 7),
)
def test_what_a_pickler_wrote_is_read_whatever_rows_share(tmp_path, texts, numbers, rows, again, protocol, batch):
    def some(values):  # the same objects again: their memo slots are read
        return values + [values[i] for i in again if i < len(values)]

    content = {"texts": some(texts), "numbers": some(numbers), "rows": some(rows), "again": some(texts)[::-1]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickle._Pickler, "_BATCHSIZE", batch)
        patch.setattr(pickle_table, "_WINDOW", 61)
        patch.setattr(pickle_table, "_FIRST", 4)
        patch.setattr(packed_texts, "_TOGETHER", 3)
        found = mapping(tmp_path, content, protocol, pickle._Pickler)
    for field in ("texts", "again"):
        assert list(found.texts(field)) == content[field]
    assert_array_equal(found.numbers("numbers"), np.array(content["numbers"], float))
    assert_array_equal(found.numbers("rows", 2), np.array(content["rows"], float).reshape(-1, 2))


def test_what_millions_have_is_packed(tmp_path):
    n = 5001  # a batch of pickle is 1000 entries, and the last one is appended alone
    rng = np.random.default_rng(0)
    content = {
        "names": [f"{i}.png" for i in range(n)],
        "places": [name for i in range(n // 3) for name in [f"place {i}"] * 3],
        "numbers": list(rng.random(n)),
        "rows": [list(row) for row in rng.random((n, 4))],
    }
    found = mapping(tmp_path, content)
    assert [packed_kinds(found, field) for field in content] == [
        [pickle_machine.TEXTS], [pickle_machine.TEXTS], [pickle_machine.FLOATS], [pickle_machine.ROWS]
    ]  # fmt: skip
    assert len(found._table.kind) < 0.6 * n  # places, and the batch that the dtype is in
    assert len(found._table.cells) == 7 * n
    assert isinstance(found.texts("names"), Texts)
    assert_array_equal(found.numbers("rows", 4), np.array(content["rows"]))
    assert found.texts("places") == content["places"]


def test_a_row_that_grows_after_it_was_appended_keeps_what_came_later(tmp_path):
    row = b"]\x94(" + number(1.0) + number(2.0) + b"e"  # memo 0, which is read below
    grown = b"](" + row + listed(number(3.0), number(4.0)) + b"e" + b"h\x00" + number(9.0) + b"a0"
    with pytest.raises(DataError, match="dbWGS row 0 has 3 entries; expected 2 numbers"):
        read_meta(write(tmp_path, structure(dbWGS=grown)))
    late = b"]\x94(" + number(1.0) + b"e"
    completed = b"](" + late + listed(number(3.0), number(4.0)) + b"e" + b"h\x00" + number(2.0) + b"a0"
    assert_array_equal(read_meta(write(tmp_path, structure(dbWGS=completed))).database.wgs, [[1, 2], [3, 4]])


def test_an_older_list_that_takes_values_of_a_batch_keeps_them(tmp_path):
    before = b"]\x940" + dtype("f8") + b"\x940" + SCALAR + b"\x940"
    scalar = b"h\x02h\x01C\x08" + np.float64(7.5).tobytes() + b"\x86R"
    batch = b"](" + text("a") + b"h\x00" + listed(scalar, scalar) + b"a0" + text("b") + b"e"
    later = listed(*[text(name) for name in "cdefgh"])
    found = structure(before=before, dbIDs=batch, dbWGS=b"h\x00", dbUTM=b"h\x00", qIDs=later)
    with pytest.raises(DataError, match="fields differ in length"):
        read_meta(write(tmp_path, found))
    content = Mapping(write(tmp_path, found))
    assert_array_equal(content.numbers("dbWGS", 2), [[7.5, 7.5]])
    assert content.texts("dbIDs") == ["a", "b"]
    assert content.texts("qIDs") == list("cdefgh")


WRONG = {
    "texts": (listed(text("a"), text("b")), "a string"),
    "numbers": (listed(number(1.0), number(2.0)), "a float"),
    "rows": (listed(listed(number(1.0), number(2.0))), "a list"),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_a_packed_list_of_something_else_is_refused_with_its_row(tmp_path, given, said):
    wanted = {"dbIDs": ("a string", "a string"), "dbElevations": ("a float", "a number")}
    wanted |= {"dbCameraParams": ("", "4 numbers"), "dbWGS": ("a list", "")}
    for field, (good, expected) in wanted.items():
        if said != good:
            with pytest.raises(DataError, match=rf"{field} row 0 (is {said}|has 2 entries); expected {expected}"):
                read_meta(write(tmp_path, structure(**{field: given})))


def test_texts_of_a_packed_list_are_checked(tmp_path):
    broken = b"X\x02\x00\x00\x00\xff\xfe"
    for entries, says in (
        ([text("a"), broken], "dbIDs row 1 is no UTF-8 text"),
        ([text("a"), text("b" * 5000), text("c" * 6000)], "dbIDs row 1 has 5000 characters"),
    ):
        with pytest.raises(DataError, match=says):
            read_meta(write(tmp_path, structure(dbIDs=listed(*entries))))
    count = len(fields())
    assert count == 14
    surrogate = b"X\x03\x00\x00\x00\xed\xb3\xbf"  # as file names of no encoding are
    assert Mapping(write(tmp_path, structure(dbIDs=listed(surrogate, text("a"))))).texts("dbIDs") == ["\udcff", "a"]
    wide = "é" * 4000  # fewer characters than are allowed, more bytes
    assert Mapping(write(tmp_path, structure(dbIDs=listed(text(wide))))).texts("dbIDs", 4096) == [wide]


NAMES = st.lists(
    st.sampled_from(["", "a", "b/", "../", "/", ".", "_depth", "_segments", "x_", "é\n", "\\d", "\0"]), max_size=3
).map("".join)
ENDINGS = st.sampled_from([".exr", ".png", ".e.xr", "exr", "_depth.exr", "/.exr", "."])


@MANY
@given(st.lists(st.tuples(NAMES, ENDINGS).map("".join), min_size=1, max_size=6))
def test_names_of_millions_are_split_like_those_of_few(names):
    texts = Texts(as_arrow(names))
    short, template = split_names(texts)
    assert (list(short), template) == split_names(names)
    assert [template.replace("{name}", name) for name in short] == names


@MANY
@given(st.lists(st.lists(st.sampled_from(["a", "..", "/", ".", "\0", "\n", " "]), max_size=4).map("".join), min_size=1))
def test_names_that_lead_elsewhere_are_found(names):
    from pathlib import PurePosixPath

    bad = [
        not name or "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
        for name in names
    ]
    if not any(bad):
        _require_names(names, "source")
        return
    with pytest.raises(DataError, match=rf"source row {bad.index(True)}: "):
        _require_names(names, "source")


def test_texts_are_used_like_a_list():
    names = [f"n{i}" for i in range(10)]
    texts = Texts(pa.chunked_array([names[:4], names[4:]]))
    assert (len(texts), texts[3], texts[-1], texts[2:6], texts[::-2]) == (10, "n3", "n9", names[2:6], names[::-2])
    assert list(texts) == names == texts
    assert texts != names[:-1]
    assert texts.take(np.array([9, 0])) == ["n9", "n0"]
    assert as_arrow(texts) is texts.array
    assert as_arrow([]).to_pylist() == []
