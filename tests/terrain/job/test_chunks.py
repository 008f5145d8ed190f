import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.errors import ConfigError
from crosslocate.terrain.job.chunks import Share, cut


@given(st.integers(0, 500), st.integers(0, 60), st.integers(1, 70))
def test_chunks_cover_every_row_once_and_in_order(database, queries, views):
    chunks = cut({"database": database, "queries": queries}, views)
    for role, count in (("database", database), ("queries", queries)):
        own = [chunk for chunk in chunks if chunk.role == role]
        assert [row for chunk in own for row in range(chunk.start, chunk.stop)] == list(range(count))
        assert [chunk.number for chunk in own] == list(range(len(own)))
        assert all(len(chunk) == views for chunk in own[:-1])
    assert len({(chunk.role, chunk.label) for chunk in chunks}) == len(chunks)


@given(st.integers(0, 300), st.integers(1, 20))
def test_shares_are_the_whole_without_overlap(count, parts):
    chunks = cut({"database": count}, 7)
    taken = [chunk for part in range(1, parts + 1) for chunk in Share.read(f"{part}/{parts}").take(chunks)]
    assert sorted(taken, key=lambda chunk: chunk.start) == chunks


def test_labels_sort_as_their_numbers_do():
    chunks = cut({"database": 120_000}, 1)
    assert chunks[12].label == "00012"
    assert chunks[110_000].label == "110000"


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "2", "a/b", "-1/3", "1/3/5", "1.0/2", ""])
def test_an_impossible_share_is_refused(text):
    with pytest.raises(ConfigError, match="share="):
        Share.read(text)
