"""Candidates from an index over the whole database, as it was some rounds ago."""

import logging
import shutil

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import say
from crosslocate.errors import ConfigError, StoreError
from crosslocate.mining.descriptors import RowDescriptors, Rows
from crosslocate.mining.miner import Miner, MiningTask
from crosslocate.mining.plan import NO_VIEW
from crosslocate.mining.refresh import Extractor, Moment, unique_rows
from crosslocate.mining.related import among
from crosslocate.retrieval.search import Search, Searcher
from crosslocate.retrieval.store import DescriptorStore

log = logging.getLogger(__name__)

PREFIX = "index_"
QUERIES_AT_ONCE = 1024


class IndexedCandidates:
    """The views nearest to each query of the round, found in an index that is renewed now and then, and a sample.

    Every ``renewed_every`` rounds the whole database is embedded and indexed. Rounds in between search it with fresh
    descriptors of their queries. What is found only becomes a candidate: with ``mining/refresh=partial`` the choice
    among candidates is made by fresh descriptors. The miner's own sample (``mining.sampled_negatives``) comes in
    addition, so that negatives are not only those of the index.

    An index is kept until no checkpoint needs it; a run that is resumed goes on with it. Where it is missing it is made
    with the weights of that moment, and that is said.

    Args:
        searcher: Finds neighbours, exactly or approximately.
        neighbours: Views that each query contributes, at most.
        searched: Nearest views that are looked through for them, since some may not be negatives of the query.
        renewed_every: Rounds that an index is used for.
    """

    def __init__(self, searcher: Searcher, neighbours: int, searched: int, renewed_every: int) -> None:
        if neighbours < 1:
            raise ConfigError("mining.candidates.neighbours", neighbours, "an integer of at least 1")
        if searched < neighbours:
            allowed = f"at least mining.candidates.neighbours={neighbours}"
            raise ConfigError("mining.candidates.searched", searched, allowed)
        if renewed_every < 1:
            raise ConfigError("mining.candidates.renewed_every", renewed_every, "an integer of at least 1")
        self.searcher, self.neighbours, self.searched = searcher, neighbours, searched
        self.renewed_every = renewed_every
        self._since: int | None = None
        self._search: Search | None = None  # on the first process, which alone searches

    def require(self, miner: Miner) -> None:
        """See Candidates."""
        if not (miner.needs_descriptors and miner.shares_candidates):
            raise ConfigError(
                "mining/candidates", "indexed", "sampled with mining=random and with mining=crosslocate, where every "
                "query has a sample of its own",
            )  # fmt: skip

    def rows(
        self, task: MiningTask, miner: Miner, moment: Moment, queries: RowDescriptors | None, extractor: Extractor
    ) -> Rows:
        """See Candidates."""
        assert queries is not None
        self._renew(moment, extractor)
        found: list[Rows] = []
        extractor.by_first(lambda: found.append(self._found(task, queries, moment, extractor)))
        return unique_rows(miner.candidates(task), extractor.told(found)[0])

    def close(self) -> None:
        """See Candidates."""
        self._since, self._search = None, None

    def _renew(self, moment: Moment, extractor: Extractor) -> None:
        """Have the descriptors that the round's index is made of."""
        since = moment.rounds - moment.rounds % self.renewed_every
        if self._since == since:
            return
        self._search, name = None, _name(since)
        kept: list[bool] = []
        extractor.by_first(lambda: kept.append(since != moment.rounds and self._is_whole(extractor, name)))
        if not extractor.told(kept)[0]:
            if since != moment.rounds:
                log.warning("The index of round %d is missing; it is made anew with other weights", since)
            extractor.database(np.arange(extractor.sizes[0], dtype=np.int64), name)
        self._since = since

    def _opened(self, extractor: Extractor) -> Search:
        """The index of the round, made if need be."""
        assert self._since is not None
        folder = extractor.folder / _name(self._since)
        store = DescriptorStore.open(folder)
        search = self.searcher.over(store.descriptors, folder / "search", store.digest())
        if search.report is not None:
            say(f"Mining: {search.report}")
        return search

    @staticmethod
    def _is_whole(extractor: Extractor, name: str) -> bool:
        try:
            store = DescriptorStore.open(extractor.folder / name)
            store.require_complete()
        except StoreError:
            return False
        return (len(store), store.size) == extractor.sizes

    def _remove_before(self, moment: Moment, extractor: Extractor) -> None:
        """Remove what no kept checkpoint needs: the one before the last is at most one round older than this one."""
        before = max(0, moment.rounds - 1)
        needed = _name(before - before % self.renewed_every)
        for folder in extractor.folder.glob(f"{PREFIX}*"):
            if folder.name < needed:
                shutil.rmtree(folder, ignore_errors=True)

    def _found(self, task: MiningTask, queries: RowDescriptors, moment: Moment, extractor: Extractor) -> Rows:
        """What the queries contribute, ascending; for the first process."""
        if self._search is None:
            self._search = self._opened(extractor)
        self._remove_before(moment, extractor)
        parts = []
        for start in range(0, len(task.queries), QUERIES_AT_ONCE):
            rows = task.queries[start : start + QUERIES_AT_ONCE]
            nearest = self._search.nearest(queries.of(rows), self.searched).rows
            parts.append(self._usable(task, rows, nearest))
        return unique_rows(np.empty(0, np.int64), *parts)

    def _usable(self, task: MiningTask, queries: Rows, nearest: Rows) -> NDArray[np.int64]:
        """The first of the nearest that may be negatives of their query; an index may find fewer than asked (-1)."""
        allowed = nearest != NO_VIEW
        near = allowed & among(task.relations.nonnegatives, queries, nearest)
        owners, columns = np.nonzero(near)
        allowed[owners, columns] = task.rule(queries[owners], nearest[owners, columns])
        return nearest[allowed & (np.cumsum(allowed, axis=1) <= self.neighbours)]


def _name(since: int) -> str:
    """What the index of a round is called; names are in the order of rounds."""
    return f"{PREFIX}{since:08d}"
