"""Texts of a pickle's packed lists as Arrow's strings, copied out of the file by compiled code.

The machine's cells say where in the file a text begins and how long it is (`pickle_machine.LENGTH_BITS`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from crosslocate.formats.pickle_machine import LENGTH_BITS
from crosslocate.formats.texts import Texts

_TOGETHER = 1 << 18
"""Texts of a chunk; so many of the longest names still have offsets of 32 bits."""


def gathered(
    data: NDArray[np.uint8], cells: NDArray[np.int64], longest: int, release: Callable[[], None]
) -> Texts | None:
    """Texts out of a file.

    Args:
        data: The file.
        cells: Where each begins and how long it is, int64 [n].
        longest: Bytes that one may have.
        release: Called now and then; may give pages of the file back.

    Returns:
        None where one is longer or no UTF-8, and where they would take more memory than the file: rows may share texts.
    """
    lengths = cells & ((1 << LENGTH_BITS) - 1)
    if lengths.max(initial=0) > longest or lengths.sum() > len(data):
        return None
    chunks = []
    for start in range(0, len(cells), _TOGETHER):
        ends = np.zeros(len(cells[start : start + _TOGETHER]) + 1, np.int32)
        np.cumsum(lengths[start : start + _TOGETHER], out=ends[1:])
        content = np.empty(ends[-1], np.uint8)
        _copy(data, cells[start : start + _TOGETHER] >> LENGTH_BITS, ends, content)
        chunk = pa.Array.from_buffers(pa.string(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(content)])
        try:
            chunk.validate(full=True)
        except pa.ArrowInvalid:
            return None
        chunks.append(chunk)
        release()
    return Texts(pa.chunked_array(chunks, pa.string()))


@njit(cache=True, nogil=True)
def _copy(data: Any, begins: Any, ends: Any, content: Any) -> None:
    for i in range(len(begins)):
        begin = begins[i]
        for k in range(ends[i], ends[i + 1]):
            content[k] = data[begin]
            begin += 1
