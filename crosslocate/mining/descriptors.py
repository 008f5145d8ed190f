"""Descriptors of some rows of a catalog, looked up by row."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosslocate.mining.plan import NO_VIEW

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class RowDescriptors:
    """Descriptors of the rows that a round may look at.

    Args:
        rows: Catalog rows, ascending and unique, shape [n].
        values: Their descriptors, shape [n, D], float32 or float16; may be a memory map.
        known: Which of ``rows`` have a descriptor, shape [n]; None: all of them. Samples leave out those without.
    """

    rows: Rows
    values: NDArray[np.floating]
    known: NDArray[np.bool_] | None = None

    @property
    def every(self) -> bool:
        """Whether ``rows`` are all rows from 0 on, so that a row is its own place."""
        return len(self.rows) > 0 and int(self.rows[-1]) == len(self.rows) - 1

    def positions(self, rows: Rows) -> Rows:
        """Where ``rows`` stand in ``values``.

        Raises:
            KeyError: A row has no descriptor.
        """
        if self.every:
            found = np.asarray(rows)
            bad = (found < 0) | (found >= len(self.rows))
        else:
            found = np.searchsorted(self.rows, rows)
            bad = (found >= len(self.rows)) | (self.rows[np.minimum(found, len(self.rows) - 1)] != rows)
        if self.known is not None:
            bad = bad | ~self.known[np.where(bad, 0, found)]
        if bad.any():
            raise KeyError(f"no descriptor of row {int(np.asarray(rows)[bad].ravel()[0])} in this round")
        return found

    def places(self, samples: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where samples of rows, -1 for none, stand in ``values``; -1 for none, and for those that are not known.

        Raises:
            KeyError: A row is not among ``rows``.
        """
        if self.every:
            found, outside = samples, samples >= len(self.rows)
        else:
            beyond = len(self._table) - 1
            found = self._table[np.minimum(samples, beyond)]  # -1 is the last of the table, as is what lies beyond
            outside = (found == NO_VIEW) & (samples != NO_VIEW)
        if outside.any():
            raise KeyError(f"no descriptor of row {int(samples[outside][0])} in this round")
        if self.known is None:
            return found
        return np.where((found != NO_VIEW) & self.known[found], found, np.int32(NO_VIEW))

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of ``rows``, all of them among those of this object, have a descriptor."""
        if self.known is None:
            return np.ones(len(rows), np.bool_)
        return self.known[rows if self.every else np.searchsorted(self.rows, rows)]

    def of(self, rows: Rows) -> NDArray[np.float32]:
        """Descriptors of ``rows`` as float32, shape [*rows.shape, D]."""
        return np.asarray(self.values[self.positions(rows)], np.float32)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """Place of every row up to the last one, and -1 at the end."""
        table = np.full(int(self.rows[-1]) + 2 if len(self.rows) else 1, NO_VIEW, np.int32)
        table[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        return table
