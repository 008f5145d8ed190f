"""Seeds of many generators at once are those of NumPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.mining.seeds import seeds_of

numbers = st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**80)), max_size=6)


@given(numbers, st.lists(st.integers(0, 2**32 - 1), max_size=5), numbers)
def test_every_seed_is_that_of_numpy(before, each, after):
    found = seeds_of(before, np.array(each, np.int64), after)
    expected = [np.random.SeedSequence([*before, e, *after]).generate_state(1, np.uint64)[0] for e in each]
    assert found.dtype == np.uint64
    assert found.tolist() == expected
