"""Exact and approximate search side by side with faiss' IndexFlat: python scripts/benchmark_search.py [--threads 2].

Every case runs in a process of its own, on descriptors of unit length in clusters (views of a place resemble each
other). Prints a Markdown table: wall and CPU milliseconds a query (best of the repeats), seconds and memory beyond
database and queries (making an index included), bytes of the index, and the share of the k nearest by brute force in
float64 that is found for some of the queries. Linux only.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

SEARCHERS = ("exact", "faiss", "ivf_pq", "ivf_flat", "hnsw")
"""Options of conf/search."""
CONF = Path(__file__).parents[1] / "conf" / "search"
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
    from omegaconf import OmegaConf

    from crosslocate.config.build import build
    from crosslocate.threads import limit_threads

    threads = limit_threads(threads)
    searcher = build(OmegaConf.load(CONF / f"{name}.yaml"))
    database, query = descriptors(rows, queries, size)
    searcher.search(query[:2], database[:900], k)  # compilation, thread pools
    peak_memory()
    before = peak_memory()
    begin = time.perf_counter()
    search = searcher.over(database, queries=query)
    built = time.perf_counter() - begin
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        found = search.nearest(query, k)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    peak = peak_memory()
    agreement = []
    for row in range(min(CHECKED, queries)):
        squared = np.square(database.astype(np.float64) - query[row].astype(np.float64)).sum(axis=1)
        agreement.append(len(np.intersect1d(found.rows[row], np.argsort(squared, kind="stable")[:k])) / k)
    return {
        "threads": threads,
        "wall": 1e3 * min(walls) / queries,
        "cpu": 1e3 * min(cpus) / queries,
        "memory": (peak - before) / 1024,
        "built": built,
        "index": 0 if search.report is None else search.report.index_bytes / 2**20,
        "agreement": float(np.mean(agreement)),
    }


def main() -> None:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3_996, 37_332, 200_000])
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=list(SEARCHERS))
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    print(f"{args.queries} queries, {args.dimensions} dimensions, top {args.k}\n")
    print("| database | search | threads | wall ms/query | CPU ms/query | making, s | index MiB | extra MiB | found |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for rows in args.sizes:
        for name in args.searchers:
            # one process a case: peak memory is per process
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                case = (name, rows, args.queries, args.dimensions, args.k, args.repeats, args.threads)
                row = pool.apply(measure, case)
            print(
                f"| {rows:,} | {name} | {row['threads']} | {row['wall']:.3f} | {row['cpu']:.3f} "
                f"| {row['built']:.1f} | {row['index']:.0f} | {row['memory']:.0f} | {100 * row['agreement']:.2f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
