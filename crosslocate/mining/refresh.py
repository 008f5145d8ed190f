"""How much of the training set is embedded again when a round begins."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from crosslocate.mining.descriptors import RowDescriptors, Rows

T = TypeVar("T")


@dataclass(frozen=True)
class Moment:
    """Which round it is.

    Attributes:
        rounds: Rounds of the run before this one.
        key: What the draws of the round are made from: seed, epoch, round.
    """

    rounds: int
    key: tuple[int, ...]


class Extractor(Protocol):
    """Embeds rows with the weights of the moment; all processes of a run call it alike."""

    @property
    def folder(self) -> Path:
        """Where descriptors of this training are kept; it is removed when its limits are reached."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows of the database, and numbers of a descriptor."""

    def database(self, rows: Rows, name: str = "database") -> RowDescriptors:
        """Descriptors of database rows (ascending, unique), which the next call of this name replaces."""

    def by_first(self, work: Callable[[], object]) -> None:
        """Have the first process do something, and wait for it; all processes fail if it does."""

    def told(self, value: T) -> T:
        """The value of the first process, on every process."""


class Refresh(Protocol):
    """Provides a round with descriptors."""

    def query_rows(self, queries: Rows, query_count: int) -> Rows:
        """Query rows to extract in a round of ``queries``, ascending and unique."""

    def database(self, moment: Moment, positives: Rows, candidates: Rows, extractor: Extractor) -> RowDescriptors:
        """Descriptors of what the round looks at: all of the positives, and of the candidates those that are known."""

    def ages(self, moment: Moment, rows: Rows) -> NDArray[np.int64]:
        """Rounds since the descriptors of rows, all of them known, were extracted; 0 for those of this round."""

    def close(self) -> None:
        """Let go of files at the end of a training."""


class AlwaysFresh:
    """What kinds of refresh have in common that look at no descriptor of another round."""

    def ages(self, moment: Moment, rows: Rows) -> NDArray[np.int64]:
        """See Refresh."""
        return np.zeros(len(rows), np.int64)

    def close(self) -> None:
        """See Refresh; there are none."""


@dataclass(frozen=True)
class FullRefresh(AlwaysFresh):
    """Embeds every query and every database view, as CrossLocate does; exact, and dear on a large database."""

    def query_rows(self, queries: Rows, query_count: int) -> Rows:
        """See Refresh."""
        return np.arange(query_count, dtype=np.int64)

    def database(self, moment: Moment, positives: Rows, candidates: Rows, extractor: Extractor) -> RowDescriptors:
        """See Refresh."""
        return extractor.database(np.arange(extractor.sizes[0], dtype=np.int64))


@dataclass(frozen=True)
class PartialRefresh(AlwaysFresh):
    """Embeds only what the round looks at: its queries, their positives, and the candidates."""

    def query_rows(self, queries: Rows, query_count: int) -> Rows:
        """See Refresh."""
        return np.unique(queries)

    def database(self, moment: Moment, positives: Rows, candidates: Rows, extractor: Extractor) -> RowDescriptors:
        """See Refresh."""
        return extractor.database(np.union1d(positives, candidates).astype(np.int64))


def unique_rows(*parts: NDArray[Any]) -> Rows:
    """All rows of some lists, ascending and once."""
    return np.unique(np.concatenate(parts)).astype(np.int64)
