"""The compiled machine that interprets pickles: opcodes, their operands, and the values they make.

Numba compiles a function again when the file of the function changes, and knows of no other file. So everything that
these functions are compiled with, constants too, is in this file, and it imports nothing of the package: others import
the constants from here.

Values are numbered. ``kind[i]`` says what value i is (`NONE` to `SCALAR`), ``a[i]`` and ``b[i]`` are its content:
offset and length in the file for texts and bytes, the bits of a number, and for containers ``a`` = first and last link
(low and high 32 bits) and ``b`` = number of entries; link k holds a value ``child[k]`` and the next link ``follow[k]``.

Texts, numbers and rows of numbers that are appended to a list are packed: they become cells of eight bytes, which one
link to a value of a kind from `TEXTS` on stands for, ``a`` being its first cell and ``b`` how many entries it is. What
was made for them is forgotten, so that a list of millions takes the memory of its cells.

Source: CPython's ``pickletools``.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

NONE, BOOL, INT, FLOAT, TEXT, BYTES, LIST, TUPLE, DICT, NAME, LATIN1, DTYPE, ARRAY, BUFFER, SCALAR = range(15)
"""Kinds of values."""
TEXTS, FLOATS, ROWS = 15, 16, 17
"""Kinds of packed entries of a list: texts, numbers, and lists of numbers, all of one length."""
LENGTH_BITS = 20
"""Of a text's cell; the others say where in the file it begins."""
COLUMN_BITS = 16
"""Of ``b`` of packed rows; the others say how many rows there are."""
ENCODE, DTYPE_NAME, NDARRAY, RECONSTRUCT, SCALAR_NAME, FROMBUFFER, EMPTY_BYTES = range(7)
"""What the admitted names stand for."""
DONE, TRUNCATED, OPCODE, FORBIDDEN, MISUSED, MEMO, STACK, DECLARED, TOO_MANY = range(9)
"""How interpreting ends."""
PAUSED, FULL = 9, 10
"""How it is interrupted: at the given position, or since values or links need more room."""
POSITION, DEPTH, MARKED, VALUES, LINKS, STORED, KEPT, SHARED, CELLS = range(9)
"""What is kept in between: counts, and the newest values that must stay and that the memo gives out again."""
MADE, PUSHED, MARKS, SLOTS, PACKABLE = 1, 2, 3, 4, 5
"""Likewise of `scan`, behind `POSITION`."""
BASE, LINKS_BEFORE, KEPT_BEFORE, LOWEST = range(4)
"""What is noted of a mark: values, links and `KEPT` when it was set, and the oldest container that grew since."""
UNKNOWN, LINES = 100, 101


def _sizes() -> NDArray[np.int8]:
    """By opcode: bytes of its operand; negative: bytes of the length that comes before its operand."""
    sizes = np.full(256, UNKNOWN, np.int8)
    known = {
        0: tuple(b".N\x88\x89]ae)t\x85\x86\x87}su(01\x94\x93Rb"),  # values without operand, containers, calls, memo
        1: (0x80, 0x4B, 0x71, 0x68),  # PROTO, BININT1, BINPUT, BINGET
        2: (0x4D,),  # BININT2
        4: (0x4A, 0x72, 0x6A),  # BININT, LONG_BINPUT, LONG_BINGET
        8: (0x47, 0x95),  # BINFLOAT, FRAME
        -1: (0x55, 0x8C, 0x43, 0x8A),  # SHORT_BINSTRING, SHORT_BINUNICODE, SHORT_BINBYTES, LONG1
        -4: (0x54, 0x58, 0x42, 0x8B),  # BINSTRING, BINUNICODE, BINBYTES, LONG4
        -8: (0x8D, 0x8E, 0x96),  # BINUNICODE8, BINBYTES8, BYTEARRAY8
        LINES: (0x63,),  # GLOBAL
    }
    for size, opcodes in known.items():
        sizes[list(opcodes)] = size
    return sizes


SIZES = _sizes()
compiled = njit(cache=True, nogil=True)
inlined = njit(cache=True, nogil=True, inline="always")


@inlined
def little(data: Any, position: Any, size: Any) -> Any:
    """A little-endian integer of ``size`` bytes."""
    value = np.int64(0)
    for i in range(size):
        value |= np.int64(data[position + i]) << np.int64(8 * i)
    return value


