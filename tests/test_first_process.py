"""The first of two processes works alone, however long, and fails for both."""

import multiprocessing
import time
from datetime import timedelta

import pytest
import torch
from torch import distributed

from crosslocate.errors import CrossLocateError, StoreError
from crosslocate.first_process import PATIENCE, FirstProcess


def fail():
    raise StoreError("no room")


def take_part(rank, folder):
    """What a process found: whether the work was done when it went on, its patience, and what it had of a failure."""
    distributed.init_process_group("gloo", f"file://{folder}/meeting", timedelta(seconds=60), world_size=2, rank=rank)
    first, file = FirstProcess(rank, 2), folder / "done"
    first.does(lambda: (time.sleep(0.5), file.touch()))
    done = file.exists()
    limit = first._group._get_backend(torch.device("cpu")).options._timeout
    try:
        first.does(fail)
    except CrossLocateError as error:
        return done, limit, type(error).__name__, str(error)


def test_the_others_wait_for_the_first_process_and_fail_with_it(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(take_part, [(rank, tmp_path) for rank in range(2)], chunksize=1)
    assert found == [
        (True, PATIENCE, "StoreError", "no room"),
        (True, PATIENCE, "CrossLocateError", "the first process failed: StoreError: no room"),
    ]


def test_alone_it_is_as_if_it_were_called():
    done = []
    FirstProcess(0, 1).does(lambda: done.append(0))
    assert done == [0]
    with pytest.raises(StoreError, match="no room"):
        FirstProcess(0, 1).does(fail)
