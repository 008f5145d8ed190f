"""A refresh that extracts a limited number of views a round and remembers the others as they were."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError, StoreError
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.memory import DescriptorMemory
from crosslocate.mining.refresh import Extractor, Moment, unique_rows
from crosslocate.retrieval.blocks import give_back

log = logging.getLogger(__name__)

DRAW = 3
"""Tells the draws of the refresh from others of the same round."""


class MemoryRefresh:
    """Embeds the round's queries, their positives, and of the candidates those that are unknown or oldest.

    The other candidates are looked at as they were when they were extracted last, and those that never were are passed
    over. So the cost of a round is bounded, however many candidates there are; what is saved is paid for with negatives
    chosen by descriptors of a certain age.

    The memory is in the folder of the run, and outlives a run that is stopped: one that is resumed goes on with what
    its checkpoint had. Where that is not to be had it begins with an empty memory, and says so.

    Args:
        renewed: Candidates extracted in a round, at most.
    """

    def __init__(self, renewed: int) -> None:
        if renewed < 1:
            raise ConfigError("mining.refresh.renewed", renewed, "an integer of at least 1")
        self.renewed = renewed
        self._memory: DescriptorMemory | None = None
        self._everything: Rows = np.empty(0, np.int64)

    def query_rows(self, queries: Rows, query_count: int) -> Rows:  # noqa: ARG002 - as in Refresh
        """See Refresh."""
        return np.unique(queries)

    def database(self, moment: Moment, positives: Rows, candidates: Rows, extractor: Extractor) -> RowDescriptors:
        """See Refresh."""
        memory = self._opened(moment, extractor)
        rows = unique_rows(positives, self._to_renew(moment, np.unique(positives), candidates, memory))
        fresh = extractor.database(rows)
        extractor.by_first(lambda: memory.put(moment.rounds, rows, fresh.values))
        give_back(memory.values)  # what the round before looked at
        return RowDescriptors(self._everything, memory.values, memory.known)

    def ages(self, moment: Moment, rows: Rows) -> NDArray[np.int64]:
        """See Refresh."""
        assert self._memory is not None
        return moment.rounds - self._memory.rounds[rows].astype(np.int64)

    def close(self) -> None:
        """See Refresh."""
        self._memory = None

    def _to_renew(self, moment: Moment, positives: Rows, candidates: Rows, memory: DescriptorMemory) -> Rows:
        """Those of the candidates that were extracted longest ago, or never; of equals, drawn ones."""
        place = np.minimum(np.searchsorted(positives, candidates), max(0, len(positives) - 1))
        others = candidates[positives[place] != candidates] if len(positives) else candidates
        if len(others) <= self.renewed:
            return others
        rng = np.random.default_rng([*moment.key, DRAW])
        since = memory.rounds[others] + rng.random(len(others))
        return others[np.argpartition(since, self.renewed - 1)[: self.renewed]]

    def _opened(self, moment: Moment, extractor: Extractor) -> DescriptorMemory:
        """The memory as it was before this round."""
        if self._memory is None:
            folder, sizes = extractor.folder / "memory", extractor.sizes
            extractor.by_first(lambda: _prepare(folder, moment.rounds, sizes))
            self._memory = DescriptorMemory(folder)
            self._everything = np.arange(sizes[0], dtype=np.int64)
        return self._memory


def _prepare(folder: Path, rounds: int, sizes: tuple[int, int]) -> None:
    """Make the memory what it was before a round, or else an empty one."""
    if not (rounds and _recovered(folder, rounds, sizes)):
        DescriptorMemory.create(folder, *sizes)


def _recovered(folder: Path, rounds: int, sizes: tuple[int, int]) -> bool:
    """Whether what a stopped run has left could be taken back to where its checkpoint was."""
    try:
        memory = DescriptorMemory(folder)
        if memory.values.shape == sizes and memory.go_back(rounds):
            return True
        reason = f"{folder} is of other rounds or of other data"
    except StoreError as error:
        reason = str(error)
    log.warning("The run goes on with an empty descriptor memory, and will not end as if undisturbed: %s", reason)
    return False