@inlined
def linked(index: Any, links: Any) -> Any:
    """The index, if there is such a link; else IndexError."""
    if index < 0 or index >= len(links):
        raise IndexError("no such link")
    return index


@inlined
def operand(data: Any, position: Any) -> Any:
    """Status, offset and length of the payload, number in the opcode, and the next position."""
    end, op = len(data), data[position]
    size = SIZES[op]
    if size == UNKNOWN:
        return OPCODE, position, 0, np.int64(0), position
    if size == 0:
        return DONE, position, 0, np.int64(0), position + 1
    if size == LINES:
        lines, i = 0, position + 1
        while i < end and lines < 2:
            lines += data[i] == 0x0A
            i += 1
        return (DONE if lines == 2 else TRUNCATED), position + 1, i - position - 2, np.int64(0), i
    body = position + 1 + abs(size)
    if body > end:
        return TRUNCATED, position, 0, np.int64(0), position
    number = little(data, position + 1, abs(size))
    if size > 0:
        return DONE, position + 1, np.int64(size), number, body
    if number < 0 or number > end - body:
        return DECLARED, position, 0, np.int64(0), position
    return DONE, body, number, number, body + number


@compiled
def scan(data: Any, until: Any, fetched: Any, state: Any) -> Any:
    """Count upper bounds of what is made, pushed, marked, stored and packed; to the end, the first error or a position.

    Also marks the memo slots that are read; `run` comes to the same errors at the same places, or earlier to others.

    Args:
        data: The file, uint8 [bytes].
        until: Where to pause.
        fetched: Memo slots that are read become 1, uint8.
        state: `POSITION`, `MADE`, `PUSHED`, `MARKS`, `SLOTS`, `PACKABLE`, int64 [6].

    Returns:
        Whether it goes on from there.
    """
    position = state[POSITION]
    while position < len(data):
        if position >= until:
            state[POSITION] = position
            return True
        op = data[position]
        status, _, _, number, after = operand(data, position)
        if status != DONE or op == 0x2E:
            break
        if op == 0x28:
            state[MARKS] += 1
        elif op in (0x94, 0x71, 0x72):
            state[SLOTS] += 1
        elif op in (0x68, 0x6A):
            if number < len(fetched):
                fetched[number] = 1
            state[PUSHED] += 1
            state[PACKABLE] += 1
        elif op not in (0x80, 0x95, 0x30, 0x31, 0x61, 0x65, 0x73, 0x75, 0x62):
            state[MADE] += 1
            state[PUSHED] += 1
            state[PACKABLE] += op in (0x58, 0x8C, 0x8D, 0x47, 0x52)
        position = after
    return False


@inlined
def _link(a: Any, b: Any, child: Any, follow: Any, links: Any, container: Any, value: Any) -> Any:
    """Append a value to a container."""
    child[links], follow[links] = value, -1
    if b[container]:
        follow[a[container] >> 32] = links
        a[container] = (a[container] & 0xFFFFFFFF) | (np.int64(links) << 32)
    else:
        a[container] = np.int64(links) | (np.int64(links) << 32)
    b[container] += 1
    return links + 1


@inlined
def _nth(a: Any, child: Any, follow: Any, container: Any, n: Any) -> Any:
    """Value number ``n`` of a container; IndexError when its links lead elsewhere."""
    link = a[container] & 0xFFFFFFFF
    for _ in range(n):
        link = follow[linked(link, follow)]
    return child[linked(link, child)]


@compiled
def entries_of(a: Any, b: Any, child: Any, follow: Any, container: Any) -> Any:
    """Values in a container, int32 [n]; IndexError when its links lead elsewhere."""
    found = np.empty(b[container], np.int32)
    link = a[container] & 0xFFFFFFFF
    for i in range(len(found)):
        found[i] = child[linked(link, child)]
        link = follow[link]
    return found


@compiled
def cells_of(a: Any, child: Any, follow: Any, containers: Any, columns: Any) -> Any:
    """Values in containers of ``columns`` values each, int32 [n * columns]; IndexError as `entries_of`."""
    found = np.empty(len(containers) * columns, np.int32)
    k = 0
    for container in containers:
        link = a[container] & 0xFFFFFFFF
        for _ in range(columns):
            found[k] = child[linked(link, child)]
            link = follow[link]
            k += 1
    return found


