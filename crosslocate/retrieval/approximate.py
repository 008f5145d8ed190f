"""Approximate search by an index of faiss: made once, kept, opened again, and measured."""

import hashlib
import io
import json
import logging
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import say
from crosslocate.errors import ConfigError, StoreError
from crosslocate.retrieval import faiss_index
from crosslocate.retrieval.approximate_search import ApproximateSearch
from crosslocate.retrieval.blocks import take
from crosslocate.retrieval.index_files import IndexFiles
from crosslocate.retrieval.index_report import Sample, measure, peak_memory
from crosslocate.retrieval.search import ExactSearcher, Neighbours, Search
from crosslocate.retrieval.search_report import SearchReport

log = logging.getLogger(__name__)

FEWEST_ROWS = 1000
"""Databases below this are searched exactly: an index would take longer to train than all that it saves."""
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
        identity it is always made anew. A training that was interrupted after its clustering goes on from there. Where
        the folder cannot be written, a new index lives in memory, with a warning.

        Raises:
            ConfigError: faiss has no such index, or it cannot be made of descriptors like these.
            StoreError: The disk is full.
        """
        if len(database) < FEWEST_ROWS or database.shape[1] < 2 * NUMBERS_PER_CODE:
            log.info("a database of %d x %d is searched exactly, without an index", *database.shape)
            return ExactSearcher().over(database)
        factory = _complete(self.factory, len(database), database.shape[1], self.training_rows)
        faiss_index.check(factory, self.construction, self.parameters, database.shape[1])  # what is wrong is said first
        with faiss_index.threads(self.threads):
            if folder is None:
                return self._make(database, factory, None, queries)
            return self._kept(database, factory, self._files(Path(folder), factory, database, identity), queries)

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

    def _kept(self, database: Floats, factory: str, files: IndexFiles, queries: Floats | None) -> ApproximateSearch:
        """The index that is kept; else it is made, and kept where that is possible."""
        kept = self._found(files)
        if kept is not None:
            return self._opened(database, files, *kept, queries)
        with ExitStack() as stack:
            try:
                stack.enter_context(files.making())
            except StoreError as error:
                log.warning("%s; the index is made in memory, for this process alone", error)
                return self._make(database, factory, None, queries)
            kept = self._found(files, tell=True)
            if kept is not None:  # another process was making it
                return self._opened(database, files, *kept, queries)
            return self._make(database, factory, files, queries)

    def _found(self, files: IndexFiles, *, tell: bool = False) -> tuple[Any, dict[str, Any]] | None:
        """An index that is kept, and its description; None where there is none that can be used, and a word why."""
        if not files.origin["identity"]:
            return None
        try:
            found = files.describe()
            float(found["build_seconds"]), int(found["peak_bytes"])
            index, shape = faiss_index.read(files.index), (files.origin["rows"], files.origin["size"])
            if (index.ntotal, index.d) != shape:
                raise ValueError(f"it holds {index.ntotal} x {index.d} numbers, not {shape}")
        except (ValueError, KeyError, TypeError) as error:
            if tell and files.index.exists():
                log.warning("the search index %s is made again: %s", files.index, error)
            return None
        return index, found

    def _opened(
        self, database: Floats, files: IndexFiles, index: Any, found: dict[str, Any], queries: Floats | None
    ) -> ApproximateSearch:
        """A search by an index that is kept, with a report on what it is asked to do now."""
        search = self._search_by(index, database)
        sample = Sample.draw(database, queries, self.sample, self.seed)
        measured_by = {"parameters": self.parameters, "rerank": self.rerank, "sample": self.sample}
        measured_by |= {"queries": sample.digest} if sample.digest else {}  # a report by real queries serves without
        search.report = _report_by(measured_by, found)
        if search.report is None:
            costs = found["build_seconds"], found["peak_bytes"]
            search.report = measure(search, database, sample, files.index.stat().st_size, *costs)
            say(str(search.report))
            try:
                files.amend(report=search.report.record, measured_by=measured_by)
            except StoreError as error:
                log.warning("%s", error)
        self._compare(search.report)
        return search

    def _make(
        self, database: Floats, factory: str, files: IndexFiles | None, queries: Floats | None
    ) -> ApproximateSearch:
        begin = time.perf_counter()
        index = self._trained(database, factory, files)
        faiss_index.fill(index, database)
        seconds, peak = time.perf_counter() - begin, peak_memory()
        if files is not None:
            files.keep(lambda file: faiss_index.write(index, file), build_seconds=seconds, peak_bytes=peak)
            found = files.describe()
            del index  # from here on it is mapped: what was built in memory is let go
            return self._opened(database, files, faiss_index.read(files.index), found, queries)
        counted = _Counter()
        faiss_index.write(index, counted)
        search = self._search_by(index, database)
        sample = Sample.draw(database, queries, self.sample, self.seed)
        search.report = measure(search, database, sample, counted.size, seconds, peak)
        say(str(search.report))
        self._compare(search.report)
        return search

    def _search_by(self, index: Any, database: Floats) -> ApproximateSearch:
        """What is written has the parameters of faiss, so that those of who made it do not stay."""
        faiss_index.set_parameters(index, self.parameters, "search.parameters")
        return ApproximateSearch(database, index, self.rerank, self.threads, None)

    def _compare(self, report: SearchReport) -> None:
        """Warn of what is found too little of."""
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
        if not index.is_trained:
            rng, count = np.random.default_rng([self.seed, len(database)]), min(self.training_rows, len(database))
            rows = np.sort(rng.choice(len(database), count, replace=False))
            say(f"training a search index of {factory} with {count} of {len(database)} descriptors")
            faiss_index.train(index, np.ascontiguousarray(take(database, rows), np.float32), factory)
            if files is not None:
                files.keep_trained(lambda file: faiss_index.write(index, file))
        return index


class _Counter(io.RawIOBase, IO[bytes]):
    """A file that counts what is written to it."""

    size = 0

    def write(self, data: Any) -> int:
        """Count."""
        self.size += len(data)
        return len(data)


def _report_by(measured_by: dict[str, Any], found: dict[str, Any]) -> SearchReport | None:
    """The report of a description, where it was measured in this way."""
    kept = found.get("measured_by")
    if not isinstance(kept, dict) or any(kept.get(key) != value for key, value in measured_by.items()):
        return None
    try:
        return SearchReport.from_record(found["report"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _complete(factory: str, rows: int, size: int, training_rows: int) -> str:
    """The factory string for a database [rows, size]."""
    reduced = min(size, LARGEST_REDUCED) // NUMBERS_PER_CODE * NUMBERS_PER_CODE
    lists = max(1, min(round(4 * math.sqrt(rows)), min(rows, training_rows) // ROWS_PER_LIST))
    try:
        return factory.format(lists=lists, reduced=reduced, codes=reduced // NUMBERS_PER_CODE)
    except (KeyError, IndexError, ValueError) as error:
        allowed = "a factory string of faiss, in which {lists}, {reduced} and {codes} are filled in"
        raise ConfigError("search.factory", factory, f"{allowed} ({error!r})") from None
