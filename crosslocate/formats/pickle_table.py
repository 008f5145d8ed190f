"""A pickle as a table of values: its opcodes are interpreted here, and no Python object is made by any of them.

The machine (`pickle_machine`) knows the opcodes that arrays, numbers, strings, dicts and lists need (protocols 2 to 5).
What a file names is compared with `ADMITTED` and never imported; a "call" of an admitted name only ties values
together. So the worst that a file can do is to be refused. Memory is bounded by the size of the file: sizes that
opcodes declare are checked against the bytes that are there, and memo indices must count up as picklers count. What
lists hold is packed where it can be, see the machine, so that memory is mostly that of the numbers in the file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosslocate.formats.pickle_machine import (
    CELLS,
    DECLARED,
    DONE,
    DTYPE_NAME,
    EMPTY_BYTES,
    ENCODE,
    FORBIDDEN,
    FROMBUFFER,
    FULL,
    KEPT,
    LINKS,
    LIST,
    MARKS,
    MEMO,
    MISUSED,
    NDARRAY,
    OPCODE,
    PACKABLE,
    PAUSED,
    POSITION,
    PUSHED,
    RECONSTRUCT,
    SCALAR_NAME,
    SHARED,
    SLOTS,
    STACK,
    TEXTS,
    TOO_MANY,
    TRUNCATED,
    VALUES,
    cells_of,
    entries_of,
    room,
    run,
    scan,
    unpack,
)

KINDS = (
    "None", "a bool", "an integer", "a float", "a string", "bytes", "a list", "a tuple", "a dict", "a class",
    "bytes", "a dtype", "an array", "an array", "a NumPy scalar",
)  # fmt: skip
"""What values of each kind are called in messages."""
_CORES = ("numpy.core", "numpy._core")
ADMITTED = {
    "_codecs\nencode": ENCODE,
    "numpy\ndtype": DTYPE_NAME,
    "numpy\nndarray": NDARRAY,
    "__builtin__\nbytes": EMPTY_BYTES,
    "builtins\nbytes": EMPTY_BYTES,
    **{f"{core}.{part}\n_reconstruct": RECONSTRUCT for core in _CORES for part in ("multiarray", "_multiarray_umath")},
    **{f"{core}.{part}\nscalar": SCALAR_NAME for core in _CORES for part in ("multiarray", "_multiarray_umath")},
    **{f"{core}.numeric\n_frombuffer": FROMBUFFER for core in _CORES},
}
"""Names that NumPy's own pickles need."""
MESSAGES = {
    TRUNCATED: "the file is cut off",
    OPCODE: "has an opcode that no array, number, string, dict or list needs",
    MISUSED: "uses a NumPy function as NumPy's own files do not",
    MEMO: "refers to a value that it has not stored",
    STACK: "is no valid pickle",
    DECLARED: "declares more bytes than it has",
    TOO_MANY: "has more than two thousand million values",
}


_WINDOW = 1 << 27
"""Bytes of a file that are gone through before its pages are given back."""
_FIRST = 1 << 12
"""Values and links that there is room for at first."""

Ids = NDArray[np.int32]


@dataclass
class Table:
    """All values of a pickle, as the machine describes them; ``root`` is the number of the one that it stands for."""

    kind: NDArray[np.uint8]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    child: Ids
    follow: Ids
    cells: NDArray[np.int64]
    root: int

    def packed(self, container: int) -> list[int] | None:
        """The values of kinds from `TEXTS` on that stand for a list's entries, if these are all there is in it."""
        if self.kind[container] != LIST or not self.b[container]:
            return None
        link, found = int(self.a[container]) & 0xFFFFFFFF, []
        while link >= 0:
            entry = int(self.child[link])
            if self.kind[entry] < TEXTS:
                return None
            found.append(entry)
            link = int(self.follow[link])
        return found

    def entries(self, container: int) -> Ids:
        """Values in a container, int32 [n]; what was packed is unpacked."""
        self._unpack(np.array([container], np.int32))
        return entries_of(self.a, self.b, self.child, self.follow, container)

    def rows(self, containers: Ids, columns: int) -> Ids:
        """Values in containers that have ``columns`` values each, int32 [n * columns]."""
        self._unpack(containers)
        return cells_of(self.a, self.child, self.follow, containers, columns)

    def _unpack(self, containers: Ids) -> None:
        values, links = room(self.kind, self.a, self.b, self.child, self.follow, containers)
        if links:
            begin, first = len(self.kind), len(self.child)
            self.kind, self.a, self.b = (_longer(x, begin + values) for x in (self.kind, self.a, self.b))
            self.child, self.follow = (_longer(x, first + links) for x in (self.child, self.follow))
            unpack(self.kind, self.a, self.b, self.child, self.follow, self.cells, containers, begin, first)


