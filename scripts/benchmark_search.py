"""Exact search side by side with faiss: python scripts/benchmark_search.py [--sizes 3996 37332 200000] [--threads 2].

Every case runs in a process of its own, on descriptors of unit length in clusters (views of a place resemble each
other). Prints a Markdown table: wall and CPU milliseconds a query (best of the repeats), memory beyond database and
queries, and the share of neighbours that agree with a brute-force search in float64 on some of the queries. Linux only.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

SEARCHERS = {
    "ours": ("crosslocate.retrieval.search", "ExactSearcher"),
    "faiss": ("crosslocate.retrieval.faiss_search", "FaissFlat"),
}
CHECKED = 5
"""Queries that are compared with brute force."""


def descriptors(rows: int, queries: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Database and queries: twelve noisy views of every centre, and still noisier queries of some of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((rows // 12 + 1, size), dtype=np.float32)
    database = np.repeat(centres, 12, axis=0)[:rows] + 0.7 * rng.standard_normal((rows, size), dtype=np.float32)
    query = database[rng.integers(0, rows, queries)] + rng.standard_normal((queries, size), dtype=np.float32)
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (database, query))


def peak_memory() -> int:
    """Highest resident memory of this process in KiB, since the last time it was asked for."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1])


def measure(name: str, rows: int, queries: int, size: int, k: int, repeats: int, threads: int | None) -> dict[str, Any]:
    """Time one searcher on one database."""
    from importlib import import_module

    from crosslocate.threads import limit_threads

    threads = limit_threads(threads)
    module, attribute = SEARCHERS[name]
    searcher = getattr(import_module(module), attribute)()
    database, query = descriptors(rows, queries, size)
    searcher.search(query[:2], database[:1000], k)  # compilation, thread pools
    peak_memory()
    before = peak_memory()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        found = searcher.search(query, database, k)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    peak = peak_memory()
    agreement = []
    for row in range(min(CHECKED, queries)):
        squared = np.square(database.astype(np.float64) - query[row].astype(np.float64)).sum(axis=1)
        agreement.append(np.mean(found.rows[row] == np.argsort(squared, kind="stable")[:k]))
    return {
        "threads": threads,
        "wall": 1e3 * min(walls) / queries,
        "cpu": 1e3 * min(cpus) / queries,
        "memory": (peak - before) / 1024,
        "agreement": float(np.mean(agreement)),
    }


def main() -> None:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3_996, 37_332, 200_000])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    print(f"{args.queries} queries, {args.dimensions} dimensions, top {args.k}\n")
    print("| database | searcher | threads | wall ms/query | CPU ms/query | extra MiB | equal to float64 |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for rows in args.sizes:
        for name in SEARCHERS:
            # one process a case: peak memory is per process
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                case = (name, rows, args.queries, args.dimensions, args.k, args.repeats, args.threads)
                row = pool.apply(measure, case)
            print(
                f"| {rows:,} | {name} | {row['threads']} | {row['wall']:.3f} | {row['cpu']:.3f} "
                f"| {row['memory']:.0f} | {100 * row['agreement']:.2f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
