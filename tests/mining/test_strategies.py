import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crosslocate.mining.strategies import (
    HardestNegatives,
    RandomNegatives,
    SemiHardAndHardNegatives,
    SemiHardNegatives,
    nearest,
)

MARGIN = 0.25
RNG = np.random.default_rng(0)


@st.composite
def tables(draw):
    queries, candidates = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    value = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, float("inf")])
    table = draw(arrays(np.float32, (queries, candidates), elements=value))
    positive = draw(arrays(np.float32, queries, elements=st.sampled_from([0.0, 0.5, 1.0])))
    return positive, table, draw(st.integers(1, 14))


def brute_force(positive, table, count, keep):
    chosen = np.full((len(table), count), -1)
    for i, row in enumerate(table):
        usable = [(d, j) for j, d in enumerate(row) if np.isfinite(d) and keep(d, positive[i])]
        for k, (_, j) in enumerate(sorted(usable)[:count]):
            chosen[i, k] = j
    return chosen


RULES = [
    (HardestNegatives(), lambda d, p: True),
    (SemiHardNegatives(MARGIN), lambda d, p: p <= d < p + MARGIN),
    (SemiHardAndHardNegatives(MARGIN), lambda d, p: d < p + MARGIN),
]


@pytest.mark.parametrize(("strategy", "keep"), RULES, ids=lambda x: type(x).__name__)
@given(case=tables())
def test_strategies_keep_the_nearest_that_their_rule_admits(strategy, keep, case):
    positive, table, count = case
    np.testing.assert_array_equal(
        strategy.select(positive, table, count, RNG), brute_force(positive, table, count, keep)
    )


@given(case=tables())
def test_random_negatives_are_distinct_and_allowed_and_as_many_as_there_are(case):
    positive, table, count = case
    chosen = RandomNegatives().select(positive, table, count, np.random.default_rng(1))
    for row, columns in zip(table, chosen, strict=True):
        present = columns[columns >= 0]
        assert len(set(present)) == len(present) == min(count, int(np.isfinite(row).sum()))
        assert np.isfinite(row[present]).all()


def test_random_negatives_follow_the_generator():
    table = np.zeros((3, 50), np.float32)
    first, again, other = (
        RandomNegatives().select(np.zeros(3, np.float32), table, 5, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_nearest_of_nothing_is_nothing():
    assert nearest(np.zeros((2, 0), np.float32), 3).tolist() == [[-1, -1, -1]] * 2
    assert nearest(np.zeros((0, 4), np.float32), 3).shape == (0, 3)
