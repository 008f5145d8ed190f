"""Every process of a run draws on with its own numbers."""

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
from torch import distributed

from crosslocate.lit.checkpoint import LastCheckpoint

VAL_LOOP = SimpleNamespace(restarted_mid_evaluation=False)


def drawn_after(state, rank, world_size):
    """Numbers that a process draws which goes on from a state of the callback."""
    callback = LastCheckpoint("last.ckpt", 1)
    callback.load_state_dict(state)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(val_loop=VAL_LOOP))
    trainer = SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=loop, loggers=[])
    torch.manual_seed(99)
    callback.on_train_start(trainer, None)
    return torch.rand(3)


def process(rank, folder):
    """One of two processes: saves its state, and what it drew afterwards."""
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    state = LastCheckpoint("last.ckpt", 1).state_dict()
    torch.save((state, torch.rand(3)), folder / f"{rank}.pt")
    distributed.barrier()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """State that each of two processes saved, and the numbers that it drew next."""
    folder = tmp_path_factory.mktemp("two")
    processes = [multiprocessing.get_context("fork").Process(target=process, args=(k, folder)) for k in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_goes_on_as_itself_from_what_the_first_saved(saved, rank):
    (state, _), (_, expected) = saved[0], saved[rank]
    assert torch.equal(drawn_after(state, rank, 2), expected)


@pytest.mark.parametrize("world_size", [1, 3])
def test_another_number_of_processes_goes_on_as_the_first(saved, world_size):
    state, expected = saved[0]
    assert torch.equal(drawn_after(state, world_size - 1, world_size), expected)


def test_a_process_alone_goes_on_as_itself():
    state = LastCheckpoint("last.ckpt", 1).state_dict()
    expected = torch.rand(3)
    assert torch.equal(drawn_after(state, 0, 1), expected)
