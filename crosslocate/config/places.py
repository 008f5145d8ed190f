"""Places on this machine for the jobs of a sweep that were started all at once: GPUs, or a share of its processors.

submitit lets every job on this machine see the same first GPUs. Here each takes GPUs that no other job of its sweep
has, and waits until there are some. A place is a lock on a file, which ends with the process that has it.
"""

import fcntl
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from crosslocate.config.ranks import is_first_process
from crosslocate.console import say
from crosslocate.data.locking import locked
from crosslocate.devices import free_memory

VISIBLE = "CUDA_VISIBLE_DEVICES"
GIVEN = "CROSSLOCATE_GPUS"
"""Hands what `VISIBLE` was, where a sweep was begun, on to its jobs."""
PAUSE = 1.0
"""Seconds between two looks for a free place."""
_kept: list[IO[str]] = []


@dataclass(frozen=True)
class Wish:
    """Which places a job needs.

    Attributes:
        names: Of places, the best first.
        count: How many of them it needs.
        narrows: Whether it must be shown those GPUs alone; else it picks them itself, or uses none.
    """

    names: tuple[str, ...]
    count: int
    narrows: bool = False


def hand_on_gpus() -> None:
    """Let the jobs that this process starts know which GPUs it was given; called where a sweep begins."""
    os.environ.pop(GIVEN, None)
    if VISIBLE in os.environ:
        os.environ[GIVEN] = os.environ[VISIBLE]


def take_place(hydra: Any, accelerator: str, devices: Any) -> None:
    """Wait for a place, and keep it until this process ends, if it is a job that submitit started on this machine.

    Must be called before CUDA is used.

    Args:
        hydra: ``hydra`` of the job's configuration.
        accelerator: ``trainer.accelerator``.
        devices: ``trainer.devices``.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "local" or not is_first_process():
        return
    os.environ.pop(VISIBLE, None)  # it is submitit's
    if GIVEN in os.environ:
        os.environ[VISIBLE] = os.environ[GIVEN]
    gpus = _gpus() if accelerator in ("auto", "gpu") else []
    wish = wished_gpus(gpus, devices) if gpus else wished_share(hydra.launcher.cpus_per_task or 1)
    if wish.count > len(wish.names):
        return  # which is said where the devices are looked for
    folder = Path(hydra.sweep.dir).absolute() / ".submitit" / "places" / socket.gethostname()
    places = wait_for(folder, wish)
    _kept.extend(places.values())
    if wish.narrows:
        os.environ[VISIBLE] = ",".join(places)


def wished_gpus(gpus: list[str], devices: Any) -> Wish:
    """GPUs that a job needs.

    Args:
        gpus: Those of this machine, in the order of their numbers within the process.
        devices: ``trainer.devices``: how many, which of them, or all (``auto``, -1).
    """
    if devices in ("auto", -1):
        return Wish(tuple(gpus), len(gpus))
    if isinstance(devices, int):
        free = free_memory()
        return Wish(tuple(sorted(gpus, key=lambda gpu: -free.get(_number(gpu), 0))), devices, narrows=True)
    return Wish(tuple(gpus[number] for number in devices if number < len(gpus)), len(devices))


def wished_share(processors: int) -> Wish:
    """A share of this machine's processors: as many jobs at once as have ``processors`` each, one at least."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Wish(tuple(f"share_{number}" for number in range(max(1, usable // processors))), 1)


def wait_for(folder: Path, wish: Wish) -> dict[str, IO[str]]:
    """Places by name, in the order of the wish; each is free again when its file is closed.

    Args:
        folder: Of the locks.
        wish: Which places, and how many.
    """
    waiting = False
    while True:
        with locked(folder / "all.lock"):  # or two jobs could each wait for what the other has
            if len(places := _free(folder, wish)) == wish.count:
                return places
        if not waiting:
            say(f"waiting for {wish.count} of the places {', '.join(wish.names)} on this machine")
        waiting = True
        time.sleep(PAUSE)


def _free(folder: Path, wish: Wish) -> dict[str, IO[str]]:
    taken: dict[str, IO[str]] = {}
    for name in wish.names:
        file: IO[str] = (folder / f"{name.replace('/', '_')}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        taken[name] = file
        if len(taken) == wish.count:
            return taken
    for file in taken.values():
        file.close()
    return {}


def _gpus() -> list[str]:
    """The GPUs that this process may use, in the order of their numbers within it."""
    if VISIBLE in os.environ:
        return [gpu.strip() for gpu in os.environ[VISIBLE].split(",") if gpu.strip()]
    gpus = [str(gpu) for gpu in sorted(free_memory())]
    if gpus:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts
    return gpus


def _number(gpu: str) -> int:
    return int(gpu) if gpu.isdecimal() else -1
