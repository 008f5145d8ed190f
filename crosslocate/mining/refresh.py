"""How much of the training set is embedded again when a round begins."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from crosslocate.mining.descriptors import Rows


class Refresh(Protocol):
    """Says which rows a round needs descriptors of."""

    def rows(
        self, queries: Rows, positives: Rows, pool: Rows, query_count: int, database_size: int
    ) -> tuple[Rows, Rows]:
        """Query rows and database rows to extract, each ascending and unique."""


@dataclass(frozen=True)
class FullRefresh:
    """Embeds every query and every database view, as CrossLocate does; exact, and dear on a large database."""

    def rows(
        self, queries: Rows, positives: Rows, pool: Rows, query_count: int, database_size: int
    ) -> tuple[Rows, Rows]:
        """See Refresh."""
        return np.arange(query_count, dtype=np.int64), np.arange(database_size, dtype=np.int64)


@dataclass(frozen=True)
class PartialRefresh:
    """Embeds only what the round looks at: its queries, their positives, and the sampled candidates."""

    def rows(
        self, queries: Rows, positives: Rows, pool: Rows, query_count: int, database_size: int
    ) -> tuple[Rows, Rows]:
        """See Refresh."""
        return np.unique(queries), np.union1d(positives, pool).astype(np.int64)
