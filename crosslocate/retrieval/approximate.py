"""Approximate search: an index of faiss proposes rows, their descriptors decide among them."""

import hashlib
import io
import json
import logging
import math
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import say
from crosslocate.errors import ConfigError, StoreError
from crosslocate.retrieval import faiss_index
from crosslocate.retrieval.blocks import take
from crosslocate.retrieval.distances import squared_distances
from crosslocate.retrieval.index_files import IndexFiles
from crosslocate.retrieval.index_report import measure, peak_memory
from crosslocate.retrieval.search import ExactSearcher, Neighbours, Search, smallest, usable_k
from crosslocate.retrieval.search_report import SearchReport

log = logging.getLogger(__name__)

FEWEST_ROWS = 1000
"""Databases below this are searched exactly: an index would take longer to train than all that it saves."""
FEWEST_SELECTED = 50_000
"""Selections below this are searched exactly."""
ROWS_PER_LIST = 40
"""Training rows for every list of an inverted file, at least."""
LARGEST_REDUCED, NUMBERS_PER_CODE = 128, 2

Floats = NDArray[np.floating]


class ApproximateSearcher:
    """Approximate search by an index of faiss, made once, kept, and mapped into memory.

    Args:
        factory: faiss' factory string. ``{lists}`` stands for 4 sqrt(n) lists, as far as ``training_rows`` suffice for
            them, ``{reduced}`` for the numbers of a descriptor, at most 128, and ``{codes}`` for half of that.
        construction: Parameters that count when the index is built, such as ``efConstruction=200``; may be empty.
        parameters: Parameters that count when it is searched, such as ``nprobe=64``; may be empty.
        training_rows: Database rows that the index is trained with, drawn by chance; 2 KiB of memory each at 512-D.
        rerank: Candidates for every neighbour that is asked for, whose float64 distances then decide; 0: none, and the
            distances are those of the index.
        sample: Queries of the report.
        floor: Share of the exact neighbours that must be found, of the largest k of the report; below it, a warning.
        threads: Threads of faiss; None: as many as it likes. The same number makes the same index.
        seed: Of the training rows and the clustering.
    """

    def __init__(
        self,
        factory: str,
        construction: str,
        parameters: str,
        training_rows: int,
        rerank: int,
        sample: int,
        floor: float,
        threads: int | None,
        seed: int,
    ) -> None:
        limits = (("training_rows", training_rows, 1), ("rerank", rerank, 0), ("sample", sample, 1))
        for key, value, least in (*limits, ("threads", 1 if threads is None else threads, 1)):
            if value < least:
                raise ConfigError(f"search.{key}", value, f"an integer of at least {least}")
        if not 0.0 <= floor <= 1.0:
            raise ConfigError("search.floor", floor, "a share from 0 to 1")
        _complete(factory, FEWEST_ROWS, 512, training_rows)
        self.factory, self.construction, self.parameters = factory, construction, parameters
        self.training_rows, self.rerank, self.sample, self.floor = training_rows, rerank, sample, floor
        self.threads, self.seed = threads, seed

    def over(
        self, database: Floats, folder: Path | None = None, identity: str = "", queries: Floats | None = None
    ) -> Search:
        """Open the index of a database, or make it; see :class:`crosslocate.retrieval.search.Searcher`.

        An index that is kept is used only for the same ``identity``, factory, seed and version of faiss; without an
        identity it is always made anew. A training that was interrupted after its clustering goes on from there.

        Raises:
            ConfigError: faiss has no such index, or it cannot be made of descriptors like these.
            StoreError: It cannot be written.
        """
        if len(database) < FEWEST_ROWS or database.shape[1] < 2 * NUMBERS_PER_CODE:
            log.info("a database of %d x %d is searched exactly, without an index", *database.shape)
            return ExactSearcher().over(database)
        factory = _complete(self.factory, len(database), database.shape[1], self.training_rows)
        with faiss_index.threads(self.threads):
            if folder is None:
                return self._make(database, factory, None, queries)
            files = self._files(Path(folder), factory, database, identity)
            return self._open(database, files, queries) or self._make(database, factory, files, queries)

    def search(self, queries: Floats, database: Floats, k: int) -> Neighbours:
        """The k nearest database rows of every query, by an index that is made for it and not kept."""
        return self.over(database, queries=queries).nearest(queries, k)

    def _files(self, folder: Path, factory: str, database: Floats, identity: str) -> IndexFiles:
        made_by = {
            "factory": factory,
            "construction": self.construction,
            "training_rows": self.training_rows,
            "seed": self.seed,
            "faiss": faiss_index.VERSION,
        }
        name = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:16]
        of = {"identity": identity, "rows": len(database), "size": database.shape[1], "dtype": str(database.dtype)}
        return IndexFiles(folder, name, made_by | of)

    def _open(self, database: Floats, files: IndexFiles, queries: Floats | None) -> "ApproximateSearch | None":
        """The index that is kept; None where there is none that can be used."""
        if not files.origin["identity"]:
            return None
        try:
            found = files.describe()
            index = faiss_index.read(files.index)
            if (index.ntotal, index.d) != database.shape:
                raise ValueError(f"it holds {index.ntotal} x {index.d} numbers, not {database.shape}")
            report = SearchReport.from_record(found["report"])
        except (ValueError, KeyError, TypeError) as error:
            if files.index.exists():
                log.warning("the search index %s is made again: %s", files.index, error)
            return None
        faiss_index.set_parameters(index, self.parameters, "search.parameters")
        search = ApproximateSearch(database, index, self.rerank, self.threads, report)
        if found.get("searched_by") != self._searched_by:
            self._measure_again(search, report, database, files, queries)
        return search

    def _measure_again(
        self,
        search: "ApproximateSearch",
        old: SearchReport,
        database: Floats,
        files: IndexFiles,
        queries: Floats | None,
    ) -> None:
        """Report on an index that is there, and is now searched in another way."""
        costs = old.index_bytes, old.build_seconds, old.peak_bytes
        search.report = measure(search, database, queries, self.sample, self.seed, *costs)
        self._tell(search.report)
        try:
            files.amend(report=search.report.record, searched_by=self._searched_by)
        except StoreError as error:
            log.warning("%s", error)

    @property
    def _searched_by(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "rerank": self.rerank}

    def _make(
        self, database: Floats, factory: str, files: IndexFiles | None, queries: Floats | None
    ) -> "ApproximateSearch":
        begin = time.perf_counter()
        index = self._trained(database, factory, files)
        faiss_index.fill(index, database)
        faiss_index.set_parameters(index, self.parameters, "search.parameters")
        counted = _Counter()
        faiss_index.write(index, counted)
        seconds, peak = time.perf_counter() - begin, peak_memory()
        search = ApproximateSearch(database, index, self.rerank, self.threads, None)
        search.report = measure(search, database, queries, self.sample, self.seed, counted.size, seconds, peak)
        self._tell(search.report)
        if files is not None:
            record = search.report.record
            files.keep(lambda file: faiss_index.write(index, file), report=record, searched_by=self._searched_by)
            search.index = faiss_index.read(files.index)  # mapped: what was built in memory is let go
            faiss_index.set_parameters(search.index, self.parameters, "search.parameters")
        return search

    def _tell(self, report: SearchReport) -> None:
        say(str(report))
        largest = max(report.found)
        if report.found[largest] < self.floor:
            log.warning(
                "approximate search finds %.1f %% of the exact %d neighbours, less than search.floor=%g; raise nprobe "
                "or efSearch (search.parameters=%s) or search.rerank=%d",
                100 * report.found[largest], largest, self.floor, self.parameters, self.rerank,
            )  # fmt: skip

    def _trained(self, database: Floats, factory: str, files: IndexFiles | None) -> Any:
        if files is not None and files.origin["identity"]:
            try:
                files.describe_trained()
                return faiss_index.read_trained(files.trained)
            except ValueError:
                pass
        index = faiss_index.empty_index(factory, self.construction, database.shape[1], self.seed)
        faiss_index.set_parameters(index, self.parameters, "search.parameters")  # what is wrong is said before the work
        if not index.is_trained:
            rng, count = np.random.default_rng([self.seed, len(database)]), min(self.training_rows, len(database))
            rows = np.sort(rng.choice(len(database), count, replace=False))
            say(f"training a search index of {factory} with {count} of {len(database)} descriptors")
            faiss_index.train(index, np.ascontiguousarray(take(database, rows), np.float32), factory)
            if files is not None:
                files.keep_trained(lambda file: faiss_index.write(index, file))
        return index


