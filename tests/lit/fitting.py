"""Trains on the tiny data set in this process, without an entry point: what a run has of callbacks, and no more."""

import json
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from running import overrides

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.lit import assembly

EXACT = [
    "mining/strategy=semihard", "mining.margin=0.1", "mining.sampled_negatives=4", "mining.negatives=3",
    "mining.queries_per_round=4", "mining=crosslocate", "loss=triplet", "augmentation=strong", "scheduler=cosine",
    "scheduler.warmup_steps=3", "optimizer.lr=0.01", "~callbacks.pictures",
]  # fmt: skip
"""A miner that remembers, augmentation and a schedule: all that a checkpoint must restore."""


def configured(root: Path, folder: Path, *more: str):
    """The configuration of a training in ``folder``, composed as for a run."""
    arguments = overrides(root, folder, *EXACT, f"paths.run={folder}", "name=run", *more)
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=arguments, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def fit(cfg, checkpoint: Path | None = None, callbacks=()):
    """Train, from a checkpoint if there is one; the trainer afterwards."""
    datamodule = assembly.build_datamodule(cfg)
    module = assembly.build_module(cfg, datamodule, pretrained=False)
    trainer = assembly.build_trainer(cfg, [assembly.build_mining(cfg), assembly.build_recall(cfg), *callbacks])
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    return trainer


def outcome(folder: Path):
    """Last state of a training, and its history."""
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return state, json.loads((folder / "history.json").read_text())["epochs"]


def assert_same(first: Path, second: Path) -> None:
    """Two trainings ended with the same weights, optimizer, miner's memory and history, to the last bit."""
    (one, history), (other, same_history) = outcome(first), outcome(second)
    assert one["global_step"] == other["global_step"]
    assert list(one["state_dict"]) == list(other["state_dict"])
    assert all(torch.equal(tensor, other["state_dict"][name]) for name, tensor in one["state_dict"].items())
    assert one["lr_schedulers"] == other["lr_schedulers"]
    for old, new in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        for key, values in old["state"].items():
            assert all(torch.equal(value, new["state"][key][name]) for name, value in values.items())
    memories = [state["callbacks"]["MiningCallback"]["miner"]["last_negatives"] for state in (one, other)]
    assert torch.equal(*memories)
    best = [next(s for n, s in state["callbacks"].items() if n.startswith("ModelCheckpoint")) for state in (one, other)]
    assert best[0]["best_model_score"] == best[1]["best_model_score"]
    assert history == same_history
