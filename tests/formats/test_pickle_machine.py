"""The table of values is what Python's own unpickler makes of the same opcodes, and no file leads outside of it."""

import io
import pickle
import struct
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from hand_pickles import HEADER, SCALAR, dtype, number, structure, text, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosslocate.errors import DataError
from crosslocate.formats import pickle_machine as kinds
from crosslocate.formats.meta import read_meta
from crosslocate.formats.pickle_table import Refusal, interpret
from crosslocate.formats.pickles import Mapping

ENCODE = b"c_codecs\nencode\n"
BEFORE = b"\x80\x04" + b"]\x940" * 3 + text("latin1") + b"\x940" + dtype("f8") + b"\x940" + b"(N"
"""Memo: three empty lists (0 to 2), the encoding (3), the dtype (4). All that is on the stack becomes a tuple."""
AFTER = b"t."
DEPTH = 4


class Restricted(pickle.Unpickler):
    """Python's unpickler, for sequences made here."""

    def find_class(self, module, name):
        assert (module, name) in {("_codecs", "encode"), ("numpy", "dtype"), ("numpy.core.multiarray", "scalar")}
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def bits(value):
    return struct.pack(">d", value).hex()


def described(value, depth=DEPTH):
    """A value of Python; nested ones to a depth, since lists may hold themselves."""
    if isinstance(value, list | tuple):
        entries = [described(entry, depth - 1) for entry in value] if depth else "..."
        return type(value).__name__, len(value), entries
    return ("float", bits(value)) if isinstance(value, float) else (type(value).__name__, value)


def found(table, data, value, depth=DEPTH):
    """The same of a value of the table."""
    kind, a, b = (int(column[value]) for column in (table.kind, table.a, table.b))
    if kind in (kinds.LIST, kinds.TUPLE):
        ids = table.entries(value)
        entries = [found(table, data, entry, depth - 1) for entry in ids.tolist()] if depth else "..."
        return ("list" if kind == kinds.LIST else "tuple"), b, entries
    content = data[a : a + b].tobytes()
    plain = {
        kinds.NONE: lambda: ("NoneType", None),
        kinds.INT: lambda: ("int", a),
        kinds.FLOAT: lambda: ("float", table.a[value : value + 1].astype(">i8").tobytes().hex()),
        kinds.TEXT: lambda: ("str", content.decode()),
        kinds.LATIN1: lambda: ("bytes", content.decode().encode("latin1")),
        kinds.BYTES: lambda: ("bytes", content),
        kinds.NAME: lambda: "a name",
        kinds.DTYPE: lambda: "a dtype",
    }
    return plain[kind]()


def of_table(sequence):
    data = np.frombuffer(sequence, np.uint8)
    table = interpret(data, 0)
    return None if isinstance(table, Refusal) else found(table, data, table.root)


def of_python(sequence):
    try:
        value = Restricted(io.BytesIO(sequence)).load()
    except (pickle.UnpicklingError, TypeError, ValueError, EOFError, IndexError, AttributeError, KeyError):
        return None
    return described(value)


SIMPLE = [
    b"N",
    b"]",
    b")",
    b"K\x07",
    b"J\xff\xff\xff\xff",
    b"h\x00",
    b"h\x01",
    b"h\x02",
    b"h\x03",
    text("é"),
    text("a"),
]
SIMPLE += [number(value) for value in (-0.0, 1.5, float("nan"))]


def values(random, depth):
    """Opcodes that push one value: a plain one, a call with anything harmless between its parts, or a list."""
    parts = [lambda: random.choice(SIMPLE)] * 2
    if depth:
        parts += [encoded, scalar, collected]
    made = random.choice(parts)
    return made() if made not in (encoded, scalar, collected) else made(random, depth - 1)


