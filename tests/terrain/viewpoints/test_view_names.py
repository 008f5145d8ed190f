import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.terrain.viewpoints.names import first_repeated, joined, numbered, suffixed

TEXTS = st.lists(st.text("ab_0", max_size=4), min_size=1, max_size=8)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.integers(1, 8))
def test_numbers_are_written_with_leading_zeros(numbers, digits):
    width = max(digits, len(str(max(numbers))))
    assert numbered("g", np.array(numbers), digits).tolist() == [f"g{number:0{width}d}" for number in numbers]


@given(TEXTS, TEXTS, st.integers(0, 999))
def test_suffixes_follow_names(names, suffixes, seed):
    rng = np.random.default_rng(seed)
    rows, number = rng.integers(0, len(names), 30), rng.integers(-1, len(suffixes), 30)
    got = suffixed(np.array(names, np.str_), np.array(suffixes, np.str_), number, rows)
    assert got.tolist() == [names[r] + (suffixes[k] if k >= 0 else "") for r, k in zip(rows, number, strict=True)]
    assert joined(np.array(names, np.str_), np.array(names, np.str_)).tolist() == [name * 2 for name in names]


@given(st.lists(st.text("ab0é", max_size=3), max_size=12))
def test_a_repeated_name_is_found(names):
    found = first_repeated(np.array(names, np.str_))
    assert (found is None) == (len(set(names)) == len(names))
    assert found is None or names.count(found) > 1


def test_nothing_has_no_names():
    assert numbered("g", np.empty(0, np.int64), 5).shape == (0,)
    none = np.empty(0, np.int64)
    assert suffixed(np.empty(0, "U1"), np.array(["_h000"]), none, none).shape == (0,)
    assert first_repeated(np.empty(0, "U1")) is None
