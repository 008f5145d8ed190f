"""Means of an epoch that a run was resumed within; those of whole runs are compared in test_run_record.py."""

from types import SimpleNamespace

import pytest
import torch

from crosslocate.lit.epoch_means import EpochMeans


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_had_no_batch_after_the_resume_is_logged_where_the_processes_can_reduce_it(device):
    logged = {}
    module = SimpleNamespace(
        device=torch.device(device), log=lambda name, value, **how: logged.update({name: (value, how)})
    )
    means = EpochMeans()
    sums = {"training_step.train/loss_epoch": [torch.tensor(3.0), torch.tensor(4.0)]}
    means.load_state_dict({"epoch": 2, "sums": sums})
    means.on_train_epoch_end(SimpleNamespace(current_epoch=2), module)
    value, how = logged["train/loss_epoch"]
    assert (value.device.type, how) == (device, {"sync_dist": True})
    assert device == "meta" or float(value) == 0.75
