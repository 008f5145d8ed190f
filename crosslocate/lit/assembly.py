"""Builds the parts of a run out of its configuration."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from crosslocate.config.build import build
from crosslocate.config.ranks import end_with_job
from crosslocate.data.datamodule import RetrievalDataModule
from crosslocate.errors import ConfigError
from crosslocate.lit.checkpoint import WholeFiles
from crosslocate.lit.module import RetrievalModule
from crosslocate.lit.recall import RecallCallback
from crosslocate.lit.signals import own_signals
from crosslocate.mining.callback import MiningCallback
from crosslocate.models.network import build_network
from crosslocate.retrieval.search import require_device


def build_datamodule(cfg: DictConfig) -> RetrievalDataModule:
    """The data set of a run, with the compositions of its modality."""
    datamodule: RetrievalDataModule = build(cfg.dataset)
    return datamodule


def build_module(cfg: DictConfig, datamodule: RetrievalDataModule, *, pretrained: bool) -> RetrievalModule:
    """Network, loss and optimizer of a run; initial weights are drawn from ``cfg.seed``.

    Args:
        cfg: The configuration, kept in the module.
        datamodule: Decides channels and size of the network's inputs.
        pretrained: Whether backbones load their pretrained weights; needless where a checkpoint is loaded afterwards.
    """
    backbone, pooling = cfg.backbone.copy(), cfg.pooling.copy()
    for node in (backbone, pooling):
        if not pretrained and "weights" in node:
            node.weights = "none"
    pl.seed_everything(cfg.seed, workers=False, verbose=False)
    compositions = datamodule.pipeline.compositions
    network = build_network(
        build(backbone),
        build(pooling),
        query_channels=compositions["query"].channels,
        database_channels=compositions["database"].channels,
        input_size=datamodule.size,
        **build(cfg.network),
    )
    kept = cfg.copy()
    kept.name = str(cfg.name)  # the run's own: elsewhere it would be made of other choices
    plain: Any = OmegaConf.to_container(kept, resolve=False)
    return RetrievalModule(
        network,
        build(cfg.loss),
        build(cfg.optimizer.factory),
        build(cfg.scheduler),
        cfg.optimizer.weight_decay,
        cfg.optimizer.scale_lr,
        plain,
    )


def outline_network(cfg: DictConfig, datamodule: RetrievalDataModule) -> None:
    """Build the network without its numbers: what cannot be built is refused before any data are read.

    Raises:
        ConfigError: Parts that do not fit each other.
    """
    with torch.device("meta"):
        build_module(cfg, datamodule, pretrained=False)


def require_devices(trainer: DictConfig) -> None:
    """Check that there is a GPU where one is asked for, and within SLURM a task for every process.

    This is for the job to do, since the machine that submits may have none.

    Raises:
        ConfigError: There is no GPU, or there are more or fewer tasks.
    """
    found = pl.accelerators.CUDAAccelerator.is_available() or pl.accelerators.MPSAccelerator.is_available()
    if trainer.accelerator == "gpu" and not found:
        hint = "On a machine with one, look at CUDA_VISIBLE_DEVICES and at how torch was installed"
        raise ConfigError("trainer.accelerator", "gpu", "cpu or auto, since torch finds no GPU here", hint)
    with warnings.catch_warnings(action="ignore"):  # it warns where srun is there and not used
        in_slurm = SLURMEnvironment.detect()
    if in_slurm:
        require_tasks(trainer.devices, trainer.num_nodes, os.environ)


def require_tasks(devices: Any, nodes: int, environment: Mapping[str, str]) -> None:
    """Check that SLURM has started a process for every device: Lightning would train with as many as there are.

    Args:
        devices: ``trainer.devices``; what is neither a number nor a list is left to Lightning.
        nodes: ``trainer.num_nodes``.
        environment: Variables of a process of a SLURM job.

    Raises:
        ConfigError: There are more or fewer, or they were not started with ``srun``.
    """
    tasks = int(environment["SLURM_NTASKS"])
    wanted = tasks
    if isinstance(devices, ListConfig | list):
        wanted = len(devices) * nodes
    elif str(devices).isdecimal():
        wanted = int(devices) * nodes
    if tasks != wanted:
        hint = f"Start with srun --nodes={nodes} --ntasks-per-node={wanted // nodes}, or ask sbatch for as many"
        raise ConfigError("trainer.devices", devices, f"as many as SLURM has tasks for the job, {tasks} in all", hint)
    if tasks > 1 and "SLURM_STEP_ID" not in environment:
        raise ConfigError("trainer.devices", devices, "1 without srun", "SLURM starts the processes: begin with srun")


def build_mining(cfg: DictConfig) -> MiningCallback:
    """The callback that plans the rounds of training."""
    mining = cfg.mining
    return MiningCallback(
        build(mining.miner),
        build(mining.refresh),
        build(mining.candidates),
        mining.queries_per_round,
        mining.queries_together,
        mining.shuffle,
        cfg.seed,
    )


def build_recall(cfg: DictConfig) -> RecallCallback:
    """The callback that measures recalls.

    Raises:
        ConfigError: It is to search on a GPU that is not there.
    """
    recall: RecallCallback = build(cfg.evaluation)
    require_device(recall.evaluator.searcher)
    return recall


def build_trainer(cfg: DictConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    """The trainer of a run, with its loggers, and the configured callbacks after ``callbacks``."""
    (Path(cfg.paths.run) / "checkpoints").mkdir(parents=True, exist_ok=True)
    loggers = [build(node) for node in (cfg.logger or {}).values()]
    configured = [build(node) for node in (cfg.callbacks or {}).values()]
    if not loggers:
        configured = [c for c in configured if not isinstance(c, pl.callbacks.LearningRateMonitor)]
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    for logger in loggers:
        logger.log_hyperparams(plain)
    parts = {"logger": loggers, "callbacks": [*callbacks, *configured], "deterministic": cfg.deterministic}
    return _trainer(cfg.trainer, cfg.paths.run, **parts)


def build_evaluator(
    trainer: DictConfig, folder: str, recall: RecallCallback, more: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """A trainer that only measures: no log, no checkpoint."""
    return _trainer(trainer, folder, logger=False, callbacks=[recall, *more], enable_checkpointing=False)


def build_pictures(cfg: DictConfig) -> list[pl.Callback]:
    """The callbacks that draw what an evaluation found, those that a run has."""
    nodes = [(cfg.callbacks or {}).get(name) for name in ("pictures", "hit_maps")]
    return [build(node) for node in nodes if node is not None]


def _trainer(node: DictConfig, folder: str, **parts: Any) -> pl.Trainer:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # Lightning sets it to INFO when imported
    if node.precision == "32-true":
        torch.backends.cudnn.allow_tf32 = False  # else a GPU convolves with 10 bits of precision
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
    warnings.filterwarnings("ignore", r"It is recommended to use `self\.log\(.*sync_dist=True")  # all have the same
    if "SLURM_JOB_ID" not in os.environ:  # on a node from which jobs are submitted
        warnings.filterwarnings("ignore", "The `srun` command is available on your system but is not used")
    trainer: pl.Trainer = build(
        node,
        default_root_dir=folder,
        use_distributed_sampler=False,  # every rank's loaders hold its own share already
        num_sanity_val_steps=0,
        enable_model_summary=False,
        plugins=_plugins(),
        **parts,
    )
    own_signals(trainer)
    if isinstance(launcher := trainer.strategy.launcher, _SubprocessScriptLauncher):
        end_with_job(launcher)
    return trainer


def _plugins() -> list[Any]:
    """How checkpoints are written; and within SLURM, its environment without Lightning's own way of requeueing."""
    slurm = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    return [WholeFiles(), *slurm]


def best_checkpoint(trainer: pl.Trainer) -> Path | None:
    """The best checkpoint of a training; None, which means the weights as they are, where none is kept."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, pl.callbacks.ModelCheckpoint) and callback.best_model_path:
            return Path(callback.best_model_path)
    return None
