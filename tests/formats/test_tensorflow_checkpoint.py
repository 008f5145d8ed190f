"""TensorFlow checkpoints without TensorFlow: files of its own, files written here, and damaged ones."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from formats.tiny_bundle import block, field, table, varint, write_bundle, write_slices
from golden_files import golden
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosslocate.errors import DataError
from crosslocate.formats import sstable
from crosslocate.formats.sstable import MAGIC, TableError, masked_crc32c, read_table
from crosslocate.formats.tensorflow import index_file, read_variables

VARIABLES = {
    "conv1/kernel": np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3),
    "conv1/bias": np.array([1.5, -2.5, np.nan], np.float32),
    "double": np.array([[0.1]]),
    "half": np.array([], np.float16),
    "global_step": np.array(39, np.int64),
}


def assert_same(found, expected):
    assert list(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_tensorflow_wrote():
    with np.load(golden("tensorflow/small.npz")) as file:
        expected = dict(file)
    assert_same(read_variables(golden("tensorflow/small.index")), expected)
    del expected["half"]  # the older form keeps such values elsewhere
    assert_same(read_variables(golden("tensorflow/small_v1")), expected)


@pytest.mark.parametrize("options", [{}, {"snappy": True}, {"per_block": 100}])
def test_what_is_written_here(tmp_path, options):
    prefix = write_bundle(tmp_path / "model.ckpt-39", VARIABLES, **options)
    for name in ("model.ckpt-39", "model.ckpt-39.index", "model.ckpt-39.data-00000-of-00001"):
        assert_same(read_variables(prefix.with_name(name)), VARIABLES)


def test_the_older_form(tmp_path):
    variables = {name: VARIABLES[name] for name in ("conv1/kernel", "conv1/bias")}
    assert_same(read_variables(write_slices(tmp_path / "old.ckpt", variables)), variables)


def test_checksum_is_castagnolis():
    crc = (masked_crc32c(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (crc << 15 | crc >> 17) & 0xFFFFFFFF == 0xE3069283  # the check value of CRC-32C


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=40), max_size=12), st.booleans(), st.integers(1, 5))
def test_tables_come_back(entries, snappy, per_block):
    found = read_table(table(entries.items(), snappy, per_block))
    assert [(key, bytes(value)) for key, value in found] == sorted(entries.items())


def test_a_wrong_checksum_is_noticed(tmp_path):
    prefix = write_bundle(tmp_path / "m", VARIABLES)
    data = tmp_path / "m.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[3] ^= 1
    data.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"m\.index.*checksum of conv1/"):
        read_variables(prefix)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no TensorFlow checkpoint .*m \(m\.index is missing\)"):
        read_variables(tmp_path / "m")
    write_bundle(tmp_path / "m", VARIABLES)
    (tmp_path / "m.data-00000-of-00001").unlink()
    with pytest.raises(DataError, match=r"m\.data-00000-of-00001: No such file"):
        read_variables(tmp_path / "m")
    assert index_file(tmp_path / "m.meta") == tmp_path / "m.index"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(b"a", field(1, 1) + field(2, b"") + field(4, 0) + field(5, 1 << 40))], "for shape"),
        ([(b"a", field(1, 1) + field(2, field(2, field(1, 1 << 40))) + field(5, 1 << 42))], "ends before a does"),
        ([(b"a", field(1, 1) + field(2, field(2, field(1, 1 << 63)) * 3))], "a variable of shape"),
        ([(b"a", field(1, 1) + field(7, b"")), (b"", field(1, 1))], "a is partitioned"),
        ([(b"", field(1, 1) + field(2, 1))], "big-endian"),
        ([(b"a", field(1, b"x"))], "dtype is no number"),
        ([(b"a", varint(2 << 3 | 2) + varint(99))], "99 bytes are announced where 0 are left"),
        ([(b"a", varint(2 << 3 | 3))], "unknown kind 3"),
        ([(b"\xff", field(1, 1) + field(2, b""))], "utf-8"),
    ],
)
def test_hostile_entries_are_refused(tmp_path, entries, message):
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(8))
    (tmp_path / "m.index").write_bytes(table(entries))
    with pytest.raises(DataError, match=rf"m\.index.*{message}"):
        read_variables(tmp_path / "m")


def stored(content, kind=0):
    """A block with what stands behind it."""
    return content + bytes([kind]) + masked_crc32c(content + bytes([kind])).to_bytes(4, "little")


def table_of(data, handles):
    """A table whose index names any places (start and size) in ``data``."""
    index = block([(b"%06d" % i, varint(start) + varint(size)) for i, (start, size) in enumerate(handles)])
    return data + stored(index) + (b"\0\0" + varint(len(data)) + varint(len(index))).ljust(40, b"\0") + MAGIC


@pytest.mark.parametrize("handles", [[(0, 0)] * 1000, [(1, 0), (0, 0)], [(1, 0), (1, 0)], [(0, 0), (0, 1)]])
def test_each_block_is_named_once_and_in_order(handles):
    first, second = block([(b"a", b"1")]), block([(b"b", b"2")])
    data, places = stored(first) + stored(second), [(0, len(first)), (len(first) + 5, len(second))]
    assert len(list(read_table(table_of(data, places)))) == 2
    with pytest.raises(TableError, match="begins before the one in front of it ends"):
        list(read_table(table_of(data, [(places[i][0] + shift, places[i][1]) for i, shift in handles])))


def test_keys_and_entries_have_limits(monkeypatch):
    growing = b"".join(varint(shared) + varint(1000) + varint(0) + bytes(1000) for shared in range(0, 9000, 1000))
    growing += bytes(4) + (1).to_bytes(4, "little")
    with pytest.raises(TableError, match="a key of 5000 bytes"):
        list(read_table(table_of(stored(growing), [(0, len(growing))])))
    monkeypatch.setattr(sstable, "MOST_ENTRIES", 10)
    entries = [(b"%02d" % i, b"") for i in range(11)]
    assert len(list(read_table(table(entries[:10], per_block=3)))) == 10
    for per_block in (1, 3, 11):
        with pytest.raises(TableError, match="more than 10 entries"):
            list(read_table(table(entries, per_block=per_block)))


def test_no_memory_is_taken_for_what_a_compressed_block_claims():
    packed = varint(60 << 20) + b"\0x"
    with pytest.raises(TableError, match="a block of 62914560 bytes, compressed to 6"):
        list(read_table(table_of(stored(packed, 1), [(0, len(packed))])))
    zeros = [(b"a", bytes(1 << 20))]  # as much as can be compressed
    assert [len(value) for _, value in read_table(table(zeros, snappy=True))] == [1 << 20]


def test_variables_that_share_their_bytes_are_refused(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.ones(100, np.float32)})
    entries = dict(read_table((tmp_path / "m.index").read_bytes()))
    message = bytes(entries[b"a"])
    prefix.with_name("m.index").write_bytes(table([(b"", bytes(entries[b""])), (b"a", message), (b"b", message)]))
    with pytest.raises(DataError, match=r"m\.index.*the variables in m\.data-00000-of-00001 have more bytes than"):
        read_variables(prefix)


def test_endless_shapes_are_refused(tmp_path):
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(4))
    for shape in (field(2, b"\x12\0" * 100_000), field(2, field(2, field(1, 1))) * 70):
        (tmp_path / "m.index").write_bytes(table([(b"a", field(1, 1) + shape + field(5, 4))]))
        with pytest.raises(DataError, match=r"m\.index.*a variable of shape"):
            read_variables(tmp_path / "m")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 9), st.integers(0, 9)), max_size=6),
)
def test_any_index_and_any_lengths_are_entries_or_one_error(handles, lengths):
    content = b"".join(varint(a) + varint(b) + varint(c) + bytes(b + c) for a, b, c in lengths)
    content += bytes(4) + (1).to_bytes(4, "little")
    data = stored(content) + stored(block([(b"z", b"")]))
    with contextlib.suppress(TableError):
        found = list(read_table(table_of(data, [(0, len(content)), *handles])))
        index = 1 + len(handles)  # a handle may lead to the index itself, which is a block like others
        assert len(found) <= len(lengths) + 1 + index


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_data_or_one_error(tmp_path, data):
    prefix = write_bundle(tmp_path / "m", VARIABLES)
    old = write_slices(tmp_path / "old", {"a": np.ones((2, 3), np.float32)})
    path = data.draw(st.sampled_from([tmp_path / "m.index", tmp_path / "m.data-00000-of-00001", old]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with contextlib.suppress(DataError):
        assert read_variables(old if path == old else prefix)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_message_is_data_or_one_error(first, second):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("m.index", "old"):
            (Path(folder) / name).write_bytes(table([(b"", first), (b"a", second)]))
        (Path(folder) / "m.data-00000-of-00001").write_bytes(bytes(16))
        for name in ("m", "old"):
            with contextlib.suppress(DataError):
                read_variables(Path(folder) / name)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_not(content):
    with contextlib.suppress(TableError):
        list(read_table(content))
