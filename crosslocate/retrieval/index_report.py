"""Measures an approximate search against the exact one."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslocate.retrieval.blocks import take
from crosslocate.retrieval.search import ExactSearcher, Neighbours, Search
from crosslocate.retrieval.search_report import SearchReport

NUMBERS = (1, 10, 100)
"""Neighbours whose share is measured."""


def measure(
    search: Search,
    database: NDArray[np.floating],
    queries: NDArray[np.floating] | None,
    sample: int,
    seed: int,
    index_bytes: int,
    build_seconds: float,
    peak_bytes: int,
) -> SearchReport:
    """Search a sample of queries both ways.

    Args:
        search: What is measured.
        database: Descriptors [n, D], at least two.
        queries: Queries to draw the sample from; None or empty: rows of the database, which are then no answers.
        sample: Size of the sample, at most.
        seed: Of the draw.
        index_bytes: For the report.
        build_seconds: For the report.
        peak_bytes: For the report.
    """
    rng = np.random.default_rng([seed, 1])
    own = queries is None or len(queries) == 0
    source = database if own or queries is None else queries
    rows = np.sort(rng.choice(len(source), min(sample, len(source)), replace=False))
    asked = take(source, rows).astype(np.float32)
    k = min(NUMBERS[-1], len(database) - own)
    exact = ExactSearcher().over(database).nearest(asked, k + own)
    seconds, found = [], []
    for query in asked:
        begin = time.perf_counter()
        found.append(search.nearest(query[None], k + own).rows[0])
        seconds.append(time.perf_counter() - begin)
    near = Neighbours(exact.distances, np.stack(found))
    left_out = rows if own else np.full(len(rows), -1)
    numbers = [number for number in NUMBERS if number <= k]
    return SearchReport(
        queries=len(rows),
        of_database=own,
        found={number: share_found(near.rows, exact.rows, number, left_out) for number in numbers},
        median_ms=float(1e3 * np.median(seconds)),
        slow_ms=float(1e3 * np.percentile(seconds, 95)),
        index_bytes=index_bytes,
        build_seconds=build_seconds,
        peak_bytes=peak_bytes,
    )


def share_found(found: NDArray[np.int64], exact: NDArray[np.int64], k: int, left_out: NDArray[np.int64]) -> float:
    """Share of the exact k nearest that is among the first k found; ``left_out`` [q] is a row that does not count."""
    hits = 0
    for mine, truth, row in zip(found, exact, left_out, strict=True):
        hits += len(np.intersect1d(mine[mine != row][:k], truth[truth != row][:k]))
    return hits / (k * len(found))


def peak_memory() -> int:
    """Highest resident memory of this process so far in bytes, by the kernel; 0 where it does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