@compiled
def room(kind: Any, a: Any, b: Any, child: Any, follow: Any, containers: Any) -> Any:
    """Values and links that `unpack` makes at most; IndexError as `entries_of`."""
    values, links = 0, 0
    for container in containers:
        if kind[container] == LIST and b[container]:
            link, packed = a[container] & 0xFFFFFFFF, False
            while link >= 0:
                entry = child[linked(link, child)]
                if kind[entry] >= TEXTS:
                    packed = True
                    columns = (b[entry] & ((1 << COLUMN_BITS) - 1)) if kind[entry] == ROWS else 0
                    count = b[entry] >> COLUMN_BITS if kind[entry] == ROWS else b[entry]
                    values += count * (1 + columns)
                    links += count * columns
                link = follow[link]
            links += b[container] if packed else 0
    return values, links


@compiled
def unpack(
    kind: Any,
    a: Any,
    b: Any,
    child: Any,
    follow: Any,
    cells: Any,
    containers: Any,
    values: Any,
    links: Any,
) -> Any:
    """Make values of what is packed in lists; there is `room`. Returns the new numbers of values and links."""
    for container in containers:
        if kind[container] != LIST or not b[container]:
            continue
        link, packed = a[container] & 0xFFFFFFFF, False
        while link >= 0 and not packed:
            packed = kind[child[link]] >= TEXTS
            link = follow[link]
        if not packed:
            continue
        link = a[container] & 0xFFFFFFFF
        a[container], b[container] = 0, 0
        while link >= 0:
            entry, following = child[link], follow[link]
            if kind[entry] < TEXTS:
                links = _link(a, b, child, follow, links, container, entry)
            elif kind[entry] == ROWS:
                columns, cell = b[entry] & ((1 << COLUMN_BITS) - 1), a[entry]
                for _ in range(b[entry] >> COLUMN_BITS):
                    row = values
                    kind[row], a[row], b[row] = LIST, 0, 0
                    values += 1
                    links = _link(a, b, child, follow, links, container, row)
                    for _ in range(columns):
                        kind[values], a[values], b[values] = FLOAT, cells[cell], 0
                        links = _link(a, b, child, follow, links, row, values)
                        values += 1
                        cell += 1
            else:
                for cell in range(a[entry], a[entry] + b[entry]):
                    if kind[entry] == TEXTS:
                        kind[values], a[values] = TEXT, cells[cell] >> LENGTH_BITS
                        b[values] = cells[cell] & ((1 << LENGTH_BITS) - 1)
                    else:
                        kind[values], a[values], b[values] = FLOAT, cells[cell], 0
                    links = _link(a, b, child, follow, links, container, values)
                    values += 1
            link = following
    return values, links


@compiled
def _fitting(kind: Any, a: Any, b: Any, child: Any, stack: Any, begin: Any, depth: Any, shared: Any) -> Any:
    """The kind in which all of the uppermost values can be packed, -1: none, and the columns of rows.

    Texts and numbers never change, so a copy of them does. A list may grow as long as somebody can get at it: rows are
    packed when no memo slot that is read holds one.
    """
    first = stack[begin]
    if kind[first] == TEXT:
        for i in range(begin, depth):
            value = stack[i]
            if kind[value] != TEXT or b[value] >> LENGTH_BITS or a[value] >> (63 - LENGTH_BITS):
                return -1, np.int64(0)
        return TEXTS, np.int64(0)
    if kind[first] == FLOAT:
        for i in range(begin, depth):
            if kind[stack[i]] != FLOAT:
                return -1, np.int64(0)
        return FLOATS, np.int64(0)
    if kind[first] != LIST or not b[first]:
        return -1, np.int64(0)
    columns, cell = b[first], np.int64(-1)
    for i in range(begin, depth):
        value = stack[i]
        if kind[value] != LIST or value <= shared or b[value] != columns or columns >> COLUMN_BITS:
            return -1, np.int64(0)
        packed = child[a[value] & 0xFFFFFFFF]
        if kind[packed] != FLOATS or b[packed] != columns or (cell >= 0 and a[packed] != cell):
            return -1, np.int64(0)
        cell = a[packed] + columns
    return ROWS, columns


