"""Every job of a sweep is composed and validated before the first one starts."""

import copy
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.console import track
from crosslocate.errors import CrossLocateError
from crosslocate.runs.fingerprint import config_fingerprint, plain
from crosslocate.sweeps.jobs import Job
from crosslocate.sweeps.loader import packed

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

JOBS_A_PROCESS = 10
"""Jobs that are worth a process of their own to check them."""


@dataclass(frozen=True)
class Checked:
    """What the check of one job found.

    Args:
        job: The job.
        folder: Of its run, absolute.
        folder_key: The key that decides on the folder.
        problem: Why it cannot run; None: it can, and the rest is known.
        fingerprint: Of its configuration, as in the record of its run.
        content: Hash over every value of its configuration.
        resources: Accelerator, devices and nodes of its trainer.
        composed: Its configuration, for `RememberingLoader`.
    """

    job: Job
    folder: str = ""
    folder_key: str = ""
    problem: str | None = None
    fingerprint: str = ""
    content: str = ""
    resources: tuple[Any, ...] = ()
    composed: bytes = b""


@dataclass(frozen=True)
class Checker:
    """Composes and validates jobs as they will be when they run.

    Args:
        config: Configuration of the sweep, as Hydra hands it to its callbacks.
        loader: Composes.
        validate: Raises an error that names key, value and what is allowed.
        folder: Folder of the sweep.
    """

    config: "DictConfig"
    loader: "ConfigLoader"
    validate: Callable[[Any], None]
    folder: Path

    def __call__(self, job: Job) -> Checked:
        """Check one job."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        try:
            composed = self.loader.load_sweep_config(self.config, list(job.overrides))
            package = packed(composed)
            with self._as_if_running(composed, job.number) as cfg:
                self.validate(cfg)
                folder = Path(str(cfg.paths.run)).absolute()
                given = Path(HydraConfig.get().runtime.output_dir)
        except (CrossLocateError, HydraException, OmegaConfBaseException) as error:
            return Checked(job, problem=said(error))
        trainer = cfg.trainer
        return Checked(
            job,
            folder=str(folder),
            folder_key="hydra.sweep.subdir" if folder == given else "paths.run",
            fingerprint=config_fingerprint(cfg),
            content=hashlib.sha256(json.dumps(plain(cfg), sort_keys=True, default=str).encode()).hexdigest(),
            resources=(trainer.accelerator, trainer.devices, trainer.num_nodes),
            composed=package,
        )

    @contextmanager
    def _as_if_running(self, composed: "DictConfig", number: int) -> "Iterator[DictConfig]":
        """The configuration that the job's task will get, with all that it refers to in Hydra's."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf, open_dict, read_write

        before = HydraConfig.instance().cfg
        try:
            with open_dict(composed):
                composed.hydra.job.num = composed.hydra.job.id = number
            HydraConfig.instance().set_config(composed)
            folder = self.folder / str(OmegaConf.select(composed, "hydra.sweep.subdir"))
            with read_write(composed.hydra.runtime), open_dict(composed.hydra.runtime):
                composed.hydra.runtime.output_dir = str(folder)
            HydraConfig.instance().set_config(composed)
            cfg = copy.deepcopy(composed)
            with read_write(cfg), open_dict(cfg):
                del cfg["hydra"]
            yield cfg
        finally:
            HydraConfig.instance().cfg = before


def check_all(checker: Checker, jobs: Sequence[Job]) -> list[Checked]:
    """Check jobs, many of them in as many processes as there are cores; in the order of the jobs.

    Not in this process: the check imports torch, and the first job has yet to say with how many threads, on which GPU.
    """
    processes = max(1, min(len(os.sched_getaffinity(0)), len(jobs) // JOBS_A_PROCESS))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _prepare, (checker,)) as pool:
        return list(track(pool.map(_check, jobs), "Checking the jobs", len(jobs)))


def said(error: Exception) -> str:
    """What an error of composition or validation says, in one line."""
    lines = [part.strip().partition("\n")[0] for part in (str(error), str(error.__cause__ or "")) if part.strip()]
    options = str(error).partition("Available options in ")[2].partition("Config search path")[0]
    if options:
        lines.append("available: " + ", ".join(line.strip() for line in options.split("\n\t")[1:]))
    return "; ".join(lines)


_checker: list[Checker] = []


def _prepare(checker: Checker) -> None:
    _checker[:] = [checker]


def _check(job: Job) -> Checked:
    return _checker[0](job)
