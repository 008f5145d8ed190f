"""What `benchmark_growth` measures: each work gives a function that does it once, on a database of a size."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scale_parts import evaluator_with, searcher_of
from synthetic_descriptors import SyntheticDescriptors
from synthetic_scale import HEADINGS, alpine_places, alpine_queries

Once = Callable[[], Any]
QUERIES = 1_000
RELATED = 3_000
"""Queries of the relations, which are found in no time."""
ROUND, SAMPLED = 250, 4_000
SIDE, BATCH, POOL = 32, 1_024, 8_192
"""Pixels of a picture that is embedded, pictures of a batch, and different pictures."""
NEIGHBOURS = 100


class Poses:
    """Queries or views, as plain arrays with the names of a catalog's columns."""

    def __init__(self, longitude: np.ndarray, latitude: np.ndarray, yaw: np.ndarray) -> None:
        self.longitude, self.latitude, self.yaw = longitude, latitude, yaw
        self.horizontal_fov = np.full(len(yaw), np.radians(60.0))

    def __len__(self) -> int:
        return len(self.yaw)


@dataclass(frozen=True)
class Database:
    """A database of ``views``, and where its descriptors are kept.

    Args:
        folder: Holds descriptors, float16 [views, size].
        views: Its size.
        size: Numbers in a descriptor.
        search: Option of conf/search.
    """

    folder: Path
    views: int
    size: int
    search: str

    @property
    def file(self) -> Path:
        """Of the descriptors."""
        return self.folder / f"{self.views}x{self.size}.npy"

    @property
    def descriptors(self) -> np.ndarray:
        """Mapped."""
        return np.load(self.file, mmap_mode="r")

    def make(self) -> None:
        """Write the descriptors, block by block."""
        made = SyntheticDescriptors(self.views, self.size)
        matrix = np.lib.format.open_memmap(self.file, "w+", np.float16, (self.views, self.size))
        for start in made.starts:
            block = made.block(start)
            matrix[start : start + len(block)] = block

    def poses(self) -> Poses:
        """Of all views."""
        longitude, latitude, _ = alpine_places(-(-self.views // HEADINGS))
        yaw = np.tile(np.arange(HEADINGS) * (2 * np.pi / HEADINGS), len(longitude))
        here = [np.repeat(axis, HEADINGS)[: self.views] for axis in (longitude, latitude)]
        return Poses(here[0], here[1], yaw[: self.views])

    def queries(self, count: int) -> tuple[Poses, Callable[[], np.ndarray]]:
        """Photographs, and what gives their descriptors [count, size]."""
        columns = alpine_queries(count, views=self.views)
        longitude, latitude, yaw = (np.asarray(columns[name]) for name in ("longitude", "latitude", "yaw"))
        poses = Poses(longitude, latitude, yaw)
        made = SyntheticDescriptors(self.views, self.size)
        return poses, lambda: made.queries(poses.longitude, poses.latitude, poses.yaw)


def relations(database: Database) -> Once:
    """Positives and non-negatives of photographs."""
    from crosslocate.data.relations import relate

    poses, (queries, _) = database.poses(), database.queries(RELATED)
    return lambda: relate(queries, poses)


def _mining(database: Database, miner: Any) -> Once:
    """All queries, in rounds."""
    from crosslocate.data.relations import relate
    from crosslocate.mining.descriptors import RowDescriptors
    from crosslocate.mining.miner import MiningTask

    queries, descriptors = database.queries(3 * QUERIES)
    found = relate(queries, database.poses(), positive_heading=15.0)
    chosen = np.flatnonzero(found.positives.counts)[:QUERIES]
    lookups = (
        RowDescriptors(np.arange(len(queries)), descriptors()),
        RowDescriptors(np.arange(database.views), database.descriptors),
    )

    def once() -> None:
        for start in range(0, len(chosen), ROUND):
            rows = chosen[start : start + ROUND]
            task = MiningTask(rows, found, lambda q, _: np.zeros(len(q), np.bool_), database.views, (0, 0, start))
            miner.mine(task, miner.candidates(task), *lookups)

    return once


def mining_by_query(database: Database) -> Once:
    """Each query has a sample of its own."""
    from crosslocate.mining.per_query import PerQueryMiner
    from crosslocate.mining.sampling import ComplementSampler
    from crosslocate.mining.strategies import SemiHardAndHardNegatives

    strategy = SemiHardAndHardNegatives(0.2)
    return _mining(database, PerQueryMiner(strategy, ComplementSampler(), 10, SAMPLED, 0, 0.2, 2, True, True))


def mining_pooled(database: Database) -> Once:
    """The queries of a round share a sample."""
    from crosslocate.mining.pooled import PooledMiner
    from crosslocate.mining.strategies import SemiHardAndHardNegatives

    return _mining(database, PooledMiner(SemiHardAndHardNegatives(0.2), 10, SAMPLED, 0, 0.2))


def extraction(database: Database) -> Once:
    """Every view, by a small network, from pictures in memory."""
    import torch

    from crosslocate.models.small import SmallBackbone
    from crosslocate.retrieval.extract import extract
    from crosslocate.retrieval.store import DescriptorStore

    torch.manual_seed(0)
    network = torch.nn.Sequential(SmallBackbone(1, [32, 64]), torch.nn.AdaptiveAvgPool2d((2, 4)), torch.nn.Flatten())
    pictures = torch.rand(POOL, 1, SIDE, SIDE)

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        for start in range(0, database.views, BATCH):
            positions = torch.arange(start, min(start + BATCH, database.views))
            yield {"images": pictures[positions % POOL], "positions": positions}

    def once() -> None:
        with tempfile.TemporaryDirectory(dir=database.folder) as folder:
            store = DescriptorStore.create(Path(folder) / "store", database.views, database.size, "float16")
            extract(network.eval(), batches(), store, visible=False)
            store.require_complete()

    return once


def evaluation(database: Database) -> Once:
    """Exact search, what lies around every query, and all counting."""
    from crosslocate.data.distance import GEODESIC
    from crosslocate.retrieval.search import ExactSearcher

    evaluator, poses, (queries, descriptors) = (
        evaluator_with(ExactSearcher("cpu")),
        database.poses(),
        database.queries(QUERIES),
    )
    found = descriptors()
    return lambda: evaluator.evaluate("test", found, database.descriptors, queries, poses, GEODESIC)


def approximate_search(database: Database) -> Once:
    """Search in an index that is there already, query by query."""
    search = searcher_of(database.search).over(database.descriptors, database.folder / "index", str(database.views))
    queries = database.queries(QUERIES)[1]()

    def once() -> None:
        for query in queries:
            search.nearest(query[None], NEIGHBOURS)

    return once


@dataclass(frozen=True)
class Work:
    """One line of the plot.

    Args:
        title: What is done, in the table.
        label: The same, beside the line.
        prepare: Gives what does it once.
    """

    title: str
    label: str
    prepare: Callable[[Database], Once]


WORKS = {
    "relations": Work(f"relations of {RELATED:,} queries", "relations", relations),
    "mining": Work(
        f"mining for {QUERIES:,} queries, {SAMPLED:,} sampled for each",
        "mining, a sample for each query",
        mining_by_query,
    ),
    "pooled": Work(
        f"mining for {QUERIES:,} queries, {SAMPLED:,} sampled for {ROUND}",
        "mining, a sample for all of a round",
        mining_pooled,
    ),
    "extraction": Work(f"extraction of all views, {SIDE} x {SIDE} pixels", "extraction", extraction),
    "evaluation": Work(f"evaluation of {QUERIES:,} queries, exact search", "evaluation, exact search", evaluation),
    "approximate": Work(f"approximate search for {QUERIES:,} queries", "approximate search", approximate_search),
}
