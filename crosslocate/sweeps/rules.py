"""Rules that the jobs of a sweep keep together, once each of them could run alone."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crosslocate.errors import ConfigError, SweepError
from crosslocate.sweeps.check import Checked

if TYPE_CHECKING:
    from omegaconf import DictConfig

ONE_ALLOCATION = "SlurmLauncher"
"""Class of launchers that ask for the same devices for every job."""
COMMANDS = ("sbatch", "srun")
"""Programs of SLURM that a submission needs."""


def require_launcher(config: "DictConfig") -> None:
    """Check that what starts the jobs of a sweep is on this machine, and knows what to ask for.

    Args:
        config: Configuration of the sweep.

    Raises:
        ConfigError: How many devices a job takes is to be found out by the job, or they are numbered.
        SweepError: The jobs are for SLURM, and there is none.
    """
    devices = config.trainer.devices
    if _is_for_slurm(config) and not (str(devices).isdecimal() and int(devices) > 0):
        raise ConfigError("trainer.devices", devices, "a number of at least 1, since SLURM is asked for as many tasks")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing and _is_for_slurm(config):
        raise SweepError(
            f"SLURM's commands are not here ({', '.join(missing)}): hydra/launcher=slurm is allowed on a machine of a "
            "cluster; without one, hydra/launcher=local runs the jobs on this machine"
        )


def require_runnable(config: "DictConfig", found: Sequence[Checked]) -> None:
    """Check that every job can run, alone and beside the others.

    Args:
        config: Configuration of the sweep.
        found: What the check of each job found.

    Raises:
        SweepError: Says of every job that cannot run what is wrong with it.
    """
    wrong = [f"{checked.job}: {checked.problem}" for checked in found if checked.problem is not None]
    if wrong:
        lines = "".join(f"\n  {line}" for line in wrong)
        raise SweepError(f"{len(wrong)} of the {len(found)} jobs cannot run, and none was started:{lines}")
    if wrong := _broken(config, found):
        raise SweepError("the jobs cannot run together, and none was started:" + "".join(f"\n  {w}" for w in wrong))


def _broken(config: "DictConfig", found: Sequence[Checked]) -> list[str]:
    return [*_same_runs(found), *_same_folders(found), *_other_resources(config, found)]


def _same_runs(found: Sequence[Checked]) -> Iterator[str]:
    """Jobs that would be the same run: a value is there twice, or something hides what differs."""
    alike: dict[str, list[Checked]] = defaultdict(list)
    for checked in found:
        alike[checked.content].append(checked)
    for group in alike.values():
        if len(group) > 1:
            first = set(group[0].job.overrides)
            differing = sorted({value for other in group[1:] for value in first ^ set(other.job.overrides)})
            numbers = ", ".join(str(checked.job.number) for checked in group)
            why = f"{', '.join(differing)} make no difference" if differing else "a value is given twice"
            yield f"jobs {numbers} are the same run: {why}"


def _same_folders(found: Sequence[Checked]) -> Iterator[str]:
    """Jobs that would write over each other."""
    together: dict[str, list[Checked]] = defaultdict(list)
    for checked in found:
        together[os.path.realpath(checked.folder)].append(checked)
    for folder, some in together.items():
        if len(some) > 1:
            numbers = ", ".join(str(checked.job.number) for checked in some)
            keys = " and ".join(sorted({checked.folder_key for checked in some}))
            yield f"jobs {numbers} have the same folder {folder}: {keys} is not allowed; allowed: a folder for each job"


def _is_for_slurm(config: "DictConfig") -> bool:
    return str(config.hydra.launcher.get("_target_")).endswith(f".{ONE_ALLOCATION}")


def _other_resources(config: "DictConfig", found: Sequence[Checked]) -> Iterator[str]:
    if not _is_for_slurm(config):
        return
    trainer = config.trainer
    asked = (trainer.accelerator, trainer.devices, trainer.num_nodes)
    for checked in found:
        if checked.resources != asked:
            keys = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes")
            pairs = [f"{k}={v!r}" for k, v, a in zip(keys, checked.resources, asked, strict=True) if v != a]
            yield (
                f"{checked.job}: {', '.join(pairs)} is not allowed; allowed: what the sweep asks SLURM for, "
                f"{', '.join(f'{k}={a!r}' for k, a in zip(keys, asked, strict=True))}; all jobs of a sweep get the "
                "same: give it outside of what is swept, or submit a sweep for each"
            )