def quiet(random, depth):
    """Opcodes that leave the stack as it was: with lists, the memo and marks."""
    made = b""
    for _ in range(random.randint(0, 2)):
        one = values(random, depth)
        some = b"".join(values(random, depth) for _ in range(random.randint(0, 2)))
        into = b"h" + bytes([random.randint(0, 2)])
        made += random.choice(
            [b"\x94", into + one + b"a0", into + b"(" + some + b"e0", b"(" + some + b"1", b"(" + some + b"t0",
             one + b"0", one + b"\x940"]
        )  # fmt: skip
    return made


def encoded(random, depth):
    """A call that makes bytes."""
    parts = [ENCODE, random.choice([text("a"), text("é"), text("")]), b"h\x03", b"\x86", b"R"]
    return b"".join(part + (quiet(random, depth) if part != b"R" else b"") for part in parts)


def scalar(random, depth):
    """A call that makes a float."""
    content = b"C\x08" + struct.pack("<d", random.choice([0.0, -1.5, float("nan"), float("inf")]))
    parts = [SCALAR, b"h\x04", content, b"\x86", b"R"]
    return b"".join(part + (quiet(random, depth) if part != b"R" else b"") for part in parts)


def collected(random, depth):
    """A list of several."""
    return b"](" + b"".join(values(random, depth) for _ in range(random.randint(0, 3))) + b"e" + quiet(random, depth)


def sequences(random):
    makers = [values, quiet, encoded, scalar]
    return b"".join(random.choice(makers)(random, 1) for _ in range(random.randint(1, 8)))


def pieces(random):
    """Opcodes in any order, most of them no valid sequence."""
    slots = [letter + bytes([slot]) for slot in range(10) for letter in (b"h", b"q")]
    single = [bytes([opcode]) for opcode in b"00112aaaeett(\x85\x86\x86\x87RRb\x93\x94\x94"]
    makers = [
        *[lambda: random.choice(SIMPLE)] * 3, *[lambda: random.choice(single)] * 6, *[lambda: random.choice(slots)] * 2,
        lambda: random.choice([ENCODE, SCALAR, b"h\x04", b"C\x0812345678"]), lambda: encoded(random, 0),
        lambda: scalar(random, 0), lambda: ENCODE + text("a") + b"h\x03\x86", lambda: b"h\x00" + text("b") + b"a0R",
    ]  # fmt: skip
    return b"".join(random.choice(makers)() for _ in range(random.randint(1, 24)))


def appended(random):
    """A list of rows and other things, in batches and singly, with the memo's lists in between."""
    entries = []
    for _ in range(random.randint(0, 5)):
        cells = [number(random.random()), *[scalar(random, 0)] * (random.random() < 0.3)] * random.choice([1, 2, 2])
        row = b"]" + random.choice([b"", b"\x94"]) + b"(" + b"".join(cells) + b"e"
        got = b"h" + bytes([random.randint(0, 7)])
        others = [text("x"), values(random, 1), got, row + quiet(random, 1), got + number(3.0) + b"a0" + row]
        entries.append(random.choice([row] * 6 + others))
    made, k = b"]" + random.choice([b"", b"\x94"]), 0
    while k < len(entries):
        batch = entries[k : k + random.randint(1, 3)]
        made += b"(" + b"".join(batch) + b"e" if random.random() < 0.8 else b"".join(entry + b"a" for entry in batch)
        made += quiet(random, 1) if random.random() < 0.3 else b""
        k += len(batch)
    return made


def lists(random):
    makers = [appended, appended, partial(values, depth=1), partial(quiet, depth=1)]
    return b"".join(random.choice(makers)(random) for _ in range(random.randint(1, 5)))


RANDOM = st.randoms(use_true_random=False)
MANY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(RANDOM.map(sequences))
def test_what_python_makes_of_a_sequence_is_what_the_table_holds(sequence):
    whole = BEFORE + sequence + b"h\x00h\x01h\x02" + AFTER
    wanted = of_python(whole)
    assert wanted is not None
    assert of_table(whole) == wanted


