"""Trainings that remember descriptors from round to round are stopped and killed, and go on as if nothing had been."""

import signal

import pytest
import torch
from fitting import assert_same, configured, fit

from crosslocate.errors import RunStopped
from crosslocate.lit.csv import read_log
from crosslocate.lit.restore import last_checkpoint
from crosslocate.lit.signals import listening
from crosslocate.lit.stop import StopOnCommand
from crosslocate.mining.extraction import RoundExtractor
from crosslocate.mining.memory import DescriptorMemory

MEMORY = ["mining/refresh=memory", "mining.refresh.renewed=5"]
INDEXED = [
    "mining=hardest", "mining/strategy=hardest", "mining/refresh=partial", "mining/candidates=indexed",
    "mining.candidates.neighbours=3", "mining.candidates.searched=48", "mining.candidates.renewed_every=2",
]  # fmt: skip


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def undisturbed(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    fit(configured(tiny_dataset, folder, *MEMORY))
    return folder


def last(folder):
    return folder / "checkpoints" / "last.ckpt"


def kill(patch, kind, name, count, *, after=False):
    """End the run at the n-th call of a method, before it or after."""
    whole, left = getattr(kind, name), [count]

    def called(self, *arguments, **keywords):
        left[0] -= 1
        if left[0] == 0 and after:
            whole(self, *arguments, **keywords)
        if left[0] == 0:
            raise KilledError
        return whole(self, *arguments, **keywords)

    patch.setattr(kind, name, called)


def end_in(kind, cfg):
    with pytest.raises(kind):
        fit(cfg)


@pytest.mark.parametrize(
    ("kind", "name", "count", "after"),
    [
        (DescriptorMemory, "_write", 2, False),
        pytest.param(DescriptorMemory, "put", 3, True, marks=pytest.mark.slow),
        pytest.param(DescriptorMemory, "put", 5, True, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_while_it_remembers_ends_as_if_undisturbed(
    undisturbed, tiny_dataset, tmp_path, monkeypatch, kind, name, count, after
):
    cfg = configured(tiny_dataset, tmp_path, *MEMORY)
    with monkeypatch.context() as patch:
        kill(patch, kind, name, count, after=after)
        end_in(KilledError, cfg)
    assert (tmp_path / "mining" / "memory").is_dir()
    fit(cfg, last(tmp_path))
    assert_same(undisturbed, tmp_path)
    assert not (tmp_path / "mining").exists()


@pytest.mark.slow
def test_a_run_whose_last_checkpoint_is_damaged_remembers_what_the_one_before_did(
    undisturbed, tiny_dataset, tmp_path, monkeypatch
):
    cfg = configured(tiny_dataset, tmp_path, *MEMORY)
    with monkeypatch.context() as patch:
        kill(patch, DescriptorMemory, "put", 4, after=True)
        end_in(KilledError, cfg)
    last(tmp_path).write_bytes(last(tmp_path).read_bytes()[:1000])
    fit(cfg, last_checkpoint(tmp_path)[0])
    assert_same(undisturbed, tmp_path)


def test_ages_and_shares_are_logged(undisturbed):
    rows = [row for row in read_log(undisturbed / "metrics") if "mining/extracted" in row]
    assert len(rows) == 6
    assert float(rows[0]["mining/age_max"]) == 0
    assert max(float(row["mining/age_max"]) for row in rows) >= 1
    for row in rows:
        assert 0 <= float(row["mining/age_mean"]) <= float(row["mining/age_max"]) <= 5
        assert float(row["mining/extracted_share"]) == pytest.approx(float(row["mining/extracted"]) / 60)
        assert float(row["mining/extracted"]) <= 4 + 4 * 3 + 5
        assert 0 <= float(row["mining/trivial"]) <= 1
        assert float(row["mining/reading_seconds"]) <= float(row["mining/extraction_seconds"])


def test_a_run_with_an_index_killed_between_its_renewals_ends_as_if_undisturbed(tiny_dataset, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(configured(tiny_dataset, whole, *INDEXED))
    cfg = configured(tiny_dataset, killed, *INDEXED)
    with monkeypatch.context() as patch:
        kill(patch, RoundExtractor, "database", 3)  # the index, its round's candidates, and those of the next
        end_in(KilledError, cfg)
    assert (killed / "mining" / "index_00000000").is_dir()
    fit(cfg, last(killed))
    one, other = (torch.load(last(folder), weights_only=True)["state_dict"] for folder in (whole, killed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    rows = [row for row in read_log(whole / "metrics") if "mining/extracted" in row]
    counts = [float(row["mining/extracted"]) for row in rows]
    assert all(count > 48 for count in counts[::2])  # everything, for the index
    assert all(count < 48 for count in counts[1::2])


def test_a_signal_leaves_the_memory_where_it_is(tiny_dataset, tmp_path, monkeypatch):
    embed, calls = RoundExtractor._encode, []

    def signalled(*arguments):
        calls.append(0)
        if len(calls) == 9:
            signal.raise_signal(signal.SIGTERM)
        return embed(*arguments)

    monkeypatch.setattr(RoundExtractor, "_encode", signalled)
    with listening():
        end_in(RunStopped, configured(tiny_dataset, tmp_path, *MEMORY))
    assert DescriptorMemory(tmp_path / "mining" / "memory").known.any()


def test_a_run_that_is_asked_to_end_keeps_what_it_goes_on_with(undisturbed, tiny_dataset, tmp_path):
    cfg, command = configured(tiny_dataset, tmp_path, *MEMORY), tmp_path / "stop"
    command.touch()
    trainer = fit(cfg, callbacks=[StopOnCommand(str(command))])
    assert trainer.current_epoch < trainer.max_epochs
    assert [path.name for path in (tmp_path / "mining").iterdir()] == ["memory"]
    fit(cfg, last(tmp_path))
    assert_same(undisturbed, tmp_path)
    assert not (tmp_path / "mining").exists()
