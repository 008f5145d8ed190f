"""Exact nearest neighbours by blockwise matrix products, on the CPU or on a GPU."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import ConfigError, DataError
from crosslocate.retrieval.blocks import blocks, take
from crosslocate.retrieval.distances import squared_distances
from crosslocate.retrieval.proposals import proposals
from crosslocate.retrieval.search_report import SearchReport
from crosslocate.retrieval.upload import Upload

log = logging.getLogger(__name__)

SPARE = 32
"""Candidates kept beyond k, so that rounding at the k-th place can be decided."""
SHOWN_BLOCKS = 20
"""Blocks of the database from which on progress is shown."""
REFERENCE_ROWS = 4096
"""Database rows whose mean becomes the origin."""
DEVICES = "cpu, cuda, cuda:<n>, or auto"
UNIT_ROUNDOFF = 2.0**-24

Rows = NDArray[np.int64]


class Neighbours(NamedTuple):
    """Nearest database rows of every query: Euclidean distances float32 [q, k], ascending, and rows int64 [q, k]."""

    distances: NDArray[np.float32]
    rows: NDArray[np.int64]


class Search(Protocol):
    """A database that is ready to be searched."""

    report: SearchReport | None
    """What is lost and what it costs, measured when an approximate search was prepared; None where it is exact."""

    def nearest(self, queries: NDArray[np.floating], k: int, among: NDArray[np.bool_] | None = None) -> Neighbours:
        """The k nearest database rows to each of ``queries`` [q, D].

        Args:
            queries: Descriptors [q, D].
            k: How many; all there are when there are fewer.
            among: Database rows that may be answers, bool [n]; None: all.
        """
        ...


class Searcher(Protocol):
    """Finds the nearest database descriptors of queries."""

    def over(
        self,
        database: NDArray[np.floating],
        folder: Path | None = None,
        identity: str = "",
        queries: NDArray[np.floating] | None = None,
    ) -> Search:
        """Get ready to search a database; this may take long, and what it makes may be kept.

        Args:
            database: Descriptors [n, D], may be a memory map.
            folder: Where an index is kept, and found again; None: it lives as long as the search.
            identity: Says what the descriptors are, such as `DescriptorStore.digest`; an index of others is not used.
            queries: Some of the queries to come, for a report on what is lost; without them rows of the database serve.
        """
        ...

    def search(self, queries: NDArray[np.floating], database: NDArray[np.floating], k: int) -> Neighbours:
        """The k nearest of ``database`` [n, D] to each of ``queries`` [q, D]; all n of them when k > n."""
        ...


class ExactSearcher:
    """Exact search: a matrix product proposes candidates, float64 distances decide among them.

    Scores ``q.d - |d|^2 / 2`` of one block of queries and one block of the database at a time are cut down to the
    k + 32 best; their distances are then computed anew from the differences. A worst-case bound on the rounding of
    the product tells whether a row that was cut could belong to the answer (many views within rounding of the k-th);
    such queries are searched again without the product. The result is therefore the one of a brute-force search in
    float64, with ties going to the lower row, whatever the block sizes, threads, device and split of the queries.

    A memory-mapped database is read once, in order, and its pages are given back block by block.

    Args:
        device: "cpu", "cuda", "cuda:1", ..., or "auto": the current GPU where there is one.
        database_block: Database rows that are read, and on a GPU multiplied, at a time.
        query_block: Queries at a time. Memory: 4 bytes x database_block x D, 4 bytes x query_block x 2048 (on a GPU
            x database_block), and 36 bytes x (k + 32) for every query.

    Attributes:
        chosen: The device; None for "auto".
    """

    def __init__(self, device: str = "auto", database_block: int = 32768, query_block: int = 1024) -> None:
        for key, value in (("database_block", database_block), ("query_block", query_block)):
            if value < 1:
                raise ConfigError(f"search.{key}", value, "an integer of at least 1")
        try:
            self.chosen = None if device == "auto" else torch.device(device)
        except RuntimeError as error:
            raise ConfigError("search.device", device, DEVICES) from error
        if self.chosen is not None and self.chosen.type not in ("cpu", "cuda"):
            raise ConfigError("search.device", device, DEVICES)
        self.database_block, self.query_block = database_block, query_block

    @property
    def device(self) -> torch.device:
        """Where it searches. ``auto`` is decided when it is asked: a process of several has its own GPU only later."""
        if self.chosen is not None:
            return self.chosen
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def over(
        self,
        database: NDArray[np.floating],
        folder: Path | None = None,  # noqa: ARG002 # nothing is kept
        identity: str = "",  # noqa: ARG002
        queries: NDArray[np.floating] | None = None,  # noqa: ARG002
    ) -> "ExactSearch":
        """As in `Searcher`; there is nothing to prepare, and nothing is kept.

        Raises:
            ConfigError: There is no such GPU here.
        """
        require_device(self)
        return ExactSearch(self, database)

    def search(self, queries: NDArray[np.floating], database: NDArray[np.floating], k: int) -> Neighbours:
        """The k nearest database rows of every query; see `ExactSearch.nearest`."""
        return self.over(database).nearest(queries, k)


def require_device(searcher: Searcher) -> None:
    """Check that there is the GPU that an exact search is to use, before descriptors are made for it.

    This is for the job to do, since the machine that submits may have none.

    Raises:
        ConfigError: There is none.
    """
    chosen = searcher.chosen if isinstance(searcher, ExactSearcher) else None
    if chosen is None or chosen.type != "cuda":
        return
    number, found = chosen.index or 0, torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= found:
        raise ConfigError("search.device", str(chosen), f"cpu or auto: torch finds {found or 'no'} GPUs here")


class ExactSearch:
    """Exact search in one database.

    Args:
        searcher: How.
        database: Descriptors [n, D], float16, float32 or float64; may be a memory map.
    """

    report: SearchReport | None = None

    def __init__(self, searcher: ExactSearcher, database: NDArray[np.floating]) -> None:
        self._searcher, self._database = searcher, database

    def nearest(self, queries: NDArray[np.floating], k: int, among: NDArray[np.bool_] | None = None) -> Neighbours:
        """The k nearest database rows of every query; see `Search`.

        Raises:
            ConfigError: k below 1.
            DataError: Descriptors of different sizes, an empty database or selection, or a descriptor that is not
                finite.
        """
        k = usable_k(queries, self._database, k, among)
        selected = None if among is None else np.flatnonzero(among)
        queries = np.ascontiguousarray(queries, np.float32)
        if len(queries) == 0:
            return Neighbours(np.empty((0, k), np.float32), np.empty((0, k), np.int64))
        with _full_precision(self._searcher.device), torch.inference_mode():
            rows, unseen = self._propose(queries, selected, k + SPARE)
        squared = squared_distances(queries, self._database, rows)
        squared, rows = smallest(squared, rows, k)
        unsure = np.flatnonzero(squared[:, -1] >= unseen)
        if len(unsure):
            log.warning(
                "%d of %d queries have over %d database views within rounding of their nearest ones; searching them "
                "slowly. Have the descriptors collapsed?", len(unsure), len(queries), SPARE,
            )  # fmt: skip
            squared[unsure], rows[unsure] = self._search_directly(queries[unsure], selected, k)
        return Neighbours(np.sqrt(squared).astype(np.float32), rows)

    def _propose(
        self, queries: NDArray[np.float32], selected: Rows | None, count: int
    ) -> tuple[Rows, NDArray[np.float64]]:
        """Candidate rows [q, count], and a lower bound [q] on the squared distance of every other row."""
        device, searched = self._searcher.device, len(self._database) if selected is None else len(selected)
        count = min(searched, count)
        origin = _origin(self._database)
        centred = torch.from_numpy(queries - origin).to(device)
        norms = _finite_norms(centred, "query", np.arange(len(queries)))
        best = proposals(centred, count, self._searcher.query_block)
        longest = 0.0
        upload = Upload(device, min(searched, self._searcher.database_block), len(origin))
        for rows, descriptors in self._blocks(selected, "Searching"):
            block = upload(descriptors, origin)
            lengths = _finite_norms(block, "database", rows)
            longest = max(longest, float(lengths.max()))
            best.add(block, lengths.square() / 2, rows)
        candidates, worst = best.kept()
        if count == searched:
            return candidates, np.full(len(queries), np.inf)
        # |score error| <= gamma (|q||d| + |d|^2 / 2), so the squared distance is off by less than gamma (|q| + |d|)^2;
        # the constant beside D covers the rounding of the centring, of the norms and of the final subtraction.
        own = norms.double().cpu().numpy()
        error = (queries.shape[1] + 16) * UNIT_ROUNDOFF * (own + longest) ** 2
        return candidates, own**2 - 2 * worst - error

    def _blocks(self, selected: Rows | None, description: str) -> Iterator[tuple[Rows, NDArray[np.floating]]]:
        """Row numbers [b] and descriptors [b, D], block by block."""
        size = self._searcher.database_block
        total = -(-(len(self._database) if selected is None else len(selected)) // size)
        if selected is None:
            found = ((np.arange(start, start + len(part)), part) for start, part in blocks(self._database, size))
        else:
            parts = np.split(selected, range(size, len(selected), size))
            found = ((rows, take(self._database, rows)) for rows in parts)
        yield from track(found, description, total, visible=total >= SHOWN_BLOCKS)

    def _search_directly(
        self, queries: NDArray[np.float32], selected: Rows | None, k: int
    ) -> tuple[NDArray[np.float64], Rows]:
        squared, rows = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
        for numbers, descriptors in self._blocks(selected, "Searching slowly"):
            values = np.ascontiguousarray(descriptors, np.float32)
            kept, kept_rows = squared, rows
            width = min(k, kept.shape[1] + len(numbers))
            squared, rows = np.empty((len(queries), width)), np.empty((len(queries), width), np.int64)
            every = np.arange(len(numbers))[None]
            for q in range(len(queries)):
                distances = np.concatenate([kept[q], squared_distances(queries[q : q + 1], values, every)[0]])
                found, found_rows = smallest(distances[None], np.concatenate([kept_rows[q], numbers])[None], width)
                squared[q], rows[q] = found[0], found_rows[0]
        return squared, rows


def usable_k(queries: NDArray[Any], database: NDArray[Any], k: int, among: NDArray[np.bool_] | None = None) -> int:
    """Check what is to be searched; returns k, or the number of rows that may be answers where k exceeds it."""
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise DataError(
            f"queries of shape {queries.shape} cannot be searched in a database of shape {database.shape}; "
            "both must be [n, D] with the same D"
        )
    if len(database) == 0:
        raise DataError("the database to search has no descriptors")
    if k < 1:
        raise ConfigError("k", k, "an integer of at least 1")
    if among is not None and (among.shape != (len(database),) or among.dtype != bool):
        raise DataError(f"rows are selected by {among.dtype} {among.shape}; expected bool ({len(database)},)")
    rows = len(database) if among is None else int(np.count_nonzero(among))
    if rows == 0:
        raise DataError(f"none of the {len(database)} rows of the database is selected")
    if k > rows:
        log.info("asked for %d neighbours in a database of %d; all of them are ranked", k, rows)
    return min(k, rows)


def _origin(database: NDArray[np.floating]) -> NDArray[np.float32]:
    """A point amid the descriptors: distances do not depend on the origin, but their rounding does."""
    sample = np.linspace(0, len(database) - 1, min(len(database), REFERENCE_ROWS)).astype(np.int64)
    return np.nan_to_num(take(database, sample).astype(np.float32).mean(axis=0), posinf=0.0, neginf=0.0)


def smallest(squared: NDArray[np.float64], rows: Rows, k: int) -> tuple[NDArray[np.float64], Rows]:
    """The k smallest of [q, c] by distance, then by row."""
    order = np.lexsort((rows, squared), axis=1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(rows, order, 1)


def _finite_norms(descriptors: torch.Tensor, role: str, rows: Rows) -> torch.Tensor:
    norms = torch.linalg.vector_norm(descriptors, dim=1)
    finite = torch.isfinite(norms)
    if not bool(finite.all()):
        raise DataError(f"the descriptor of {role} row {rows[int((~finite).nonzero()[0])]} is not finite")
    return norms


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in true float32: no autocast, no TF32 or bfloat16 whatever the training chose."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
