"""Which share of an index a process makes, and on which device: as a launcher says, and as is asked for."""

from collections.abc import Mapping

from crosslocate.errors import ConfigError
from crosslocate.retrieval.grid import WHOLE, Shard


def launched_shard(environment: Mapping[str, str]) -> Shard:
    """The share of this process among those that torchrun, or ``srun`` in a step of a SLURM job, has started.

    Args:
        environment: Variables of the process.
    """
    for number, count in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if number in environment and int(environment.get(count) or 1) > 1:
            return Shard(int(environment[number]), int(environment[count]))
    return WHOLE


def local_number(environment: Mapping[str, str]) -> int:
    """Number of this process among those of its launcher on this machine."""
    return int(environment.get("LOCAL_RANK") or environment.get("SLURM_LOCALID") or 0)


def devices_of(device: str, devices: int | str, launched: Shard, local: int, gpus: int) -> list[str]:
    """Devices of this process, or of those that it is to start, one each.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:<n>``, or ``auto``: GPUs where there are any.
        devices: How many, or ``auto``: every GPU of this process, or one where a launcher has started several.
        launched: Share of this process.
        local: Its number on this machine.
        gpus: GPUs that it sees.

    Raises:
        ConfigError: There are not as many, or one device is asked for by name.
    """
    kind = ("cuda" if gpus else "cpu") if device == "auto" else device
    if kind == "cuda" and not gpus:
        raise ConfigError("device", device, "cpu, or auto: PyTorch finds no GPU here")
    several = launched != WHOLE
    every = gpus if kind == "cuda" and not several else 1
    count = every if devices == "auto" else int(devices)
    if count > 1 and ":" in kind:
        raise ConfigError("device", device, f"cuda, cpu or auto with devices={count}")
    if kind != "cuda":
        return [kind] * count
    if count > gpus:
        raise ConfigError("devices", devices, f"at most {gpus}, the GPUs that there are")
    first = local * count if several else 0
    return [f"cuda:{(first + k) % gpus}" for k in range(count)]


def threads_of(threads: int | None, processes: int, processors: int, device: str) -> int | None:
    """Threads of each of several processes: as asked for, or on the processor their part of its cores.

    Args:
        threads: What is asked for; None: nothing is.
        processes: Their number.
        processors: Cores of this machine.
        device: Where they compute.
    """
    shared = threads is None and processes > 1 and device == "cpu"
    return max(1, processors // processes) if shared else threads
