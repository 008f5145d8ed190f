"""Candidates from an index against a plain search; what is refused; options of the configuration."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.data.relations import Csr, Relations
from crosslocate.errors import ConfigError
from crosslocate.mining.candidates import SampledCandidates
from crosslocate.mining.descriptors import RowDescriptors
from crosslocate.mining.indexed import IndexedCandidates
from crosslocate.mining.miner import MiningTask
from crosslocate.mining.per_query import PerQueryMiner
from crosslocate.mining.pooled import PooledMiner
from crosslocate.mining.refresh import FullRefresh, Moment, PartialRefresh
from crosslocate.mining.related import among
from crosslocate.mining.remembering import MemoryRefresh
from crosslocate.mining.sampling import ComplementSampler
from crosslocate.mining.strategies import HardestNegatives, RandomNegatives
from crosslocate.retrieval.search import ExactSearcher
from crosslocate.retrieval.store import DescriptorStore

VIEWS, QUERIES, SIZE = 80, 12, 6


def csr(lists):
    flat = np.array([v for x in lists for v in x], np.int64).astype("i4")
    return Csr(np.cumsum([0, *map(len, lists)]).astype(np.int64), flat)


class Extractor:
    """Descriptors that move from round to round, kept in stores."""

    sizes = VIEWS, SIZE

    def __init__(self, folder: Path):
        self.folder, self.index, self.extracted = folder, 0, []
        rng = np.random.default_rng(0)
        self._base, self._drift = rng.standard_normal((2, VIEWS, SIZE)).astype(np.float32)

    def now(self, index=None):
        return self._base + (self.index if index is None else index) * self._drift

    def database(self, rows, name="database"):
        self.extracted.append((name, len(rows)))
        store = DescriptorStore.create(self.folder / name, len(rows), SIZE)
        store.write(np.arange(len(rows)), self.now()[rows])
        store.flush()
        return RowDescriptors(rows, store.descriptors)

    def by_first(self, work):
        work()

    def told(self, value):
        return value


class World:
    def __init__(self):
        rng = np.random.default_rng(1)
        self.near = [sorted(rng.choice(VIEWS, 20, replace=False).tolist()) for _ in range(QUERIES)]
        self.relations = Relations(csr([n[:2] for n in self.near]), csr(self.near))
        self.query = rng.standard_normal((QUERIES, SIZE)).astype(np.float32)

    def task(self, index):
        return MiningTask(
            np.arange(QUERIES)[::-1][:7].copy(), self.relations, lambda q, v: v % 2 == 0, VIEWS, (0, 0, index)
        )

    def allowed(self, query, view):
        return view not in self.near[query] or view % 2 == 0


MINER = PooledMiner(HardestNegatives(), 2, 5, 0, 0.1)


def test_candidates_are_the_nearest_negatives_in_the_latest_index_and_a_sample(tmp_path):
    world, extractor = World(), Extractor(tmp_path)
    candidates = IndexedCandidates(ExactSearcher("cpu"), 3, 30, 4)
    lookup = RowDescriptors(np.arange(QUERIES), world.query)
    for index in range(10):
        extractor.index = index
        found = candidates.rows(world.task(index), MINER, Moment(index, (0,)), lookup, extractor)
        database, expected = extractor.now(index - index % 4), set(MINER.candidates(world.task(index)).tolist())
        for query in world.task(index).queries:
            order = np.argsort(((database - world.query[query]) ** 2).sum(axis=1))[:30]
            expected |= set([int(view) for view in order if world.allowed(query, view)][:3])
        assert found.tolist() == sorted(expected)
    assert extractor.extracted == [(f"index_{since:08d}", VIEWS) for since in (0, 4, 8)]
    assert [path.name for path in tmp_path.iterdir()] == ["index_00000008"]


def test_a_resumed_run_uses_the_index_that_is_there_and_says_when_it_is_not(tmp_path, caplog):
    world, extractor = World(), Extractor(tmp_path)
    lookup = RowDescriptors(np.arange(QUERIES), world.query)

    def rows(candidates, index):
        extractor.index = index
        return candidates.rows(world.task(index), MINER, Moment(index, (0,)), lookup, extractor).tolist()

    whole = IndexedCandidates(ExactSearcher("cpu"), 3, 30, 4)
    expected = [rows(whole, index) for index in range(6)]
    assert (tmp_path / "index_00000004").is_dir()
    assert rows(IndexedCandidates(ExactSearcher("cpu"), 3, 30, 4), 5) == expected[5]
    assert len(extractor.extracted) == 2
    assert not caplog.records
    other = Extractor(tmp_path / "elsewhere")
    extractor.folder = other.folder
    rows(IndexedCandidates(ExactSearcher("cpu"), 3, 30, 4), 5)
    told = [r.getMessage() for r in caplog.records if r.name.startswith("crosslocate")]
    assert len(told) == 1
    assert "index of round 4 is missing" in told[0]


def test_the_index_of_the_round_before_is_kept_for_the_checkpoint_before_the_last(tmp_path):
    world, extractor = World(), Extractor(tmp_path)
    lookup = RowDescriptors(np.arange(QUERIES), world.query)
    candidates = IndexedCandidates(ExactSearcher("cpu"), 3, 30, 4)
    for index in range(5):
        candidates.rows(world.task(index), MINER, Moment(index, (0,)), lookup, extractor)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index_00000000", "index_00000004"]


@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=5), st.data())
def test_what_is_in_the_list_of_its_query(lists, data):
    queries = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1, max_size=4, unique=True))
    rows = np.array(
        data.draw(
            st.lists(
                st.lists(st.integers(-1, 40), min_size=3, max_size=3), min_size=len(queries), max_size=len(queries)
            )
        )
    )
    found = among(csr([sorted(x) for x in lists]), np.array(queries), rows)
    assert found.tolist() == [[v in lists[q] for v in row] for q, row in zip(queries, rows.tolist(), strict=True)]


def test_what_cannot_work_is_refused():
    indexed = IndexedCandidates(ExactSearcher("cpu"), 3, 30, 4)
    per_query = PerQueryMiner(HardestNegatives(), ComplementSampler(), 2, 5, 0, 0.1, 1, False, False)
    for miner in (per_query, PooledMiner(RandomNegatives(), 2, 5, 0, 0.1)):
        with pytest.raises(ConfigError, match="mining/candidates='indexed' is not allowed"):
            indexed.require(miner)
        SampledCandidates().require(miner)
    indexed.require(MINER)
    for key, numbers in {"neighbours": (0, 30, 4), "searched": (3, 2, 4), "renewed_every": (3, 30, 0)}.items():
        with pytest.raises(ConfigError, match=rf"mining\.candidates\.{key}="):
            IndexedCandidates(ExactSearcher("cpu"), *numbers)


@pytest.mark.parametrize(
    ("overrides", "refresh", "candidates"),
    [
        ([], FullRefresh, SampledCandidates),
        (["experiment=demo"], PartialRefresh, SampledCandidates),
        (["mining=crosslocate", "mining/refresh=memory"], MemoryRefresh, SampledCandidates),
        (["mining/refresh=partial", "mining/candidates=indexed"], PartialRefresh, IndexedCandidates),
        (["mining=hardest", "mining/candidates=indexed", "search=faiss"], FullRefresh, IndexedCandidates),
    ],
)
def test_options_of_the_configuration(overrides, refresh, candidates):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=["paths.run=run", "name=test", *overrides])
    assert isinstance(build(cfg.mining.refresh), refresh)
    assert isinstance(build(cfg.mining.candidates), candidates)
