"""Pretrained weights: reading files safely and loading them strictly."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from crosslocate.errors import CheckpointError, ConfigError

IMAGENET, NONE = "imagenet", "none"
CHOICES = f"{IMAGENET}, {NONE}, or the path of a weights file"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors, without running any code that it may contain.

    Reads what ``torch.save`` and safetensors wrote: the tensors themselves, or a dictionary that has them under
    ``state_dict`` or ``model``.

    Raises:
        CheckpointError: If there is no such file or it holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"backbone.weights={str(path)!r}: there is no such file; allowed: {CHOICES}")
    try:
        content = _read(path)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not a readable weights file ({str(error).splitlines()[0]})") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: a dictionary of named tensors is needed, found {type(content).__name__}")
    return dict(content)


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load named tensors that must be exactly the module's own.

    Args:
        module: Gets the tensors.
        state: Tensors by name.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: If a tensor is missing, left over, or of another shape; names the first of each.
    """
    own = module.state_dict()
    problems = [
        ("missing", [name for name in own if name not in state]),
        ("left over", [name for name in state if name not in own]),
        (
            "of another shape",
            [
                f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
                for name, tensor in own.items()
                if name in state and state[name].shape != tensor.shape
            ],
        ),
    ]
    found = [f"{len(names)} {kind} (first: {names[0]})" for kind, names in problems if names]
    if found:
        raise CheckpointError(f"{source}: weights of another architecture than {describe(module)}: {'; '.join(found)}")
    module.load_state_dict(dict(state))


def describe(module: nn.Module) -> str:
    """A module's class and number of tensors, for messages."""
    return f"this {type(module).__name__} of {len(module.state_dict())} tensors"


def load_weights(module: nn.Module, weights: str | None, *, ignored: Sequence[str] = ()) -> None:
    """Load ``weights: none | <path>`` into a backbone.

    Args:
        module: The backbone.
        weights: ``none`` leaves the random start values; anything else is the path of a weights file.
        ignored: Beginnings of the names of tensors in the file that the backbone has cut off (its classifier).

    Raises:
        CheckpointError: If the file is missing, unreadable, or of another architecture.
        ConfigError: For ``imagenet``, which the caller handles where such weights exist.
    """
    if weights is None or weights == NONE:
        return
    if weights == IMAGENET:
        raise ConfigError("backbone.weights", weights, f"{NONE}, or the path of a weights file, for this backbone")
    path = Path(weights).expanduser()
    state = {name: tensor for name, tensor in read_weights(path).items() if not name.startswith(tuple(ignored))}
    load_strictly(module, state, str(path))
