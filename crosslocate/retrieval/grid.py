"""Batches of a fixed grid: which rows are embedded together never depends on who did how much before."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslocate.retrieval.store import DescriptorStore


@dataclass(frozen=True)
class Shard:
    """The share of one of ``count`` processes: of the batches of a grid, every ``count``-th from ``number`` on."""

    number: int = 0
    count: int = 1

    def part(self, number: int, count: int) -> "Shard":
        """The share of one of ``count`` processes among which this share is divided."""
        return Shard(self.number * count + number, self.count * count)

    def __str__(self) -> str:
        return f"{self.number + 1} of {self.count}"


WHOLE = Shard()


@dataclass(frozen=True, eq=False)
class GridBatches:
    """Batches of consecutive rows: batch k has rows [k size, (k + 1) size), the last one those that there are.

    Serves as the batch sampler of a DataLoader, in a few bytes a batch.

    Args:
        rows: Number of all rows.
        size: Rows of a batch.
        numbers: Which batches, int64 [b].
    """

    rows: int
    size: int
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[range]:
        for number in self.numbers:
            start = int(number) * self.size
            yield range(start, min(start + self.size, self.rows))

    def all_rows(self) -> NDArray[np.int64]:
        """Rows of all batches, int64."""
        return np.concatenate([np.empty(0, np.int64), *(np.arange(part.start, part.stop) for part in self)])


def share_of(rows: int, size: int, shard: Shard) -> GridBatches:
    """All batches of a process."""
    return GridBatches(rows, size, np.arange(shard.number, -(-rows // size), shard.count))


def unfinished(store: DescriptorStore, size: int, shard: Shard) -> GridBatches:
    """The batches of a process that lack a row; they are to be embedded whole.

    Args:
        store: Says which rows are there.
        size: Rows of a batch.
        shard: Share of the process.
    """
    whole = np.logical_and.reduceat(store.covered, np.arange(0, len(store), size))
    numbers = share_of(len(store), size, shard).numbers
    return GridBatches(len(store), size, numbers[~whole[numbers]])