@compiled
def _pack(a: Any, b: Any, child: Any, cells: Any, used: Any, form: Any, stack: Any, begin: Any, depth: Any) -> Any:
    """Copy the uppermost values into cells; returns where these begin and how many cells are used now."""
    if form == ROWS:
        return np.int64(a[child[a[stack[begin]] & 0xFFFFFFFF]]), np.int64(used)
    for i in range(begin, depth):
        value = stack[i]
        cells[used + i - begin] = a[value] if form == FLOATS else (a[value] << LENGTH_BITS) | b[value]
    return np.int64(used), np.int64(used + depth - begin)


@inlined
def _forget(a: Any, b: Any, values: Any, links: Any, kept: Any, arguments: Any, content: Any) -> Any:
    """Numbers of values and of links once the arguments of a finished call are forgotten, where nothing has them.

    A set has nine numbers a view, each made by a call, so its arguments are not worth their memory. Values and links
    are only ever taken back from the end, and only under these conditions:

    * the arguments are the newest value, so no tuple, array, dtype or scalar refers to them: such refer to older ones;
    * they are newer than ``kept``, the newest value that a list or dict holds or that the memo gives out again; they
      left the stack by the call, so nothing else has them;
    * their links are the last ones: a list fetched after the tuple was made may have grown in the meantime.

    Args:
        a: Content of the values, int64 [values].
        b: Likewise.
        values: How many values there are.
        links: How many links there are.
        kept: The newest value that must stay.
        arguments: The tuple.
        content: What in it the result was made of; it goes as well where the first two conditions hold for it.
    """
    if arguments == values - 1 and arguments > kept and (a[arguments] & 0xFFFFFFFF) == links - b[arguments]:
        oldest = content if content == arguments - 1 and content > kept else arguments
        return oldest, links - b[arguments]
    return values, links


@inlined
def _same(data: Any, offset: Any, length: Any, text: Any) -> Any:
    if length != len(text):
        return False
    for i in range(length):  # noqa: SIM110 - compiled
        if data[offset + i] != text[i]:
            return False
    return True


@inlined
def _call(
    data: Any, latin1: Any, b1: Any, kind: Any, a: Any, b: Any, child: Any, follow: Any, name: Any, arguments: Any
) -> Any:
    """Kind and content of what an admitted function gives for a tuple of arguments; kind -1: not as NumPy calls it."""
    count = b[arguments]
    if name == EMPTY_BYTES:
        return (BYTES if count == 0 else -1), np.int64(0), np.int64(0)
    if count < 2 or count > 4:
        return -1, np.int64(0), np.int64(0)
    first, second = _nth(a, child, follow, arguments, 0), _nth(a, child, follow, arguments, 1)
    if name == ENCODE:
        good = count == 2 and kind[first] == TEXT and kind[second] == TEXT and _same(data, a[second], b[second], latin1)
        return (LATIN1 if good else -1), a[first], b[first]
    if name == DTYPE_NAME:
        return (DTYPE if kind[first] == TEXT or kind[first] == BYTES else -1), np.int64(first), np.int64(0x7C)
    if name == SCALAR_NAME:
        if count != 2 or kind[first] != DTYPE or (kind[second] != LATIN1 and kind[second] != BYTES):
            return -1, np.int64(0), np.int64(0)
        text, order = a[first], b[first]
        if order == 0x3C and (_same(data, a[text], b[text], b1)):
            value, size = np.int64(0), 0
            i, end = a[second], a[second] + b[second]
            while i < end and size < 9:
                byte = np.int64(data[i])
                if kind[second] == LATIN1 and byte >= 0x80:  # two bytes of UTF-8 stand for one of Latin-1
                    if (byte & 0xFE) != 0xC2 or i + 1 >= end or (data[i + 1] & 0xC0) != 0x80:
                        return -1, np.int64(0), np.int64(0)
                    byte = ((byte & 3) << 6) | (np.int64(data[i + 1]) & 0x3F)
                    i += 1
                if size < 8:
                    value |= byte << np.int64(8 * size)
                size += 1
                i += 1
            return (FLOAT if size == 8 else -1), value, np.int64(0)
        return SCALAR, np.int64(first), np.int64(second)
    if name == RECONSTRUCT:
        good = count == 3 and kind[first] == NAME and a[first] == NDARRAY
        return (ARRAY if good else -1), np.int64(-1), np.int64(0)
    if name == FROMBUFFER:
        return (BUFFER if count == 4 else -1), np.int64(arguments), np.int64(0)
    return -1, np.int64(0), np.int64(0)


