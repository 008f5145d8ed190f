"""Any number of processes embeds the batches of one."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from crosslocate.mining.extraction import RowSampler, _at_positions


class Rows:
    def __getitems__(self, rows):
        return {"rows": torch.tensor(rows)}


def batches(rows, size, rank, world_size):
    sampler = RowSampler(size, rank, world_size)
    sampler.assign(rows)
    loader = DataLoader(Rows(), batch_sampler=sampler, collate_fn=lambda batch: batch)
    found = [(b["positions"].tolist(), b["rows"].tolist()) for b in _at_positions(loader, sampler)]
    assert len(found) == len(sampler) <= sampler.most
    return found, sampler.most


@given(st.sets(st.integers(0, 99), min_size=1), st.integers(1, 7), st.integers(1, 5))
def test_batches_are_dealt_out_whole(rows, size, world_size):
    rows = np.array(sorted(rows))
    alone, _ = batches(rows, size, 0, 1)
    shares = [batches(rows, size, rank, world_size) for rank in range(world_size)]
    assert sorted(batch for share, _ in shares for batch in share) == alone
    assert {most for _, most in shares} == {max(len(share) for share, _ in shares)}
    positions = [place for batch, _ in alone for place in batch]
    assert positions == list(range(len(rows)))
    assert [row for _, batch in alone for row in batch] == rows.tolist()
