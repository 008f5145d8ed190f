"""Signals at every phase of a training: it stops with its state saved, and goes on as if nothing had been."""

import multiprocessing
import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from fitting import assert_same, configured, fit

from crosslocate.errors import RunStopped
from crosslocate.lit.csv import read_log
from crosslocate.lit.restore import last_checkpoint, read_checkpoint
from crosslocate.lit.signals import SIGNALS, listening
from crosslocate.mining.extraction import RoundExtractor

FILES = ("last.ckpt", "previous.ckpt")


class Signals(pl.Callback):
    """Sends this process a signal at one hook, the n-th time that it is called."""

    def __init__(self, hook: str, count: int, signum: int):
        self._left, self._signum = count, signum
        setattr(self, hook, self._called)

    def _called(self, *arguments):
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._signum)


@pytest.fixture(scope="module")
def undisturbed(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    fit(configured(tiny_dataset, folder))
    return folder


def stopped(cfg, callbacks=()):
    """Train until a signal stops it; what was raised."""
    with listening(), pytest.raises(RunStopped) as raised:
        fit(cfg, callbacks=callbacks)
    return raised.value


def last(folder):
    return folder / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("hook", "count", "signum", "reason"),
    [
        ("on_train_batch_start", 1, signal.SIGTERM, "terminated"),
        ("on_train_batch_start", 2, signal.SIGINT, "interrupted"),  # the last of a round
        ("on_train_batch_end", 6, signal.SIGUSR2, "preempted"),  # the last of an epoch
        ("on_validation_start", 1, signal.SIGUSR1, "preempted"),
        ("on_validation_batch_start", 2, signal.SIGUSR2, "preempted"),
        ("on_validation_epoch_end", 1, signal.SIGTERM, "terminated"),
        ("on_train_epoch_end", 1, signal.SIGTERM, "terminated"),
        ("on_train_batch_start", 9, signal.SIGTERM, "terminated"),
        ("on_validation_batch_start", 9, signal.SIGTERM, "terminated"),
        ("on_train_epoch_end", 2, signal.SIGTERM, "terminated"),
    ],
)
def test_a_run_that_is_stopped_goes_on_as_if_nothing_had_been(
    undisturbed, tiny_dataset, tmp_path, hook, count, signum, reason
):
    cfg = configured(tiny_dataset, tmp_path)
    raised = stopped(cfg, [Signals(hook, count, signum)])
    assert (raised.signal, raised.reason) == (signum, reason)
    fit(cfg, last(tmp_path))
    assert_same(undisturbed, tmp_path)


def in_the_refresh(monkeypatch, count):
    """Have a signal sent while a batch of a mining refresh is embedded, the n-th of the training."""
    signals, encode = Signals("at_extraction", count, signal.SIGUSR2), RoundExtractor._encode

    def embed(*arguments):
        signals.at_extraction()
        return encode(*arguments)

    monkeypatch.setattr(RoundExtractor, "_encode", embed)


@pytest.mark.parametrize("count", [9, 20])
def test_a_run_that_is_stopped_in_a_mining_refresh_goes_on_with_it(
    undisturbed, tiny_dataset, tmp_path, count, monkeypatch
):
    cfg = configured(tiny_dataset, tmp_path)
    with monkeypatch.context() as patch:
        in_the_refresh(patch, count)
        stopped(cfg)
    fit(cfg, last(tmp_path))
    assert_same(undisturbed, tmp_path)


def test_a_run_that_is_stopped_before_its_first_batch_leaves_no_checkpoint(tiny_dataset, tmp_path, monkeypatch):
    in_the_refresh(monkeypatch, 1)
    assert stopped(configured(tiny_dataset, tmp_path)).reason == "preempted"
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_stopped_run_keeps_the_checkpoint_before_the_last(tiny_dataset, tmp_path):
    stopped(configured(tiny_dataset, tmp_path), [Signals("on_train_batch_start", 3, signal.SIGTERM)])
    steps = {name: torch.load(last(tmp_path).with_name(name), weights_only=True)["global_step"] for name in FILES}
    assert steps == {"last.ckpt": 3, "previous.ckpt": 2}
    assert {file.name for file in last(tmp_path).parent.iterdir()} == set(FILES)