@compiled
def _build(kind: Any, a: Any, b: Any, child: Any, follow: Any, value: Any, state: Any) -> Any:
    """Give an array or a dtype its state; whether that is as NumPy does it."""
    if kind[state] != TUPLE:
        return False
    if kind[value] == ARRAY and a[value] < 0 and b[state] == 5:
        a[value] = state
        return True
    if kind[value] == DTYPE and 8 <= b[state] <= 9:
        for i in range(2, 5):  # no fields and no sub-arrays
            if kind[_nth(a, child, follow, state, i)] != NONE:
                return False
        order = _nth(a, child, follow, state, 1)
        if (kind[order] == TEXT or kind[order] == BYTES) and b[order] == 1:
            b[value] = -a[order]  # resolved by the caller, who has the data
            return True
    return False


@compiled
def run(
    data: Any,
    until: Any,
    names: Any,
    ends: Any,
    codes: Any,
    fetched: Any,
    kind: Any,
    a: Any,
    b: Any,
    child: Any,
    follow: Any,
    cells: Any,
    stack: Any,
    marks: Any,
    noted: Any,
    memo: Any,
    state: Any,
) -> Any:
    """Interpret, until the end, an error, a position, or until values or links need more room.

    No opcode of `SIZES` is read past the end of ``data`` and each moves on by at least a byte, so this ends;
    ``cells``, ``stack``, ``marks`` and ``memo`` are as long as `scan` found that they may become.

    Args:
        data: The file, uint8 [bytes].
        until: Where to pause.
        names: The admitted names, joined, uint8 [characters].
        ends: Where each begins, and where the last ends, int64 [names + 1].
        codes: What each is, int64 [names].
        fetched: Whether the memo's slot is read anywhere in the file, uint8 [at least the slots].
        kind: Of values; this and the following are filled here, uint8 [values].
        a: Of values, int64 [values].
        b: Of values, int64 [values].
        child: The value of a link, int32 [links].
        follow: The next link of its container, -1: none, int32 [links].
        cells: What is packed, int64 [cells].
        stack: Values, the uppermost last, int32 [depth].
        marks: Depths of the stack that were marked, int32 [marks].
        noted: `BASE`, `LINKS_BEFORE`, `KEPT_BEFORE` and `LOWEST` of each, int64 [marks, 4].
        memo: Values of the slots that are read, int32 [slots].
        state: Where to begin and, afterwards, to go on: `POSITION` to `CELLS`, int64 [9].

    Returns:
        Status; position in the file; the root, or the module to blame (-1: a line of the file), or how many values
        more are needed; its name, or where the line begins, or how many links; the length of the line.

    Raises:
        IndexError: When a container's links lead to none, which no pickle can bring about.
    """
    latin1 = np.array([0x6C, 0x61, 0x74, 0x69, 0x6E, 0x31], np.uint8)
    float64 = np.array([0x66, 0x38], np.uint8)
    position, depth, marked, values = state[POSITION], state[DEPTH], state[MARKED], state[VALUES]
    links, stored, kept, shared, used = state[LINKS], state[STORED], state[KEPT], state[SHARED], state[CELLS]
    nothing = np.int64(0)
    while True:
        if position >= until or values + 2 > len(kind) or links + depth + 1 > len(child):  # one opcode makes no more
            state[POSITION], state[DEPTH], state[MARKED], state[VALUES] = position, depth, marked, values
            state[LINKS], state[STORED], state[KEPT], state[SHARED], state[CELLS] = links, stored, kept, shared, used
            return (PAUSED if position >= until else FULL), position, np.int64(2), depth + 1, nothing
        if position >= len(data):
            return TRUNCATED, position, nothing, nothing, nothing
        op = data[position]
        status, offset, length, number, after = operand(data, position)
        if status != DONE:
            return status, position, nothing, nothing, nothing
        push, x, y = -1, np.int64(0), np.int64(0)
        floor = marks[marked - 1] if marked else 0  # what lies below the last mark is out of reach
        if op in (0x94, 0x71, 0x72):
            if depth <= floor:
                return STACK, position, nothing, nothing, nothing
            slot = stored if op == 0x94 else number
            if slot > stored:
                return MEMO, position, nothing, nothing, nothing
            stored += slot == stored
            if fetched[slot]:
                memo[slot] = stack[depth - 1]
                kept, shared = max(kept, memo[slot]), max(shared, memo[slot])
        elif op in (0x68, 0x6A):
            if number >= stored:
                return MEMO, position, nothing, nothing, nothing
            stack[depth] = memo[number]
            depth += 1
        elif op == 0x2E:
            if depth == 1 and marked == 0:
                state[VALUES], state[LINKS], state[CELLS] = values, links, used
                return DONE, position, np.int64(stack[0]), nothing, nothing
            return STACK, position, nothing, nothing, nothing
        elif op == 0x95 and not 0 <= number <= len(data) - after:
            return DECLARED, position, nothing, nothing, nothing
        elif op in (0x80, 0x95):
            pass
        elif op in (0x58, 0x8C, 0x8D):
            push, x, y = TEXT, offset, length
        elif op in (0x55, 0x54, 0x43, 0x42, 0x8E, 0x96):
            push, x, y = BYTES, offset, length
        elif op == 0x4E:
            push = NONE
        elif op in (0x88, 0x89):
            push, x = BOOL, np.int64(op == 0x88)
        elif op in (0x4B, 0x4D):
            push, x = INT, number
        elif op == 0x4A:
            push, x = INT, number - ((number >> 31) << 32)
        elif op in (0x8A, 0x8B):
            if length > 8:
                return OPCODE, position, nothing, nothing, nothing
            push, x = INT, little(data, offset, length)
            if 0 < length < 8 and data[offset + length - 1] >= 0x80:
                x -= np.int64(1) << np.int64(8 * length)
        elif op == 0x47:
            push = FLOAT
            for i in range(8):
                x = (x << 8) | np.int64(data[offset + i])
        elif op == 0x5D:
            push = LIST
        elif op == 0x7D:
            push = DICT
        elif op == 0x29:
            push = TUPLE
        elif op == 0x28:
            marks[marked] = depth
            noted[marked, BASE], noted[marked, LINKS_BEFORE], noted[marked, KEPT_BEFORE] = values, links, kept
            noted[marked, LOWEST] = values
            marked += 1
        elif op in (0x30, 0x31):  # POP, POP_MARK
            if marked and (op == 0x31 or floor == depth):
                marked -= 1
                depth = floor
                if marked:
                    noted[marked - 1, LOWEST] = min(noted[marked - 1, LOWEST], noted[marked, LOWEST])
            elif op == 0x30 and depth > floor:
                depth -= 1
            else:
                return STACK, position, nothing, nothing, nothing
        elif op in (0x85, 0x86, 0x87, 0x74, 0x65, 0x75, 0x61, 0x73):  # several values become, or enter, a container
            if op in (0x74, 0x65, 0x75):
                if not marked:
                    return STACK, position, nothing, nothing, nothing
                marked -= 1
                begin = floor
                floor = marks[marked - 1] if marked else 0
                if marked:
                    noted[marked - 1, LOWEST] = min(noted[marked - 1, LOWEST], noted[marked, LOWEST])
            elif op == 0x61:
                begin = depth - 1
            elif op == 0x73:
                begin = depth - 2
            else:
                begin = depth - (op - 0x84)
            into = op in (0x65, 0x75, 0x61, 0x73)
            if begin - into < floor:
                return STACK, position, nothing, nothing, nothing
            form, columns = -1, nothing
            if into:
                container = stack[begin - 1]
                wanted = LIST if op in (0x65, 0x61) else DICT
                if kind[container] != wanted or (wanted == DICT and (depth - begin) % 2):
                    return STACK, position, nothing, nothing, nothing
                kept = max(kept, container)
                if wanted == LIST and depth > begin:
                    form, columns = _fitting(kind, a, b, child, stack, begin, depth, shared)
            else:
                container = values
                kind[values], a[values], b[values] = TUPLE, 0, 0
                values += 1
            if form >= 0:
                count = depth - begin
                cell, used = _pack(a, b, child, cells, used, form, stack, begin, depth)
                if op == 0x65 and noted[marked, LOWEST] >= noted[marked, BASE] and shared < noted[marked, BASE]:
                    values, links = noted[marked, BASE], noted[marked, LINKS_BEFORE]  # all that only the batch had
                    kept = max(noted[marked, KEPT_BEFORE], container)
                last = child[a[container] >> 32] if b[container] else 0
                if form == ROWS:
                    joins = b[container] and kind[last] == ROWS and b[last] & ((1 << COLUMN_BITS) - 1) == columns
                    joins = joins and a[last] + (b[last] >> COLUMN_BITS) * columns == cell
                else:
                    joins = b[container] and kind[last] == form and a[last] + b[last] == cell
                size = count << COLUMN_BITS if form == ROWS else count
                if joins:
                    b[last] += size
                    b[container] += count
                else:
                    kind[values], a[values], b[values] = form, cell, size + columns
                    links = _link(a, b, child, follow, links, container, values)
                    b[container] += count - 1
                    kept = max(kept, values)
                    values += 1
            else:
                for i in range(begin, depth):
                    links = _link(a, b, child, follow, links, container, stack[i])
                    if into and kept < stack[i]:
                        kept = stack[i]
            if into and marked:
                noted[marked - 1, LOWEST] = min(noted[marked - 1, LOWEST], container)
            depth = begin
            if not into:
                stack[depth] = container
                depth += 1
        elif op in (0x63, 0x93):
            found = -1
            module, name = np.int64(-1), np.int64(0)
            if op == 0x93:
                if depth - 2 < floor or kind[stack[depth - 1]] != TEXT or kind[stack[depth - 2]] != TEXT:
                    return STACK, position, nothing, nothing, nothing
                module, name = np.int64(stack[depth - 2]), np.int64(stack[depth - 1])
                depth -= 2
            for i in range(len(codes)):
                text = names[ends[i] : ends[i + 1]]
                if op == 0x63:
                    same = _same(data, offset, length, text)
                else:
                    split = b[module]
                    same = (
                        len(text) == split + 1 + b[name]
                        and text[split] == 0x0A
                        and _same(data, a[module], split, text[:split])
                        and _same(data, a[name], b[name], text[split + 1 :])
                    )
                if same:
                    found = codes[i]
            if found < 0:
                if op == 0x63:
                    return (
                        FORBIDDEN,
                        position,
                        np.int64(-1),
                        np.int64(offset),
                        np.int64(min(length, 200)),
                    )
                return FORBIDDEN, position, module, name, np.int64(0)
            push, x = NAME, np.int64(found)
        elif op == 0x52:
            if depth - 2 < floor or kind[stack[depth - 2]] != NAME or kind[stack[depth - 1]] != TUPLE:
                return MISUSED, position, nothing, nothing, nothing
            function, arguments = a[stack[depth - 2]], stack[depth - 1]
            push, x, y = _call(data, latin1, float64, kind, a, b, child, follow, function, arguments)
            if push < 0:
                return MISUSED, position, nothing, nothing, nothing
            depth -= 2
            if push in (LATIN1, FLOAT):
                content = _nth(a, child, follow, arguments, 0 if push == LATIN1 else 1)
                values, links = _forget(a, b, values, links, kept, arguments, content)
        elif op == 0x62:
            if depth - 2 < floor or not _build(kind, a, b, child, follow, stack[depth - 2], stack[depth - 1]):
                return MISUSED, position, nothing, nothing, nothing
            built = stack[depth - 2]
            if marked:
                noted[marked - 1, LOWEST] = min(noted[marked - 1, LOWEST], built)
            if kind[built] == DTYPE:
                b[built] = data[-b[built]]
            depth -= 1
        if push >= 0:
            kind[values], a[values], b[values] = push, x, y
            stack[depth] = values
            depth += 1
            values += 1
        position = after
