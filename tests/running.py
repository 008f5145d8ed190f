"""Runs entry points on the tiny data set, in this process or in one of their own."""

import os
import subprocess
import sys
from pathlib import Path

TINY = [
    "experiment=demo", "dataset=custom", "dataset.size=[24,32]", "dataset.batch_size=2", "dataset.workers=0",
    "dataset.extraction_batch_size=5", "mining.queries_per_round=4", "mining.sampled_negatives=20",
    "network.descriptor_size=16",
    "backbone.widths=[8,16]", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true",
    "trainer.enable_progress_bar=false", "evaluation.numbers=[1,5,100]", "logger=csv", "threads=1",
]  # fmt: skip


def overrides(root: Path, folder: Path, *more: str) -> list[str]:
    """Overrides for a run of seconds on the data set ``root``; everything is written below ``folder``."""
    return [*TINY, f"dataset.root={root}", f"paths.cache={folder / 'cache'}", *more]


def start(module: str, *arguments: str, cwd: Path, path: Path | None = None) -> subprocess.Popen:
    """Start an entry point in a process of its own, with ``path`` importable."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, "-m", f"crosslocate.{module}", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen, code: int = 0, patience: float = 300.0) -> str:
    """Wait for a process, ``patience`` seconds at most, check its exit status, and give what it printed."""
    output, errors = process.communicate(timeout=patience)
    assert process.returncode == code, f"{process.args}\n{output[-3000:]}\n{errors[-5000:]}"
    return output + errors


def call(entry_point, config_name: str, arguments: list[str]):
    """Run an entry point's task in this process, as Hydra would for a single run."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    from crosslocate.config.app import conf_dir
    from crosslocate.config.schema import register

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(config_name, overrides=arguments, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return entry_point.__wrapped__(cfg)
