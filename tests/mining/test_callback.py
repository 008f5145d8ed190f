"""The mining callback's order of queries, and what repeated batches become."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.data.relations import Csr, Relations
from crosslocate.mining.callback import MiningCallback
from crosslocate.mining.candidates import SampledCandidates
from crosslocate.mining.loader import RoundLoader
from crosslocate.mining.miner import MinedRound
from crosslocate.mining.per_query import PerQueryMiner
from crosslocate.mining.pooled import PooledMiner
from crosslocate.mining.strategies import HardestNegatives, SemiHardAndHardNegatives, SemiHardNegatives


def callback(shuffle, together=1, size=4):
    made = MiningCallback(SimpleNamespace(), SimpleNamespace(), SampledCandidates(), size, together, shuffle, seed=0)
    made._queries = np.array([1, 2, 5, 6, 8, 9, 10])
    made._data = SimpleNamespace(queries=SimpleNamespace(place=np.arange(20)))
    return made


def order(made, epoch):
    return np.concatenate([made._round_queries(epoch, index) for index in range(len(made.round_sizes()))])


def test_queries_come_as_the_catalog_lists_them_or_in_an_order_of_the_epoch():
    assert callback(True).round_sizes() == [4, 3]
    for epoch in range(2):
        np.testing.assert_array_equal(order(callback(False), epoch), [1, 2, 5, 6, 8, 9, 10])
    first, second = (order(callback(True), epoch) for epoch in range(2))
    np.testing.assert_array_equal(first, order(callback(True), 0))
    assert (first != second).any()
    assert sorted(first) == sorted(second) == [1, 2, 5, 6, 8, 9, 10]


class Clock:
    """Tells the seconds that parts of a round claim to take."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def taking(self, seconds, result, extractor=None, extracting=0.0):
        def part(*arguments):
            self.now += seconds
            if extractor is not None:
                extractor.seconds += extracting
            return result

        return part


def test_naming_candidates_is_timed_apart_from_what_is_embedded_for_them(monkeypatch):
    made, clock = callback(False), Clock()
    monkeypatch.setattr("crosslocate.mining.callback.time", clock)
    rows, relation = np.arange(20), Csr(np.arange(21), np.arange(20, dtype=np.int32))
    extractor = SimpleNamespace(begin=lambda: None, seconds=0.0, extracted=7, reading_seconds=1.0)
    extractor.queries = clock.taking(10, None, extractor, 10)
    nothing = MinedRound(np.zeros((0, 3), np.int32), *[np.nan] * 4, 0, 0)
    made._extractor, made._trainer = extractor, SimpleNamespace(loggers=[])
    made._data = SimpleNamespace(queries=rows, database=rows, relations=Relations(relation, relation))
    made.miner = SimpleNamespace(needs_descriptors=True, mine=clock.taking(4, nothing))
    made.candidates = SimpleNamespace(rows=clock.taking(5, rows, extractor, 3))
    made.refresh = SimpleNamespace(query_rows=lambda *_: rows, database=clock.taking(7, None, extractor, 6))
    made.plan(0, 0)
    metrics = made.report.metrics()
    assert metrics["mining/candidates_seconds"] == 2
    assert metrics["mining/extraction_seconds"] == 10 + 3 + 7
    assert metrics["mining/mining_seconds"] == 4


def composed(*overrides):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=["paths.run=run", "name=test", "backbone.weights=none", *overrides])


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (None, SemiHardAndHardNegatives(0.2)),
        ("semihard", SemiHardNegatives(0.2)),
        ("hardest", HardestNegatives()),
    ],
)
def test_the_option_crosslocate_has_the_reference_defaults_and_its_three_strategies(strategy, expected):
    cfg = composed("mining=crosslocate", *([f"mining/strategy={strategy}"] if strategy else []))
    miner = build(cfg.mining.miner)
    assert isinstance(miner, PerQueryMiner)
    assert miner.strategy == expected
    found = (miner.negatives, miner.sampled_negatives, miner.attempts, miner.reuse, miner.margin)
    assert found == (10, 4000, 2, True, 0.2)
    assert (cfg.mining.queries_per_round, cfg.mining.repeats, cfg.mining.shuffle) == (250, 1, True)
    assert cfg.loss.margin == 0.1  # apart from that of mining
    assert build(cfg.dataset.train_loader).keywords == {"repeats": 1}


@pytest.mark.parametrize("option", ["hardest", "random", "semihard", "semihard_and_hard"])
def test_other_options_share_a_sample(option):
    assert isinstance(build(composed(f"mining={option}").mining.miner), PooledMiner)


class OneRound:
    epoch = 0

    def round_sizes(self):
        return [2]

    def plan(self, epoch, index):
        return np.array([[0, 0, 12], [3, 12, 24]], np.int32)


@pytest.mark.parametrize("option", ["light", "default", "strong", "crosslocate"])
def test_every_repeat_is_augmented_anew_from_the_images_as_they_were_read(make_datamodule, option):
    node = composed(f"augmentation={option}").augmentation
    data = make_datamodule(
        query_augmentation=build(node.query), database_augmentation=build(node.database), mirror=build(node.mirror),
        train_loader=lambda *arguments, **options: RoundLoader(*arguments, repeats=3, **options),
    )  # fmt: skip
    data.planner = OneRound()
    batches = list(data.train_dataloader())
    assert [batch["query_rows"].tolist() for batch in batches] == [[0, 0, 0, 3], [3, 3]]
    raw = batches[0]["query"]["photo"]
    assert torch.equal(raw[0], raw[1])
    assert torch.equal(raw[1], raw[2])
    inputs = [data.pipeline(data.pipeline.arrange(batch)) for batch in batches]
    first, second, third, _ = inputs[0]["query"]
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert not torch.equal(first, third)
    again = data.pipeline(data.pipeline.arrange(batches[1]))
    assert torch.equal(again["query"], inputs[1]["query"])