class Refusal(NamedTuple):
    """Why a pickle is not read: a key of `MESSAGES` or `FORBIDDEN`, the position, and a name if one is to blame."""

    status: int
    position: int
    name: str


def interpret(data: NDArray[np.uint8], start: int, release: Callable[[], None] = lambda: None) -> Table | Refusal:
    """Interpret the pickle that begins at byte ``start`` of ``data``.

    Args:
        data: The file.
        start: Where to begin.
        release: Called now and then; may give pages of the file back.
    """
    fetched = np.zeros(len(data) - start + 1, np.uint8)
    bounds = np.ones(6, np.int64)
    bounds[POSITION] = start
    while scan(data, bounds[POSITION] + _WINDOW, fetched, bounds):
        release()
    if bounds[PUSHED] >= np.iinfo(np.int32).max:
        return Refusal(TOO_MANY, start, "")
    # Upper bounds: pages of these arrays that stay untouched cost nothing.
    cells, stack = np.empty(bounds[PACKABLE], np.int64), np.empty(bounds[PUSHED], np.int32)
    marks, noted = np.empty(bounds[MARKS], np.int32), np.empty((bounds[MARKS], 4), np.int64)
    memo = np.empty(bounds[SLOTS], np.int32)
    kind, a, b = np.empty(_FIRST, np.uint8), np.empty(_FIRST, np.int64), np.empty(_FIRST, np.int64)
    child, follow = np.empty(_FIRST, np.int32), np.empty(_FIRST, np.int32)
    state = np.zeros(9, np.int64)
    state[[POSITION, KEPT, SHARED]] = start, -1, -1
    status, until, root, offset = PAUSED, start, 0, 0
    try:
        while status in (PAUSED, FULL):
            if status == PAUSED:
                until = state[POSITION] + _WINDOW
                release()
            else:
                kind, a, b = (_longer(x, state[VALUES] + root) for x in (kind, a, b))
                child, follow = (_longer(x, state[LINKS] + offset) for x in (child, follow))
            status, position, root, offset, length = run(
                data, until, *_NAMES, fetched, kind, a, b, child, follow, cells, stack, marks, noted, memo, state
            )
    except IndexError:  # `linked`: no pickle leads there as long as this machine is right
        return Refusal(STACK, start, "")
    if status == FORBIDDEN:
        name = data[offset : offset + length].tobytes() if root < 0 else _dotted(data, a, b, root, offset)
        return Refusal(status, position, name.decode("utf-8", "replace").replace("\n", "."))
    if status != DONE:
        return Refusal(status, position, "")
    values, links = state[VALUES], state[LINKS]
    return Table(kind[:values], a[:values], b[:values], child[:links], follow[:links], cells[: state[CELLS]], root)


def _longer(array: NDArray[Any], least: int) -> NDArray[Any]:
    """The array with room for at least so many entries: twice as many as it has, where it is too short."""
    if least <= len(array):
        return array
    longer = np.empty(max(least, 2 * len(array)), array.dtype)
    longer[: len(array)] = array
    return longer


def _dotted(data: NDArray[np.uint8], a: Any, b: Any, module: int, name: int) -> bytes:
    return b".".join(data[a[i] : a[i] + min(b[i], 100)].tobytes() for i in (module, name))


def _names() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    joined = "".join(ADMITTED).encode()
    ends = np.cumsum([len(name) for name in ADMITTED])
    return np.frombuffer(joined, np.uint8), np.concatenate([[0], ends]), np.array(list(ADMITTED.values()))


_NAMES = _names()
