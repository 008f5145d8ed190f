"""Measures an approximate search against the exact one."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosslocate.retrieval.blocks import take
from crosslocate.retrieval.search import ExactSearcher, Search
from crosslocate.retrieval.search_report import SearchReport

NUMBERS = (1, 10, 100)
"""Neighbours whose share is measured."""


@dataclass(frozen=True)
class Sample:
    """Queries that a search is measured with.

    Args:
        descriptors: float32 [q, D].
        rows: Of the database that they are, and which are no answers to them, [q]; -1 where they are real queries.
    """

    descriptors: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def draw(
        cls, database: NDArray[np.floating], queries: NDArray[np.floating] | None, size: int, seed: int
    ) -> "Sample":
        """At most ``size`` of the queries, by chance; rows of the database where there are none."""
        rng = np.random.default_rng([seed, 1])
        own = queries is None or len(queries) == 0
        source = database if own or queries is None else queries
        rows = np.sort(rng.choice(len(source), min(size, len(source)), replace=False))
        return cls(take(source, rows).astype(np.float32), rows if own else np.full(len(rows), -1))

    @property
    def of_database(self) -> bool:
        """Whether they are rows of the database."""
        return bool(self.rows[0] >= 0)

    @property
    def digest(self) -> str:
        """Identifies real queries; empty for rows of the database."""
        return "" if self.of_database else hashlib.sha256(self.descriptors.tobytes()).hexdigest()[:16]


def measure(
    search: Search,
    database: NDArray[np.floating],
    sample: Sample,
    index_bytes: int,
    build_seconds: float,
    peak_bytes: int,
) -> SearchReport:
    """Search a sample of queries both ways.

    Args:
        search: What is measured.
        database: Descriptors [n, D], at least two.
        sample: The queries.
        index_bytes: For the report.
        build_seconds: For the report.
        peak_bytes: For the report.
    """
    asked, own = sample.descriptors, sample.of_database
    k = min(NUMBERS[-1], len(database) - own)
    exact = ExactSearcher().over(database).nearest(asked, k + own)
    seconds, found = [], []
    for query in asked:
        begin = time.perf_counter()
        found.append(search.nearest(query[None], k + own).rows[0])
        seconds.append(time.perf_counter() - begin)
    near = np.stack(found)
    return SearchReport(
        queries=len(asked),
        of_database=own,
        found={number: share_found(near, exact.rows, number, sample.rows) for number in NUMBERS if number <= k},
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
