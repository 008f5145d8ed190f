"""The validation loss against a loop over queries, and shared among processes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.trainer.states import TrainerFn

from crosslocate.data.relations import Csr, Relations
from crosslocate.errors import ConfigError
from crosslocate.lit.validation_loss import ValidationLoss
from crosslocate.mining.per_query import PerQueryMiner
from crosslocate.mining.sampling import ComplementSampler
from crosslocate.mining.strategies import HardestNegatives
from crosslocate.models.losses import InfoNCELoss, TripletLoss

QUERIES, VIEWS, BATCH, NEGATIVES, MARGIN = 23, 90, 4, 3, 0.5


class FarViews:
    """Views of another hundred than the query's positives are negatives."""

    def allowed(self, queries, query_rows, database, database_rows):
        query_rows, database_rows = np.broadcast_arrays(query_rows, database_rows)
        return np.abs(database_rows - 3 * query_rows) > 20


def world():
    rng = np.random.default_rng(0)
    lists = [[] if q % 6 == 5 else [3 * q, 3 * q + 1] for q in range(QUERIES)]
    near = [[v for v in range(VIEWS) if abs(v - 3 * q) <= 20] for q in range(QUERIES)]
    csr = [
        Csr(np.cumsum([0, *map(len, x)]).astype(np.int64), np.array([v for y in x for v in y], np.int32))
        for x in (lists, near)
    ]
    split = SimpleNamespace(queries=None, database=range(VIEWS), relations=Relations(*csr))
    stores = [rng.standard_normal((n, 8)).astype(np.float32) for n in (QUERIES, VIEWS)]
    return split, lists, stores


def store(values):
    class Store:
        descriptors = values

        def __len__(self):
            return len(values)

    return Store()


def measure(loss, ranks=1, function=TrainerFn.FITTING, split_name="val", dtype=np.float32):
    split, _, stores = world()
    datamodule = SimpleNamespace(val=split, split=lambda name: split, negative_rule=FarViews(), global_batch_size=BATCH)
    sums = []
    callback = ValidationLoss(
        PerQueryMiner(HardestNegatives(), ComplementSampler(), NEGATIVES, 1000, 0, 0.2, 1, False, False), seed=3
    )

    def run(rank, reduce):
        trainer = SimpleNamespace(
            datamodule=datamodule, global_rank=rank, world_size=ranks, state=SimpleNamespace(fn=function),
            strategy=SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce),
        )  # fmt: skip
        module = SimpleNamespace(loss=loss, device=torch.device("cpu"))
        return callback._measure(trainer, module, split_name, *(store(s.astype(dtype)) for s in stores))

    def collect(value, reduce_op):
        sums.append(value.clone())
        return value

    for rank in range(ranks):
        run(rank, collect)
    return run(0, lambda value, reduce_op: sum(sums))


def by_loops(loss):
    _, lists, (queries, database) = world()
    rule, losses = FarViews(), []
    answered = [q for q in range(QUERIES) if lists[q]]
    for start in range(0, len(answered), BATCH):
        total = 0.0
        for q in answered[start : start + BATCH]:
            apart = np.square(database.astype(float) - queries[q]).sum(1)
            positive = min(apart[v] for v in lists[q])
            allowed = [v for v in range(VIEWS) if rule.allowed(None, q, None, v)]
            total += sum(max(positive + MARGIN - d, 0) for d in sorted(apart[allowed])[:NEGATIVES])
        losses.append(total)
    return np.mean(losses)


def test_mean_over_batches_equals_a_loop():
    loss = TripletLoss(MARGIN, "squared_euclidean")
    assert measure(loss)["val/loss"] == pytest.approx(by_loops(loss), rel=1e-6)


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_any_number_of_processes_gives_the_same(ranks):
    for loss in (TripletLoss(MARGIN, "cosine"), InfoNCELoss(0.1, True)):
        assert measure(loss, ranks)["val/loss"] == pytest.approx(measure(loss)["val/loss"], rel=1e-12)


def test_only_validations_of_a_training_are_measured_and_half_precision_will_do():
    loss = TripletLoss(MARGIN, "squared_euclidean")
    assert measure(loss, function=TrainerFn.VALIDATING) == {}
    assert measure(loss, split_name="train") == {}
    assert measure(loss, dtype=np.float16)["val/loss"] == pytest.approx(by_loops(loss), rel=0.01)


def test_without_recalls_there_are_no_descriptors():
    with pytest.raises(ConfigError, match=r"callbacks\.validation_loss"):
        ValidationLoss(None, 0).setup(SimpleNamespace(callbacks=[]), None, "fit")
