"""history.json: written every epoch, continued after a resume."""

from types import SimpleNamespace

import torch

from crosslocate.lit.history import History
from crosslocate.runs.history import read_history


def finish_epoch(history, epoch, loss=None, zero=True):
    metrics = {} if loss is None else {"train/loss_epoch": torch.tensor(loss)}
    trainer = SimpleNamespace(
        current_epoch=epoch, global_step=10 * epoch, callback_metrics=metrics, callbacks=[], is_global_zero=zero
    )
    history.on_train_epoch_end(trainer, None)


def test_every_epoch_is_in_the_file_at_once(tmp_path):
    history = History(str(tmp_path))
    finish_epoch(history, 0, 0.5)
    assert read_history(tmp_path) == [{"epoch": 0, "step": 0, "train/loss": 0.5}]
    finish_epoch(history, 1)
    assert read_history(tmp_path)[1] == {"epoch": 1, "step": 10}
    assert [file.name for file in tmp_path.iterdir()] == ["history.json"]


def test_a_resumed_run_goes_on_and_replaces_what_it_repeats(tmp_path):
    first = History(str(tmp_path))
    for epoch in range(3):
        finish_epoch(first, epoch, 1.0)
    resumed = History(str(tmp_path))
    resumed.load_state_dict(first.state_dict())
    finish_epoch(resumed, 2, 0.25)
    assert [(entry["epoch"], entry["train/loss"]) for entry in read_history(tmp_path)] == [(0, 1), (1, 1), (2, 0.25)]


def test_other_processes_write_nothing(tmp_path):
    finish_epoch(History(str(tmp_path)), 0, 1.0, zero=False)
    assert read_history(tmp_path) == []
