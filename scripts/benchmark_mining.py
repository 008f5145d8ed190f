"""Mining by query: python scripts/benchmark_mining.py [--queries 1000] [--samples 1000 4000 16000] [--views 37332].

Triplets of an epoch in rounds of 250 queries, from descriptors of unit length in clusters (views of a place resemble
each other): sampling, distances and choice, but not the descriptors. Every case runs in a process of its own. Prints a
Markdown table: CPU and wall milliseconds a query, the samples drawn for it, and memory beyond the descriptors. With
``--margin 10`` one sample is enough for every query; with the default none is, and both are drawn. Linux only.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

HEADINGS, NEAR, ROUND = 12, 30, 250
"""Views of a place, places whose views are no negatives, queries of a round."""


def descriptors(views: int, queries: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Database, queries, and the view that each query resembles."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((views // HEADINGS + 1, size), dtype=np.float32)
    database = np.repeat(centres, HEADINGS, axis=0)[:views]
    database += 0.7 * rng.standard_normal((views, size), dtype=np.float32)
    shown = rng.integers(0, views, queries)
    query = database[shown] + rng.standard_normal((queries, size), dtype=np.float32)
    return (
        database / np.linalg.norm(database, axis=1, keepdims=True),
        query / np.linalg.norm(query, axis=1, keepdims=True),
        shown,
    )


def peak_memory() -> int:
    """Highest resident memory of this process in KiB, since the last time it was asked for."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1])


def measure(
    views: int, samples: int, queries: int, size: int, margin: float, threads: int, *, half: bool = False
) -> dict[str, Any]:
    """Time an epoch."""
    from crosslocate.threads import limit_threads

    limit_threads(threads)

    from crosslocate.data.relations import Csr, Relations
    from crosslocate.mining.descriptors import RowDescriptors
    from crosslocate.mining.miner import MiningTask
    from crosslocate.mining.per_query import PerQueryMiner
    from crosslocate.mining.sampling import ComplementSampler
    from crosslocate.mining.strategies import SemiHardAndHardNegatives

    database, query, shown = descriptors(views, queries, size)
    if half:
        database = database.astype(np.float16)
    first = np.clip(shown // HEADINGS - NEAR // 2, 0, max(0, views // HEADINGS - NEAR)) * HEADINGS
    near = np.minimum(first[:, None] + np.arange(NEAR * HEADINGS), views - 1)
    every = np.arange(queries + 1)
    relations = Relations(Csr(every, shown.astype(np.int32)), Csr(every * near.shape[1], near.ravel().astype(np.int32)))
    lookups = RowDescriptors(np.arange(queries), query), RowDescriptors(np.arange(views), database)
    miner = PerQueryMiner(SemiHardAndHardNegatives(margin), ComplementSampler(), 10, samples, 0, margin, 2, True, True)

    def mine(rows: np.ndarray, index: int) -> Any:
        task = MiningTask(rows, relations, lambda q, _: np.zeros(len(q), np.bool_), views, (0, 0, index))
        return miner.mine(task, miner.candidates(task), *lookups)

    mine(np.arange(2), 99)  # compilation
    peak_memory()
    before, attempts = peak_memory(), 0
    wall, cpu = time.perf_counter(), time.process_time()
    for index, start in enumerate(range(0, queries, ROUND)):
        attempts += mine(np.arange(start, min(start + ROUND, queries)), index).attempts
    return {
        "cpu": 1e3 * (time.process_time() - cpu) / queries,
        "wall": 1e3 * (time.perf_counter() - wall) / queries,
        "attempts": attempts / queries,
        "memory": (peak_memory() - before) / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--views", type=int, nargs="+", default=[37332])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--margin", type=float, default=0.2)
    parser.add_argument("--half", action="store_true", help="float16 descriptors, as a descriptor memory has them")
    options = parser.parse_args()
    print(f"{options.queries} queries, {options.size}-D, threads: {options.threads}\n")
    print("| views | sampled | CPU ms a query | wall ms a query | samples a query | MiB |")
    print("|---|---|---|---|---|---|")
    for views in options.views:
        for samples in options.samples:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                arguments = (views, samples, options.queries, options.size, options.margin, options.threads)
                found = pool.apply(measure, arguments, {"half": options.half})
            figures = f"{found['cpu']:.2f} | {found['wall']:.2f} | {found['attempts']:.2f} | {found['memory']:.0f}"
            print(f"| {views:,} | {samples:,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
