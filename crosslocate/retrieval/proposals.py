"""The best scores of every query over blocks of a database, kept while the blocks pass by.

Scores are ``q.d - |d|^2 / 2``: the higher, the nearer. On the CPU a running threshold, the lowest score among those
that are kept, passes over almost all columns without looking at them one by one; on a GPU two stages of top-k do.
"""

from typing import Protocol

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

GROUP = 16
"""Columns of a group in the first of two top-k stages on a GPU."""
SCANNED = 64
"""Columns that are compared with the threshold at once on the CPU."""
TILE = 2048
"""Database rows of a matrix product on the CPU: its result stays in the cache until it has been looked through."""


class Proposals(Protocol):
    """Keeps the ``count`` best rows of every query."""

    def add(self, block: torch.Tensor, half_squares: torch.Tensor, rows: NDArray[np.int64]) -> None:
        """Look at a block of descriptors [b, D], halves of their squared lengths [b], and their row numbers [b]."""
        ...

    def kept(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows [q, count], in no order, and a score that none of the rows that were left out exceeds [q]."""
        ...


def proposals(queries: torch.Tensor, count: int, query_block: int) -> Proposals:
    """For queries [q, D] of at least ``count`` rows of a database, on the device that the queries are on.

    Args:
        queries: Descriptors, float32.
        count: Rows to keep for each.
        query_block: Queries of a matrix product.
    """
    kind = HostProposals if queries.device.type == "cpu" else DeviceProposals
    return kind(queries, count, query_block)


class HostProposals:
    """`Proposals` on the CPU; memory: 36 bytes x count for every query, and 4 bytes x query_block x 2048."""

    def __init__(self, queries: torch.Tensor, count: int, query_block: int) -> None:
        self._queries, self._count, self._query_block = queries, count, query_block
        self._scores = np.empty((len(queries), 3 * count), np.float32)
        self._rows = np.empty((len(queries), 3 * count), np.int64)
        self._held = np.zeros(len(queries), np.int64)
        self._least = np.full(len(queries), -np.inf, np.float32)
        self._products = torch.empty(min(query_block, len(queries)) * TILE)

    def add(self, block: torch.Tensor, half_squares: torch.Tensor, rows: NDArray[np.int64]) -> None:
        """As in `Proposals`."""
        halves = half_squares.numpy()
        for first in range(0, len(block), TILE):
            tile = block[first : first + TILE]
            for start in range(0, len(self._queries), self._query_block):
                part = slice(start, start + self._query_block)
                queries = self._queries[part]
                products = self._products[: len(queries) * len(tile)].view(len(queries), len(tile))
                torch.mm(queries, tile.T, out=products)
                _keep(
                    products.numpy(), halves[first : first + TILE], rows[first : first + TILE], self._count,
                    self._scores[part], self._rows[part], self._held[part], self._least[part],
                )  # fmt: skip

    def kept(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """As in `Proposals`."""
        _cut(self._count, self._scores, self._rows, self._held)
        worst = self._scores[:, : self._count].min(axis=1)
        return self._rows[:, : self._count].copy(), worst.astype(np.float64)


class DeviceProposals:
    """`Proposals` by torch alone, for GPUs; blocks are filled up to whole groups with rows that score lowest."""

    def __init__(self, queries: torch.Tensor, count: int, query_block: int) -> None:
        self._parts, self._count, self._device = queries.split(query_block), count, queries.device
        self._best = torch.empty((len(queries), 0), device=self._device)
        self._rows = torch.empty((len(queries), 0), dtype=torch.int64, device=self._device)

    def add(self, block: torch.Tensor, half_squares: torch.Tensor, rows: NDArray[np.int64]) -> None:
        """As in `Proposals`."""
        short = -len(block) % GROUP
        if short:
            block = torch.nn.functional.pad(block, (0, 0, 0, short))
            half_squares = torch.nn.functional.pad(half_squares, (0, short), value=torch.inf)
        numbers = torch.from_numpy(np.pad(rows, (0, short))).to(self._device)
        found = [_best_columns(part, block, half_squares, self._count) for part in self._parts]
        scores = torch.cat([self._best, torch.cat([best for best, _ in found])], dim=1)
        merged = torch.cat([self._rows, numbers[torch.cat([columns for _, columns in found])]], dim=1)
        if scores.shape[1] > self._count:
            scores, places = scores.topk(self._count, dim=1, sorted=False)
            merged = merged.gather(1, places)
        self._best, self._rows = scores, merged

    def kept(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """As in `Proposals`."""
        return self._rows.cpu().numpy(), self._best.amin(dim=1).double().cpu().numpy()


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


@njit(nogil=True, cache=True)
def _keep(products, halves, numbers, count, scores, rows, held, least) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Keep what is above the threshold of its query; where there is no more room, raise the threshold."""
    columns = products.shape[1]
    for q in range(products.shape[0]):
        line, bar, n = products[q], least[q], held[q]
        if n == 0:
            bar = _first_bar(line, halves, count, scores[q], rows[q])
        for group in range(-(-columns // SCANNED)):
            first = group * SCANNED
            if first + SCANNED <= columns:
                above = np.int32(0)
                for j in range(SCANNED):  # a count, not a condition: the compiler makes vector instructions of it
                    above += np.int32(1) if line[first + j] - halves[first + j] > bar else np.int32(0)
                if above == 0:
                    continue
            for column in range(first, min(first + SCANNED, columns)):
                score = line[column] - halves[column]
                if score > bar:
                    scores[q, n], rows[q, n] = score, numbers[column]
                    n += 1
                    if n == scores.shape[1]:
                        bar = _partition(scores[q], rows[q], n, count)
                        n = count
        least[q], held[q] = bar, n


@njit(nogil=True, cache=True)
def _first_bar(line, halves, count, scores, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A threshold that at least ``count`` columns exceed, from the maxima of 2 x count groups; uses empty buffers."""
    groups = 2 * count
    if len(line) < 2 * groups:
        return np.float32(-np.inf)
    for g in range(groups):
        scores[g] = line[g] - halves[g]
    for row in range(1, len(line) // groups):
        first = row * groups
        for g in range(groups):
            score = line[first + g] - halves[first + g]
            scores[g] = score if score > scores[g] else scores[g]
    return np.nextafter(_partition(scores, rows, groups, count), np.float32(-np.inf))


@njit(nogil=True, cache=True)
def _cut(count, scores, rows, held) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    for q in range(len(held)):
        if held[q] > count:
            _partition(scores[q], rows[q], held[q], count)
            held[q] = count


@njit(nogil=True, cache=True)
def _partition(scores, rows, n, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Bring the ``count`` highest of the first n scores to the front (Hoare's selection); the lowest of them."""
    low, high = 0, n - 1
    while low < high:
        pivot = scores[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while scores[i] > pivot:
                i += 1
            while scores[j] < pivot:
                j -= 1
            if i <= j:
                scores[i], scores[j] = scores[j], scores[i]
                rows[i], rows[j] = rows[j], rows[i]
                i += 1
                j -= 1
        if count - 1 <= j:
            high = j
        elif count - 1 >= i:
            low = i
        else:
            break
    return scores[count - 1]