@settings(MANY, max_examples=400)
@given(RANDOM.map(pieces))
def test_what_the_table_takes_python_takes_and_as_the_same(sequence):
    held = of_table(BEFORE + sequence + AFTER)
    if held is not None and "a name" not in str(held) and "a dtype" not in str(held):
        assert held == of_python(BEFORE + sequence + AFTER)


@MANY
@given(RANDOM.map(lists))
def test_lists_of_anything_hold_what_python_holds(sequence):
    whole = BEFORE + sequence + b"h\x00h\x01h\x02" + AFTER
    held = of_table(whole)
    if "a name" not in str(held) and "a dtype" not in str(held):
        assert held == of_python(whole)


@settings(MANY, max_examples=60)
@given(RANDOM.map(pieces), st.sampled_from(["dbIDs", "qWGS", "dbElevations"]))
def test_such_sequences_in_a_file_end_in_data_or_one_error(tmp_path, sequence, field):
    for pickled in (
        BEFORE + sequence + AFTER,
        structure(**{field: b"](" + sequence + b"e"}),
        structure(before=BEFORE[2:] + sequence + b"t0"),
    ):
        path = write(tmp_path, pickled)
        with suppress(DataError):
            read_meta(path)


GROWN = {
    "one": (b"h\x00h\x03a0", 1),
    "several": (b"h\x00(" + b"h\x03" * 3 + b"e0", 3),
    "many": (b"h\x00(" + b"h\x03" * 3000 + b"e0", 3000),
}


@pytest.mark.parametrize("call", [ENCODE + text("a") + b"h\x03\x86%sR", SCALAR + b"h\x04C\x0812345678\x86%sR"])
@pytest.mark.parametrize("grown", GROWN)
def test_a_list_that_grows_between_arguments_and_call_keeps_its_entries(call, grown):
    between, count = GROWN[grown]
    sequence = BEFORE + call % between + b"](" + text("x") * 4 + b"e" + b"h\x00" + AFTER
    held = of_table(sequence)
    assert held == of_python(sequence)
    assert held[2][-1] == ("list", count, [("str", "latin1")] * count)


def test_a_list_of_names_that_grows_within_calls_is_read_as_it_is(tmp_path):
    grow = b"h\x00h\x01a0"
    call = ENCODE + text("a") + text("latin1") + b"\x86" + grow + b"R0"
    before = b"]\x940" + text("good") + b"\x940" + call * 2 + b"](" + text("evil") * 4 + b"e0"
    assert read_meta(write(tmp_path, structure(before=before, dbIDs=b"h\x00"))).database.ids == ["good", "good"]


@pytest.mark.parametrize("ending", [b"R", b"b", b"\x93", b"\x94", b"q\x00", b"0"])
def test_what_lies_below_a_mark_is_out_of_reach(ending):
    before = b"\x80\x04(" + ENCODE + text("a") + text("latin1") + b"\x86("
    if ending != b"0":  # that takes the mark away
        assert isinstance(interpret(np.frombuffer(before + ending + b"tt.", np.uint8), 0), Refusal)
    assert of_table(before + ending + b"tt.") is None


@pytest.mark.parametrize("link", [-1, 3, 2**31 - 1])
def test_links_to_nowhere_are_not_followed(link):
    a, b = np.array([0, link & 0xFFFFFFFF], np.int64), np.array([2, 2], np.int64)
    child, follow = np.zeros(3, np.int32), np.full(3, link, np.int32)
    for container in (0, 1):
        with pytest.raises(IndexError, match="no such link"):
            kinds.entries_of(a, b, child, follow, container)
        with pytest.raises(IndexError, match="no such link"):
            kinds.cells_of(a, child, follow, np.array([container], np.int32), 2)


def test_a_fields_dict_alone_is_a_mapping(tmp_path):
    path = tmp_path / "plain.npy"
    path.write_bytes(HEADER + b"\x80\x04}(" + text("k") + b"](" + text("good") * 2 + b"eu.")
    assert Mapping(path).texts("k") == ["good", "good"]