class ApproximateSearch:
    """An index over one database, ready to be searched.

    Args:
        database: Descriptors [n, D], from which candidates are ranked.
        index: Of faiss, filled with them.
        rerank: See `ApproximateSearcher`.
        threads: Of faiss.
        report: What is lost and what it costs.
    """

    report: SearchReport | None

    def __init__(
        self, database: Floats, index: Any, rerank: int, threads: int | None, report: SearchReport | None
    ) -> None:
        self._database, self.index, self._rerank, self._threads = database, index, rerank, threads
        self.report = report

    def nearest(self, queries: Floats, k: int, among: NDArray[np.bool_] | None = None) -> Neighbours:
        """The k nearest of the rows that the index looks at; see :class:`crosslocate.retrieval.search.Search`.

        Small selections, and queries that the index finds less than k rows for, are searched exactly.

        Raises:
            ConfigError: k below 1.
            DataError: Descriptors of different sizes, or an empty selection.
        """
        k = usable_k(queries, self._database, k, among)
        queries = np.ascontiguousarray(queries, np.float32)
        exact = ExactSearcher().over(self._database)
        few = among is not None and np.count_nonzero(among) <= FEWEST_SELECTED
        if few or (among is not None and not faiss_index.can_select(self.index)) or not len(queries):
            return exact.nearest(queries, k, among)
        with faiss_index.threads(self._threads):
            count = min(len(self._database), k * max(1, self._rerank))
            squared, rows = faiss_index.candidates(self.index, queries, count, among)
        lacking = rows[:, k - 1] < 0
        found = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        for part in np.array_split(np.flatnonzero(~lacking), -(-len(queries) // RANKED_QUERIES)):
            distances, chosen = self._rank(queries[part], squared[part], rows[part], k)
            found.distances[part], found.rows[part] = distances, chosen
        if lacking.any():
            log.info("%d queries are searched exactly: the index found less than %d rows", int(lacking.sum()), k)
            distances, chosen = exact.nearest(queries[lacking], k, among)
            found.distances[lacking], found.rows[lacking] = distances, chosen
        return found

    def _rank(self, queries: NDArray[np.float32], squared: Floats, rows: NDArray[np.int64], k: int) -> Neighbours:
        """The k best of some candidates [q, c]; where there are fewer, the first is repeated behind all others."""
        if self._rerank:
            places = np.where(rows < 0, rows[:, :1], rows)
            exact = squared_distances(queries, self._database, places)
            exact[rows < 0] = np.inf
        else:
            places, exact = rows, np.maximum(squared, 0).astype(np.float64)
        chosen, best = smallest(exact, places, k)
        return Neighbours(np.sqrt(chosen).astype(np.float32), best)


RANKED_QUERIES = 256
"""Queries whose candidates are ranked at a time."""


class _Counter(io.RawIOBase, IO[bytes]):
    """A file that counts what is written to it."""

    size = 0

    def write(self, data: Any) -> int:
        """Count."""
        self.size += len(data)
        return len(data)


def _complete(factory: str, rows: int, size: int, training_rows: int) -> str:
    """The factory string for a database [rows, size]."""
    reduced = min(size, LARGEST_REDUCED) // NUMBERS_PER_CODE * NUMBERS_PER_CODE
    lists = max(1, min(round(4 * math.sqrt(rows)), min(rows, training_rows) // ROWS_PER_LIST))
    try:
        return factory.format(lists=lists, reduced=reduced, codes=reduced // NUMBERS_PER_CODE)
    except (KeyError, IndexError, ValueError) as error:
        allowed = "a factory string of faiss, in which {lists}, {reduced} and {codes} are filled in"
        raise ConfigError("search.factory", factory, f"{allowed} ({error!r})") from None