def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before(undisturbed, tiny_dataset, tmp_path):
    cfg = configured(tiny_dataset, tmp_path)
    stopped(cfg, [Signals("on_train_batch_start", 9, signal.SIGTERM)])
    last(tmp_path).write_bytes(last(tmp_path).read_bytes()[:1000])
    fit(cfg, last_checkpoint(tmp_path)[0])
    assert_same(undisturbed, tmp_path)
    assert read_checkpoint(last(tmp_path))["global_step"] == 12


def test_means_of_an_epoch_are_logged_whole_after_a_resume(undisturbed, tiny_dataset, tmp_path):
    cfg = configured(tiny_dataset, tmp_path)
    stopped(cfg, [Signals("on_validation_start", 1, signal.SIGTERM)])
    fit(cfg, last(tmp_path))
    assert logged_losses(tmp_path) == logged_losses(undisturbed)


def logged_losses(folder):
    return [row["train/loss_epoch"] for row in read_log(folder / "metrics") if "train/loss_epoch" in row]


@pytest.mark.parametrize("step", [2, 3])
def test_every_step_is_logged_once(tiny_dataset, tmp_path, step):
    cfg = configured(tiny_dataset, tmp_path, "trainer.log_every_n_steps=1", "trainer.max_epochs=1")
    stopped(cfg, [Signals("on_train_batch_start", step, signal.SIGTERM)])
    fit(cfg, last(tmp_path))
    assert [int(row["step"]) for row in read_log(tmp_path / "metrics") if "train/loss_step" in row] == list(range(6))


class Interrupts(pl.Callback):
    """Ctrl-C twice within a batch."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            self.noted = True
            os.kill(os.getpid(), signal.SIGINT)
            self.went_on = True


def test_a_second_interrupt_ends_at_once(tiny_dataset, tmp_path, capfd):
    interrupts = Interrupts()
    assert stopped(configured(tiny_dataset, tmp_path), [interrupts]).reason == "interrupted"
    assert interrupts.noted
    assert not hasattr(interrupts, "went_on")
    assert "SIGINT: stopping after this batch; Ctrl-C again ends at once" in capfd.readouterr().err
    assert torch.load(last(tmp_path), weights_only=True)["global_step"] == 2


class Draws(pl.Callback):
    """What a layer that draws, such as dropout, would draw: two numbers in every step."""

    def __init__(self):
        self.drawn = {}

    def on_train_batch_start(self, trainer, *_):
        self.drawn[trainer.global_step] = torch.rand(2).tolist()


def test_layers_that_draw_draw_on(tiny_dataset, tmp_path):
    whole, parts = Draws(), Draws()
    fit(configured(tiny_dataset, tmp_path / "whole"), callbacks=[whole])
    cfg = configured(tiny_dataset, tmp_path / "parts")
    stopped(cfg, [parts, Signals("on_train_batch_start", 4, signal.SIGTERM)])
    fit(cfg, last(tmp_path / "parts"), [parts])
    assert parts.drawn == whole.drawn


class AllProcesses(pl.Callback):
    """A signal to every process of the job, also to those that read images."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            workers = multiprocessing.active_children()
            assert workers
            for process in (*(worker.pid for worker in workers), os.getpid()):
                os.kill(process, signal.SIGTERM)
                os.kill(process, signal.SIGINT)


def test_processes_that_read_images_are_there_until_the_run_has_stopped(undisturbed, tiny_dataset, tmp_path):
    cfg = configured(tiny_dataset, tmp_path, "dataset.workers=1")
    assert stopped(cfg, [AllProcesses()]).signal == signal.SIGTERM
    assert torch.load(last(tmp_path), weights_only=True)["global_step"] == 4
    fit(configured(tiny_dataset, tmp_path), last(tmp_path))
    assert_same(undisturbed, tmp_path)


def test_an_error_is_not_taken_for_a_stop(tiny_dataset, tmp_path):
    class Fails(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("broken")

    with listening() as listener, pytest.raises(ValueError, match="broken"):
        fit(configured(tiny_dataset, tmp_path), callbacks=[Fails()])
    assert listener.received is None


def test_lightning_leaves_the_signals_alone(tiny_dataset, tmp_path):
    seen = {}

    class Looks(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            seen.update({signum: signal.getsignal(signum) for signum in SIGNALS})

    with listening():
        ours = {signum: signal.getsignal(signum) for signum in SIGNALS}
        fit(configured(tiny_dataset, tmp_path, "trainer.max_epochs=1"), callbacks=[Looks()])
        assert {signum: signal.getsignal(signum) for signum in SIGNALS} == ours
    assert seen == ours
