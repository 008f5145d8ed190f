"""Pretrained weights: reading files safely, fitting them to other input channels, loading them strictly."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from crosslocate.errors import CheckpointError, ConfigError

IMAGENET, NONE = "imagenet", "none"
CHOICES = f"{IMAGENET}, {NONE}, or the path of a weights file"
COUNTERS = "num_batches_tracked"
"""Batch normalisation's counter: files from before PyTorch 0.4.1 have none, and inference does not need it."""


def weights_path(weights: str | None) -> Path | None:
    """The file that ``weights: none | <path>`` asks for, None for random start values.

    Raises:
        ConfigError: For ``imagenet``, which is for the caller to handle where such weights exist.
    """
    if weights is None or weights == NONE:
        return None
    if weights == IMAGENET:
        raise ConfigError("backbone.weights", weights, f"{NONE}, or the path of a weights file, for this backbone")
    return Path(weights).expanduser()


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
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable weights file ({reason})") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: a dictionary of named tensors is needed, found {type(content).__name__}")
    return dict(content)


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return torch.load(path, map_location="cpu", weights_only=True)


def input_convolution(module: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the first convolution, the one that sees the image."""
    return next((name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d))


def adapt_input(weight: Tensor, channels: int) -> Tensor:
    """Fit a convolution's weights ``[out, c, k, k]`` to images of other channels.

    One channel gets the sum over the old ones (a gray picture then gives what it gave as three equal channels); more
    get the old ones in turn, scaled by ``c / channels`` so that activations keep their size.
    """
    before = weight.shape[1]
    if channels == before:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, torch.arange(channels) % before] * (before / channels)


def load_backbone(backbone: nn.Module, state: Mapping[str, Tensor], source: str, dropped: frozenset[str]) -> None:
    """Load a whole classifier's weights into the backbone cut from it.

    Args:
        backbone: Gets the tensors; its first convolution may have other input channels (see ``adapt_input``).
        state: Tensors by name.
        source: Where they come from, for the error.
        dropped: Names of the tensors of the layers that were cut off; left aside if present.

    Raises:
        CheckpointError: If the tensors are not this architecture's.
    """
    fitting = {name: tensor for name, tensor in state.items() if name not in dropped}
    name, convolution = input_convolution(backbone)
    key = f"{name}.weight"
    if key in fitting and fitting[key].ndim == convolution.weight.ndim:
        fitting[key] = adapt_input(fitting[key], convolution.in_channels)
    load_strictly(backbone, fitting, source)


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
    shared = [name for name in own if name in state]
    problems = {
        "missing": [name for name in own if name not in state and not name.endswith(COUNTERS)],
        "left over": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
            for name in shared
            if state[name].shape != own[name].shape
        ],
    }
    found = [f"{len(names)} {kind} (first: {names[0]})" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{source}: these are the weights of another architecture: {'; '.join(found)}")
    module.load_state_dict(dict(state), strict=False)
