"""Types of the configuration. Values and defaults live in the YAML files of ``conf/`` alone.

Groups whose options build different classes (backbone, pooling, loss, ...) are open mappings here: their keys are the
arguments of their target. Everything else is typed, so that a wrong type or an unknown key is refused at composition.
"""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING


@dataclass
class NetworkConfig:
    """How backbone and pooling become branches."""

    shared: bool = MISSING
    normalize_before: bool = MISSING
    normalize_after: bool = MISSING
    descriptor_size: int | None = MISSING
    train_from: str | None = MISSING
    channels_last: bool = MISSING


@dataclass
class MiningConfig:
    """Rounds, refresh and choice of triplets."""

    miner: Any = MISSING
    strategy: Any = MISSING
    refresh: Any = MISSING
    candidates: Any = MISSING
    queries_per_round: int | None = MISSING
    queries_together: int = MISSING
    shuffle: bool = MISSING
    repeats: int = MISSING
    negatives: int = MISSING
    sampled_negatives: int = MISSING
    local_negatives: int = MISSING
    margin: float = MISSING


@dataclass
class OptimizerConfig:
    """Optimizer with the numbers that everybody changes."""

    lr: float = MISSING
    scale_lr: str = MISSING
    weight_decay: float = MISSING
    factory: Any = MISSING


@dataclass
class PathsConfig:
    """Where things are kept."""

    outputs: str = MISSING
    cache: str = MISSING
    datasets: str = MISSING
    metas: str = MISSING
    run: str = MISSING


@dataclass
class TrainerConfig:
    """Arguments of ``pytorch_lightning.Trainer`` that this platform supports."""

    _target_: str = MISSING
    accelerator: str = MISSING
    devices: Any = MISSING
    num_nodes: int = MISSING
    strategy: str = MISSING
    sync_batchnorm: bool = MISSING
    precision: str = MISSING
    max_epochs: int = MISSING
    max_steps: int = MISSING
    check_val_every_n_epoch: int = MISSING
    limit_train_batches: Any = MISSING
    gradient_clip_val: float | None = MISSING
    log_every_n_steps: int = MISSING
    enable_progress_bar: bool = MISSING


@dataclass
class TrainConfig:
    """``conf/train.yaml``."""

    dataset: Any = MISSING
    distance: Any = MISSING
    modality: Any = MISSING
    backbone: Any = MISSING
    pooling: Any = MISSING
    network: NetworkConfig = MISSING
    loss: Any = MISSING
    mining: MiningConfig = MISSING
    augmentation: Any = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: Any = MISSING
    search: Any = MISSING
    evaluation: Any = MISSING
    trainer: TrainerConfig = MISSING
    logger: Any = MISSING
    callbacks: Any = MISSING
    paths: PathsConfig = MISSING
    name: str = MISSING
    seed: int = MISSING
    deterministic: bool = MISSING
    threads: int | None = MISSING
    resume: str | None = MISSING
    reproduce: str | None = MISSING
    initial_weights: str | None = MISSING
    untrained: bool = MISSING
    test: bool = MISSING
    experiment: Any = None
    sweep: Any = None
    debug: Any = None


@dataclass
class EvaluateConfig:
    """``conf/evaluate.yaml``."""

    trainer: TrainerConfig = MISSING
    paths: PathsConfig = MISSING
    distance: Any = MISSING
    search: Any = MISSING
    evaluation: Any = MISSING
    checkpoint: str | None = MISSING
    splits: list[str] = MISSING
    overrides: list[str] = MISSING
    precision: str | None = MISSING
    database_descriptors: str | None = MISSING
    query_descriptors: str | None = MISSING
    catalog: str | None = MISSING
    meta: str | None = MISSING
    split: str = MISSING
    threads: int | None = MISSING


def register() -> None:
    """Make the schemas, and the resolvers of ``conf/``, known to Hydra; again changes nothing."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from crosslocate.config import folders, resources
    from crosslocate.config.convert_schema import CheckConfig, ConvertConfig
    from crosslocate.config.localize_schema import IndexConfig, LocalizeConfig
    from crosslocate.config.render_schema import RenderConfig
    from crosslocate.config.tune_schema import TuneConfig

    OmegaConf.register_new_resolver("run_record", folders.run_record, replace=True)
    OmegaConf.register_new_resolver("gpus", resources.gpus, replace=True)
    for resolver in (folders.unused_folder, folders.run_folder):
        # a folder stays with the configuration that it was found for, also where another process goes on with it
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True, use_cache=True)
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="index_schema", node=IndexConfig)
    store.store(name="localize_schema", node=LocalizeConfig)
    store.store(name="render_schema", node=RenderConfig)
    store.store(name="convert_schema", node=ConvertConfig)
    store.store(name="check_schema", node=CheckConfig)
    store.store(name="tune_schema", node=TuneConfig)
