"""What `benchmark_scale` measures, part by part: each takes a `Case` and gives seconds and a line on what it found."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, Any]
NEIGHBOURS = 100
SINGLE = 200
"""Queries that are searched one by one, for the time that one takes."""
CONF = Path(__file__).parents[1] / "conf" / "search"


@dataclass(frozen=True)
class Case:
    """What is measured: ``views`` and ``queries`` of the catalog, ``searched`` of them with descriptors of ``size``."""

    folder: Path
    views: int
    queries: int
    size: int
    searched: int
    search: str

    @property
    def index(self) -> Path:
        """Where the approximate index is kept."""
        return self.folder / "index" / self.search

    @property
    def rows(self) -> np.ndarray:
        """The queries that are searched for, spread over all of them."""
        return np.linspace(0, self.queries - 1, self.searched).astype(np.int64)


def write_catalogs(case: Case) -> Figures:
    """Both catalogs, the database in batches."""
    from synthetic_scale import alpine_batches, alpine_queries

    from crosslocate.data.catalog import CatalogWriter, write_catalog

    with measured() as found:
        with CatalogWriter(case.folder / "database.parquet", "database", {"depth": "depth/{name}.exr"}) as writer:
            for columns in alpine_batches(case.views):
                writer.append(columns)
        columns = alpine_queries(case.queries, views=case.views)
        write_catalog(case.folder / "queries.parquet", columns, "queries", {"photo": "photo/{name}.jpg"})
    size = sum(file.stat().st_size for file in case.folder.glob("*database.parquet*"))
    return found | {"said": f"{size / 2**20:,.0f} MiB with its mapped form"}


def open_catalogs(case: Case) -> Figures:
    """As a run opens them."""
    with measured() as found:
        queries, database = catalogs(case)
        print_of_all = database.fingerprint()
    return found | {"said": f"{len(queries):,} and {len(database):,} rows, fingerprint {print_of_all[:8]}"}


def relate(case: Case) -> Figures:
    """Found, and kept."""
    shutil.rmtree(case.folder / "relations", ignore_errors=True)
    return related(case)


def related(case: Case) -> Figures:
    """By the cache, whatever it holds."""
    from crosslocate.data.distance import GEODESIC
    from crosslocate.data.relation_cache import RelationCache

    limits: dict[str, Any] = {"positive_distance": 20.0, "positive_heading": 15.0, "negative_distance": 2000.0}
    with measured() as found:
        relations = RelationCache(case.folder / "relations")(*catalogs(case), **limits, model=GEODESIC)
    positives, near = (len(csr.indices) for csr in (relations.positives, relations.nonnegatives))
    return found | {"said": f"{positives:,} positives, {near:,} non-negatives"}


def write_descriptors(case: Case) -> Figures:
    """A store of float16; blocks that are there already are not made again."""
    from synthetic_descriptors import BLOCK, SyntheticDescriptors

    from crosslocate.console import track
    from crosslocate.retrieval.store import DescriptorStore

    made = SyntheticDescriptors(case.views, case.size)
    with measured() as found:
        path = case.folder / "descriptors"
        store = DescriptorStore.create(path, case.views, case.size, "float16", "synthetic", exist_ok=True)
        covered = store.covered
        for start in track(made.starts, "Making descriptors"):
            if not covered[start : start + BLOCK].all():
                block = made.block(start)
                store.write(np.arange(start, start + len(block)), block)
        store.flush()
        store.require_complete()
        queries = catalogs(case)[0].take(case.rows)
        np.save(case.folder / "queries.npy", made.queries(queries.longitude, queries.latitude, queries.yaw))
    return found | {"said": f"{store.descriptors.nbytes / 2**30:.1f} GiB"}


def evaluate(case: Case) -> Figures:
    """The whole evaluation of the searched queries; keeps their exact neighbours."""
    from crosslocate.data.distance import GEODESIC
    from crosslocate.retrieval.results import find

    evaluator = evaluator_with(kept := Keeping())
    queries, database = catalogs(case)
    with measured() as found:
        chosen = queries.take(case.rows)
        descriptors = opened(case).descriptors, np.load(case.folder / "queries.npy")
        results, _ = evaluator.evaluate("test", descriptors[1], descriptors[0], chosen, database, GEODESIC)
    np.save(case.folder / "exact.npy", kept.rows)
    recalls = {f"{n}": find(results, n, 20.0, None)["recall"] for n in (1, 10, 100)}
    said = ", ".join(f"recall@{n} {100 * share:.1f} %" for n, share in recalls.items())
    return found | {"recalls": recalls, "said": f"{said} within 20 m"}


def build_index(case: Case) -> Figures:
    """Trains, fills and saves the approximate index."""
    shutil.rmtree(case.index, ignore_errors=True)
    store, searcher, queries = opened(case), searcher_of(case.search), np.load(case.folder / "queries.npy")
    with measured() as found:
        search = searcher.over(store.descriptors, case.index, store.digest(), queries)
    size = max(file.stat().st_size for file in case.index.rglob("*.faiss"))
    return found | {"bytes": size, "said": f"file of {size / 1e9:.2f} GB. {search.report}"}


def search_index(case: Case) -> Figures:
    """Opens the index, searches, and compares with the exact answers."""
    from crosslocate.data.distance import GEODESIC
    from crosslocate.retrieval.recall import count_hits, measure_errors

    store, searcher, queries = opened(case), searcher_of(case.search), np.load(case.folder / "queries.npy")
    exact, (asking, database) = np.load(case.folder / "exact.npy"), catalogs(case)
    search = searcher.over(store.descriptors, case.index, store.digest())
    search.nearest(queries[:2], NEIGHBOURS)
    with measured() as found:
        rows = search.nearest(queries, NEIGHBOURS).rows
    single = []
    for query in queries[:SINGLE]:
        start = time.perf_counter()
        search.nearest(query[None], NEIGHBOURS)
        single.append(1e3 * (time.perf_counter() - start))
    criteria, chosen, limit = evaluator_with(searcher).criteria, asking.take(case.rows), np.array([20.0])
    hits = [
        count_hits(measure_errors(r, np.arange(len(r)), chosen, database, criteria, GEODESIC).position, limit)[:, 0]
        for r in (rows, exact)
    ]
    share = np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(rows, exact, strict=True)])
    recalls = [100 * h[list(criteria.numbers).index(NEIGHBOURS)] / len(rows) for h in hits]
    return found | {
        "said": f"{1e3 * found['wall'] / len(rows):.1f} ms a query ({np.median(single):.1f} ms one by one, 95 % below "
        f"{np.percentile(single, 95):.1f}); {100 * share:.1f} % of the exact {NEIGHBOURS} found; recall@{NEIGHBOURS} "
        f"{recalls[0]:.1f} % for {recalls[1]:.1f} % exact, {100 * recalls[0] / recalls[1]:.1f} %",
    }


@dataclass(frozen=True)
class Part:
    """One row of the table.

    Args:
        title: What is done.
        work: Does it.
        alone: On one core, whatever is asked for.
        approximate: Of one option of the search among several.
    """

    title: str
    work: Callable[[Case], Figures]
    alone: bool = False
    approximate: bool = False


PARTS = {
    "catalog": Part("catalogs written", write_catalogs),
    "open": Part("catalogs opened", open_catalogs),
    "relations": Part("relations, first", relate, alone=True),
    "cached": Part("relations, from the cache", related, alone=True),
    "descriptors": Part("descriptors made", write_descriptors),
    "exact": Part("evaluation, exact search", evaluate),
    "index": Part("approximate index made", build_index, approximate=True),
    "approximate": Part("approximate search, one core", search_index, alone=True, approximate=True),
}


class Keeping:
    """Exact search that keeps the last answers."""

    rows: np.ndarray

    def __init__(self) -> None:
        from crosslocate.retrieval.search import ExactSearcher

        self.exact = ExactSearcher("cpu")

    def search(self, queries: np.ndarray, database: np.ndarray, k: int) -> Any:
        """As `ExactSearcher.search`."""
        return self.over(database).nearest(queries, k)

    def over(self, database: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """As `ExactSearcher.over`."""
        self.ready, self.report = self.exact.over(database, *args, **kwargs), None
        return self

    def nearest(self, *args: Any, **kwargs: Any) -> Any:
        """As `ExactSearch.nearest`."""
        found = self.ready.nearest(*args, **kwargs)
        self.rows = found.rows
        return found


def catalogs(case: Case) -> tuple[Any, Any]:
    """Queries and database."""
    from crosslocate.data.catalog import read_catalog

    queries, database = (read_catalog(case.folder / f"{role}.parquet") for role in ("queries", "database"))
    return queries.split("test"), database.split("test")


def opened(case: Case) -> Any:
    """The descriptor store."""
    from crosslocate.retrieval.store import DescriptorStore

    return DescriptorStore.open(case.folder / "descriptors", "synthetic")


def searcher_of(option: str) -> Any:
    """The searcher that an option of conf/search configures."""
    from omegaconf import OmegaConf

    from crosslocate.config.build import build

    return build(OmegaConf.create({"seed": 0, "search": OmegaConf.load(CONF / f"{option}.yaml")}).search)


def evaluator_with(searcher: Any) -> Any:
    """As configuration makes it by default."""
    from crosslocate.retrieval.chance import ExactChance
    from crosslocate.retrieval.evaluation import Evaluator
    from crosslocate.retrieval.field_of_view import FieldOfViewGroups
    from crosslocate.retrieval.recall import RecallCriteria

    criteria = RecallCriteria((1, 5, 10, NEIGHBOURS), (20, 100, 1000), 30, 20, 1000)
    groups = FieldOfViewGroups([0, 15, 30, 45, 60, 80, 360], 10_000, 1_000)
    return Evaluator(criteria, searcher, ExactChance(), groups, 20)


@contextmanager
def measured() -> Iterator[Figures]:
    """Seconds of what is done within."""
    found: Figures = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
