"""An untrained network for the tiny data set, saved as a training run saves it. Also used by a child process."""

from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register
from crosslocate.lit.assembly import build_datamodule, build_module

SHARED = [
    "dataset=custom",
    "dataset.size=[24,32]",
    "dataset.workers=0",
    "backbone=small",
    "backbone.widths=[8,16]",
    "pooling=flatten",
    "pooling.reduced_channels=8",
    "name=tiny",
    "threads=1",
    "trainer=cpu",
    "logger=none",
]
DEPTH_TO_DEPTH = ["modality=depth_to_depth", "network.shared=true"]
PHOTO_TO_DEPTH = ["modality=depth"]


def compose_config(name: str, overrides: list[str]) -> DictConfig:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(name, overrides=overrides)


def save_checkpoint(path: Path, root: Path, overrides: list[str]) -> Path:
    config = compose_config("train", [*SHARED, f"dataset.root={root}", *overrides])
    module = build_module(config, build_datamodule(config), pretrained=False)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path
