"""One split of a data set: its queries, its database, how they relate, and how their images are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from crosslocate.data.catalog import Catalog
from crosslocate.data.reader import ImageReader
from crosslocate.data.relations import Relations

Relate = Callable[[Catalog, Catalog], Relations]


@dataclass(frozen=True, eq=False)
class SplitData:
    """Queries and database of one split.

    Args:
        name: ``train``, ``val``, ``test``, or as the catalogs call it.
        query_reader: Reads the queries.
        database_reader: Reads the views.
        relate: Finds the relations, when they are first asked for.
    """

    name: str
    query_reader: ImageReader
    database_reader: ImageReader
    relate: Relate

    @property
    def queries(self) -> Catalog:
        """Catalog of the queries."""
        return self.query_reader.catalog

    @property
    def database(self) -> Catalog:
        """Catalog of the database views."""
        return self.database_reader.catalog

    @cached_property
    def relations(self) -> Relations:
        """Positives and non-negatives of the queries; computed once, on first use."""
        return self.relate(self.queries, self.database)

    def reader(self, role: str) -> ImageReader:
        """Reader of a role, ``query`` or ``database``."""
        return {"query": self.query_reader, "database": self.database_reader}[role]


class ShardSampler(Sampler[NDArray[np.int64]]):
    """Batches of this rank's share of ``count`` positions: rank, rank + world_size, ...; nothing is padded or repeated.

    Args:
        count: Number of positions.
        batch_size: Positions of a batch; the last one may be smaller.
        rank: This process, from 0.
        world_size: Number of processes.
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.share = range(rank, count, world_size)  # takes no memory, however many there are
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.share) // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield int64 arrays of positions."""
        for start in range(0, len(self.share), self.batch_size):
            yield np.array(self.share[start : start + self.batch_size], np.int64)
