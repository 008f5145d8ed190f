"""The device that a process works on."""

import torch

from crosslocate.errors import ConfigError


def take_device(name: str) -> torch.device:
    """The device of a name; a GPU becomes the current one of this process.

    What is told no device, such as pinned memory or an exact search, takes the current GPU: were it another one, every
    process would also hold memory on the first.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:<n>``, or ``auto``: a GPU where there is one.

    Returns:
        With its number, where it is a GPU.

    Raises:
        ConfigError: There is no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(("cuda" if gpus else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise ConfigError("device", name, "cpu, cuda, cuda:<n>, or auto") from error
    if device.type != "cuda":
        return device
    if not gpus:
        raise ConfigError("device", name, "cpu, or auto: PyTorch finds no GPU here")
    number = torch.cuda.current_device() if device.index is None else device.index
    if number >= gpus:
        raise ConfigError("device", name, [f"cuda:{k}" for k in range(gpus)])
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
