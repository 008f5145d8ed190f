"""Exact nearest neighbours by blockwise matrix products, on the CPU or on a GPU."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import ConfigError, DataError
from crosslocate.retrieval.distances import squared_distances

log = logging.getLogger(__name__)

SPARE = 32
"""Candidates kept beyond k, so that rounding at the k-th place can be decided."""
GROUP = 16
"""Columns per group in the first of two top-k stages."""
REFERENCE_ROWS = 4096
"""Database rows whose mean becomes the origin."""
UNIT_ROUNDOFF = 2.0**-24


class Neighbours(NamedTuple):
    """Nearest database rows of every query: Euclidean distances float32 [q, k], ascending, and rows int64 [q, k]."""

    distances: NDArray[np.float32]
    rows: NDArray[np.int64]


class Searcher(Protocol):
    """Finds the nearest database descriptors of queries."""

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

    Args:
        device: "cpu", "cuda", "cuda:1", ..., or "auto": the current GPU where there is one.
        database_block: Database rows at a time.
        query_block: Queries at a time. Memory: 4 bytes x database_block x (query_block + D), and 16 bytes x (k + 32)
            for every query.
    """

    def __init__(self, device: str = "auto", database_block: int = 32768, query_block: int = 128) -> None:
        for key, value in (("database_block", database_block), ("query_block", query_block)):
            if value < 1:
                raise ConfigError(f"search.{key}", value, "an integer of at least 1")
        try:
            self._device = None if device == "auto" else torch.device(device)
        except RuntimeError as error:
            raise ConfigError("search.device", device, "cpu, cuda, cuda:<n>, or auto") from error
        self.database_block, self.query_block = database_block, query_block

    @property
    def device(self) -> torch.device:
        """Where it searches. ``auto`` is decided when it is asked: a process of several has its own GPU only later."""
        if self._device is not None:
            return self._device
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def search(self, queries: NDArray[np.floating], database: NDArray[np.floating], k: int) -> Neighbours:
        """The k nearest database rows of every query; see :class:`Searcher`.

        Raises:
            ConfigError: k below 1.
            DataError: Descriptors of different sizes, an empty database, or a descriptor that is not finite.
        """
        k = usable_k(queries, database, k)
        queries = np.ascontiguousarray(queries, np.float32)
        if len(queries) == 0:
            return Neighbours(np.empty((0, k), np.float32), np.empty((0, k), np.int64))
        with _full_precision(self.device), torch.inference_mode():
            rows, unseen = self._propose(queries, database, min(len(database), k + SPARE))
        squared = squared_distances(queries, database, rows)
        squared, rows = _nearest(squared, rows, k)
        unsure = np.flatnonzero(squared[:, -1] >= unseen)
        if len(unsure):
            log.warning(
                "%d of %d queries have over %d database views within rounding of their nearest ones; searching them "
                "slowly. Have the descriptors collapsed?", len(unsure), len(queries), SPARE,
            )  # fmt: skip
            squared[unsure], rows[unsure] = self._search_directly(queries[unsure], database, k)
        return Neighbours(np.sqrt(squared).astype(np.float32), rows)

    def _propose(
        self, queries: NDArray[np.float32], database: NDArray[np.floating], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Candidate rows [q, count], and a lower bound [q] on the squared distance of every other row."""
        origin = _origin(database)
        centred = torch.from_numpy(queries - origin).to(self.device)
        norms = _finite_norms(centred, "query", 0)
        best = torch.empty((len(queries), 0), device=self.device)
        rows = torch.empty((len(queries), 0), dtype=torch.int64, device=self.device)
        longest = 0.0
        for start, block, half_squares in self._blocks(database, origin):
            longest = max(longest, math.sqrt(2 * float(half_squares[half_squares.isfinite()].max())))
            found = [_best_columns(part, block, half_squares, count) for part in centred.split(self.query_block)]
            best = torch.cat([best, torch.cat([scores for scores, _ in found])], dim=1)
            rows = torch.cat([rows, torch.cat([columns for _, columns in found]) + start], dim=1)
            if best.shape[1] > count:
                best, kept = best.topk(count, dim=1)
                rows = rows.gather(1, kept)
        if count == len(database):
            return rows.cpu().numpy(), np.full(len(queries), np.inf)
        worst = best.amin(dim=1).double()
        # |score error| <= gamma (|q||d| + |d|^2 / 2), so the squared distance is off by less than gamma (|q| + |d|)^2;
        # the constant beside D covers the rounding of the centring, of the norms and of the final subtraction.
        error = (queries.shape[1] + 16) * UNIT_ROUNDOFF * (norms.double() + longest) ** 2
        return rows.cpu().numpy(), (norms.double() ** 2 - 2 * worst - error).cpu().numpy()

    def _blocks(
        self, database: NDArray[np.floating], origin: NDArray[np.float32]
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """First row, descriptors seen from ``origin`` [b, D], and halves of their squared lengths [b], block by block.

        Blocks are filled up to whole groups with rows of infinite length, which score below every real one.
        """
        width = _whole_groups(min(len(database), self.database_block))
        buffer = np.zeros((width, len(origin)), np.float32)
        starts = range(0, len(database), self.database_block)
        for start in track(starts, "Searching", visible=len(starts) > 1):
            found = database[start : start + self.database_block]
            np.subtract(found, origin, out=buffer[: len(found)])
            block = torch.from_numpy(buffer[: _whole_groups(len(found))]).to(self.device)
            half_squares = torch.full((len(block),), torch.inf, device=self.device)
            half_squares[: len(found)] = _finite_norms(block[: len(found)], "database", start).square() / 2
            yield start, block, half_squares

    def _search_directly(
        self, queries: NDArray[np.float32], database: NDArray[np.floating], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        squared = np.empty((len(queries), k))
        rows = np.empty((len(queries), k), np.int64)
        for position, query in enumerate(track(queries, "Searching slowly")):
            best, best_rows = np.empty((1, 0)), np.empty((1, 0), np.int64)
            for start in range(0, len(database), self.database_block):
                block = np.arange(start, min(start + self.database_block, len(database)))[None]
                best = np.concatenate([best, squared_distances(query[None], database, block)], axis=1)
                best_rows = np.concatenate([best_rows, block], axis=1)
                best, best_rows = _nearest(best, best_rows, min(k, best.shape[1]))
            squared[position], rows[position] = best[0], best_rows[0]
        return squared, rows


def usable_k(queries: NDArray[Any], database: NDArray[Any], k: int) -> int:
    """Check what is to be searched; returns k, or the size of the database where k exceeds it."""
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise DataError(
            f"queries of shape {queries.shape} cannot be searched in a database of shape {database.shape}; "
            "both must be [n, D] with the same D"
        )
    if len(database) == 0:
        raise DataError("the database to search has no descriptors")
    if k < 1:
        raise ConfigError("k", k, "an integer of at least 1")
    if k > len(database):
        log.info("asked for %d neighbours in a database of %d; all of them are ranked", k, len(database))
    return min(k, len(database))


def _origin(database: NDArray[np.floating]) -> NDArray[np.float32]:
    """A point amid the descriptors: distances do not depend on the origin, but their rounding does."""
    sample = np.linspace(0, len(database) - 1, min(len(database), REFERENCE_ROWS)).astype(np.int64)
    return np.nan_to_num(np.asarray(database[sample], np.float32).mean(axis=0), posinf=0.0, neginf=0.0)


def _whole_groups(rows: int) -> int:
    return -(-rows // GROUP) * GROUP


def _best_columns(
    queries: torch.Tensor, block: torch.Tensor, half_squares: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` highest scores [q, count] of a block of whole groups, and their columns; all of a smaller block.

    Groups of columns are ranked by their maximum first: the best ``count`` columns lie in the best ``count`` groups.
    """
    scores = torch.addmm(half_squares, queries, block.T, beta=-1)
    groups = len(block) // GROUP
    if groups <= 2 * count:
        return scores.topk(min(count, len(block)), dim=1, sorted=False)
    scores = scores.view(len(queries), GROUP, groups)  # group g holds columns g, g + groups, g + 2 groups, ...
    chosen = scores.amax(dim=1).topk(count, dim=1, sorted=False).indices
    members = scores.gather(2, chosen[:, None].expand(-1, GROUP, -1)).flatten(1)
    best, kept = members.topk(count, dim=1, sorted=False)
    return best, chosen.gather(1, kept % count) + kept.div(count, rounding_mode="floor") * groups


def _nearest(
    squared: NDArray[np.float64], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k smallest of [q, c] by distance, then by row."""
    order = np.lexsort((rows, squared), axis=1)[:, :k]
    return np.take_along_axis(squared, order, 1), np.take_along_axis(rows, order, 1)


def _finite_norms(descriptors: torch.Tensor, role: str, first: int) -> torch.Tensor:
    norms = torch.linalg.vector_norm(descriptors, dim=1)
    finite = torch.isfinite(norms)
    if not bool(finite.all()):
        raise DataError(f"the descriptor of {role} row {first + int((~finite).nonzero()[0])} is not finite")
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
