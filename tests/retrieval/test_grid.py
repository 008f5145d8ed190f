import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.retrieval.grid import WHOLE, Shard, share_of, unfinished
from crosslocate.retrieval.store import DescriptorStore


@given(rows=st.integers(1, 60), size=st.integers(1, 20), outer=st.integers(1, 4), inner=st.integers(1, 3))
def test_shares_have_every_row_once_in_batches_of_the_grid(rows, size, outer, inner):
    grid = [tuple(range(start, min(start + size, rows))) for start in range(0, rows, size)]
    shards = [Shard(i, outer).part(k, inner) for i in range(outer) for k in range(inner)]
    assert {shard.count for shard in shards} == {outer * inner}
    found = [tuple(batch) for shard in shards for batch in share_of(rows, size, shard)]
    assert sorted(found) == grid
    own = share_of(rows, size, shards[-1])
    assert own.all_rows().tolist() == [row for batch in own for row in batch]
    assert len(own) == len(list(own))


@settings(max_examples=25, deadline=None)
@given(missing=st.sets(st.integers(0, 22), max_size=23), size=st.integers(1, 25), count=st.integers(1, 3))
def test_batches_that_lack_a_row_are_unfinished_as_a_whole(tmp_path_factory, missing, size, count):
    store = DescriptorStore.create(tmp_path_factory.mktemp("grid") / "a", 23, 1)
    store.write(sorted(set(range(23)) - missing), np.ones((23 - len(missing), 1)))
    expected = [b for b in share_of(23, size, WHOLE) if missing & set(b)]
    assert list(unfinished(store, size, WHOLE)) == expected
    parts = [batch for number in range(count) for batch in unfinished(store, size, Shard(number, count))]
    assert sorted(parts, key=min) == expected
