"""Losses against a loop over the definition, against the reference's own figures, and their gradients."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import ConfigError
from crosslocate.models.losses import InfoNCELoss, TripletLoss

# Loss and gradient (first 16 columns) computed by CrossLocate's original TensorFlow 1.14 code on synthetic descriptors:
# 4 queries, 4 positives, 4 x 10 negatives grouped by query; margins 0.1 and 0.2.
GOLDEN = Path(__file__).parents[1] / "golden" / "triplet_loss.npz"


@st.composite
def batches(draw):
    """Descriptors and a plan with missing negatives, positives shared by queries, and any in-batch mask."""
    queries, views = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    negatives, size = draw(st.integers(0, 4)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = rng.integers(0, views, queries)
    plan = rng.integers(-1, views, (queries, negatives))
    plan[plan == positive[:, None]] = -1
    mask = rng.random((queries, views)) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    mask[np.arange(queries), positive] = False
    query, database = rng.normal(size=(queries, size)), rng.normal(size=(views, size))
    return (
        torch.tensor(query / np.linalg.norm(query, axis=1, keepdims=True), dtype=torch.float32),
        torch.tensor(database / np.linalg.norm(database, axis=1, keepdims=True), dtype=torch.float32),
        torch.tensor(positive),
        torch.tensor(plan),
        torch.tensor(mask),
    )


def triplet_by_definition(batch, margin, distance):
    query, database, positive, plan, _ = (t.double().numpy() if t.is_floating_point() else t.numpy() for t in batch)
    apart = {"squared_euclidean": lambda a, b: ((a - b) ** 2).sum(), "cosine": lambda a, b: 1 - a @ b}[distance]
    total = 0.0
    for i, q in enumerate(query):
        for n in plan[i]:
            if n >= 0:
                total += max(apart(q, database[positive[i]]) + margin - apart(q, database[n]), 0.0)
    return total


def infonce_by_definition(batch, temperature, symmetric):
    query, database, positive, plan, mask = (t.double().numpy() if t.is_floating_point() else t.numpy() for t in batch)
    score = query @ database.T / temperature

    def is_negative(i, view):
        return mask[i, view] or view in plan[i]

    def surprise(own, others):
        return -own + math.log(sum(math.exp(s) for s in [own, *others]))

    forth, back = [], []
    for i, p in enumerate(positive):
        forth.append(surprise(score[i, p], [score[i, v] for v in range(len(database)) if is_negative(i, v)]))
        back.append(surprise(score[i, p], [score[j, p] for j in range(len(query)) if j != i and is_negative(j, p)]))
    return (np.mean(forth) + np.mean(back)) / 2 if symmetric else np.mean(forth)


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(["squared_euclidean", "cosine"]))
def test_triplet_loss_is_its_definition(batch, margin, distance):
    loss = TripletLoss(margin, distance)(*batch)
    assert loss.item() == pytest.approx(triplet_by_definition(batch, margin, distance), rel=1e-5, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from([0.07, 1.0]), st.booleans())
def test_infonce_is_its_definition(batch, temperature, symmetric):
    loss = InfoNCELoss(temperature, symmetric)(*batch)
    assert loss.item() == pytest.approx(infonce_by_definition(batch, temperature, symmetric), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
@pytest.mark.parametrize("margin", ["0.1", "0.2"])
def test_triplet_loss_agrees_with_the_reference(distance, margin):
    with np.load(GOLDEN) as golden:
        descriptors = torch.tensor(golden["descriptors"], requires_grad=True)
        expected, gradient = golden[f"{distance}_{margin}_loss"], golden[f"{distance}_{margin}_gradient"]
    plan = torch.arange(4, 44).reshape(4, 10)
    loss = TripletLoss(float(margin), distance)(
        descriptors[:4], descriptors[4:], torch.arange(4), plan, torch.zeros(4, 44, dtype=torch.bool)
    )
    loss.backward()
    assert loss.item() == pytest.approx(float(expected), rel=2e-6)
    assert descriptors.grad is not None
    np.testing.assert_allclose(descriptors.grad[:, :16], gradient, rtol=2e-6, atol=2e-7)


LOSSES = [
    TripletLoss(0.5, "squared_euclidean"),
    TripletLoss(0.5, "cosine"),
    InfoNCELoss(0.3, True),
    InfoNCELoss(0.3, False),
]


def example():
    generator = torch.Generator().manual_seed(5)
    query, database = torch.randn(3, 4, generator=generator), torch.randn(6, 4, generator=generator)
    plan = torch.tensor([[1, 2], [3, -1], [-1, -1]])
    mask = torch.ones(3, 6, dtype=torch.bool)
    positive = torch.tensor([0, 0, 4])
    mask[torch.arange(3), positive] = False
    mask[0, 5] = False
    return query, database, positive, plan, mask


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_matches_finite_differences(loss):
    query, database, *rest = example()
    query, database = query.double().requires_grad_(), database.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda q, d: loss.compute(q, d, *rest), (query, database))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_computes_in_float32_under_autocast(loss):
    batch = example()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(batch[0].bfloat16(), batch[1].bfloat16(), *batch[2:])
    outside = loss(batch[0].bfloat16().float(), batch[1].bfloat16().float(), *batch[2:])
    assert inside.dtype == torch.float32
    assert inside.item() == outside.item()


def test_a_batch_without_negatives_costs_nothing_and_moves_nothing():
    query, database, positive, plan, mask = example()
    query.requires_grad_()
    for loss in LOSSES:
        value = loss(query, database, positive, torch.full_like(plan, -1), torch.zeros_like(mask))
        value.backward()
        assert value.item() == 0.0
        assert query.grad is not None
        assert not query.grad.any()


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (lambda: TripletLoss(0.1, "euclidean"), "loss.distance", "euclidean"),
        (lambda: InfoNCELoss(0.0, True), "loss.temperature", "0.0"),
        (lambda: InfoNCELoss(float("nan"), True), "loss.temperature", "nan"),
    ],
)
def test_wrong_values_are_refused_by_key(make, key, value):
    with pytest.raises(ConfigError, match=rf"{key}='?{value}'? is not allowed"):
        make()
