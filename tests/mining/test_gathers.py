"""Distances by blocks of the database, and lookups of rows, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.mining import gathers
from crosslocate.mining.descriptors import RowDescriptors
from crosslocate.mining.gathers import squared_sums


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_distances_are_those_of_every_pair_by_itself(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    views, queries, count = (data.draw(st.integers(low, high)) for low, high in ((1, 300), (0, 9), (0, 40)))
    size = data.draw(st.sampled_from([1, 7, 64]))
    dtype = data.draw(st.sampled_from([np.float32, np.float16]))
    database = rng.standard_normal((views, size)).astype(dtype)
    query = rng.standard_normal((queries, size)).astype(np.float32)
    rows = rng.integers(-1, views, (queries, count)).astype(np.int32)
    expected = np.square(query[:, None].astype(float) - database.astype(float)[rows]).sum(axis=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathers, "BLOCK_BYTES", data.draw(st.sampled_from([2, 1 << 9, 1 << 19])))
        patch.setattr(gathers, "AHEAD", data.draw(st.sampled_from([0, 1, 8, 1000])))
        found = squared_sums(query, database, rows)
    assert found.dtype == np.float32
    assert found.shape == rows.shape
    assert np.isinf(found[rows < 0]).all()
    np.testing.assert_allclose(found[rows >= 0], expected[rows >= 0], rtol=1e-5, atol=1e-6)


def test_a_memory_mapped_database_is_read_as_it_is(tmp_path):
    database = np.memmap(tmp_path / "d", np.float16, "w+", shape=(20, 8))
    database[:] = np.arange(160).reshape(20, 8) / 16
    rows = np.array([[3, -1, 19]], np.int32)
    found = squared_sums(np.zeros((1, 8), np.float32), database, rows)
    expected = np.square(np.asarray(database, float)).sum(axis=1)
    np.testing.assert_allclose(found[0, [0, 2]], expected[[3, 19]], rtol=1e-6)


@given(st.sets(st.integers(0, 60), min_size=1), st.lists(st.integers(-1, 70), max_size=20), st.booleans(), st.data())
def test_places_of_samples(rows, samples, every, data):
    rows = np.arange(61) if every else np.array(sorted(rows))
    known = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    samples = np.array(samples, np.int32)
    plain = RowDescriptors(rows, np.zeros((len(rows), 2), np.float32))
    some = RowDescriptors(rows, plain.values, known)
    if set(samples.tolist()) - {-1} - set(rows.tolist()):
        for lookup in (plain, some):
            with pytest.raises(KeyError, match="no descriptor of row"):
                lookup.places(samples)
        return
    place = {int(row): k for k, row in enumerate(rows)}
    assert plain.places(samples).tolist() == [place.get(int(s), -1) for s in samples]
    assert some.places(samples).tolist() == [place[int(s)] if s >= 0 and known[place[int(s)]] else -1 for s in samples]
    present = np.unique(samples[samples >= 0]).astype(np.int64)
    assert plain.holds(present).all()
    assert some.holds(present).tolist() == [bool(known[place[int(s)]]) for s in present]
    for row in present:
        if not known[place[int(row)]]:
            with pytest.raises(KeyError, match=f"row {row} "):
                some.of(np.array([row]))
