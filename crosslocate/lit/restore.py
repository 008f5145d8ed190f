"""From a checkpoint, or the folder of a run, back to its configuration and its network."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from crosslocate.config.ranks import is_first_process
from crosslocate.config.targets import require_trusted
from crosslocate.console import say
from crosslocate.data.pipeline import InputPipeline
from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.lit.checkpoint import LAST, PREVIOUS
from crosslocate.lit.device import take_device
from crosslocate.lit.network_print import network_fingerprint
from crosslocate.models.network import CrossModalNetwork
from crosslocate.models.weights import load_strictly

if TYPE_CHECKING:
    from crosslocate.data.datamodule import RetrievalDataModule
    from crosslocate.lit.module import RetrievalModule

CONFIG_KEY = "crosslocate_config"
AUTOCAST: Mapping[str, torch.dtype | None] = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What a network computes in, by the name of a precision; None: in that of its weights."""
_MISFITS = (AttributeError, TypeError, ValueError, LookupError, AssertionError, RuntimeError)
"""What values of a wrong type, of a configuration of another kind, end in."""


def checkpoint_file(place: str | Path, name: str = "best") -> Path:
    """The checkpoint file that ``place`` means: itself, or ``checkpoints/<name>.ckpt`` in the folder of a run.

    Raises:
        CheckpointError: There is no such file.
    """
    path = Path(place).expanduser()
    file = path / "checkpoints" / f"{name}.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint {file}; allowed: a checkpoint file, or the folder of a run")
    return file


def last_checkpoint(place: str | Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that a run goes on from, and its content.

    It is the last one, or the one before where the last is damaged or missing: that is said, and the damaged file is
    kept as ``last.ckpt.damaged``. A checkpoint file that is named itself is taken, or refused, as it is.

    Args:
        place: Folder of a run, its last checkpoint, or any other checkpoint file.

    Raises:
        CheckpointError: There is none, or all are damaged: names them.
    """
    path = Path(place).expanduser()
    last = path / "checkpoints" / LAST if path.is_dir() else path
    previous = last.with_name(PREVIOUS)
    if last.name != LAST or not previous.is_file():
        file = checkpoint_file(place, Path(LAST).stem)
        return file, read_checkpoint(file)
    try:
        return last, read_checkpoint(checkpoint_file(last))
    except CheckpointError as error:
        return previous, _instead(last, error, previous)


def _instead(last: Path, reason: CheckpointError, previous: Path) -> dict[str, Any]:
    try:
        content = read_checkpoint(previous)
    except CheckpointError as error:
        raise CheckpointError(f"{reason}; nor can the one before be read: {error}") from error
    if is_first_process():
        damaged = last.with_name(f"{LAST}.damaged")
        with suppress(FileNotFoundError):
            last.replace(damaged)
        say(f"{reason}; going on from the checkpoint before, {previous}; what is damaged is kept as {damaged}")
    return content


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code that it may contain.

    Raises:
        CheckpointError: The file is damaged, or is no checkpoint of this package.
    """
    try:
        _require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch passes on whatever its unpickler meets in a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} is not a readable checkpoint ({reason})") from error
    if not isinstance(content, dict) or CONFIG_KEY not in content or "state_dict" not in content:
        raise CheckpointError(f"{path} is not a checkpoint of this package: it has no configuration inside")
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in state.items()):
        raise CheckpointError(f"{path} is not a checkpoint of this package: its state_dict is not of named tensors")
    return content


def _require_whole(path: Path) -> None:
    """Compare the contents of a checkpoint with the check sums in it, which torch does not."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")


def saved_config(checkpoint: Mapping[str, Any], source: Path, paths: DictConfig | None = None) -> DictConfig:
    """The configuration kept in a checkpoint.

    Args:
        checkpoint: As read from a file.
        source: The file.
        paths: Replaces where the old run kept things.

    Raises:
        CheckpointError: It is no configuration, or it calls code that is not of this package's configuration (see
            `crosslocate.config.targets`).
    """
    plain = checkpoint[CONFIG_KEY]
    if not isinstance(plain, dict):
        raise CheckpointError(f"{source}: its configuration is {type(plain).__name__}, not a mapping")
    with described_by(source):
        require_trusted(plain, str(source))
        config = OmegaConf.create(plain)
        if paths is not None:
            config.paths = paths
    return config


@contextmanager
def described_by(source: Path) -> Iterator[None]:
    """Turn what goes wrong when something is built from the configuration in a checkpoint into a CheckpointError."""
    try:
        yield
    except (ConfigError, OmegaConfBaseException, *_MISFITS) as error:
        reason = str(error).partition("\n")[0] if not isinstance(error, ConfigError) else error
        raise CheckpointError(
            f"{source}: nothing can be built from its configuration; is it of another version? ({reason})"
        ) from error


def load_network(network: CrossModalNetwork, checkpoint: Mapping[str, Any], source: Path) -> None:
    """Put the weights of a checkpoint into a network.

    Raises:
        CheckpointError: The checkpoint is of another architecture; names the first tensors that differ.
    """
    prefix = "network."
    state = {name.removeprefix(prefix): t for name, t in checkpoint["state_dict"].items() if name.startswith(prefix)}
    load_strictly(network, state, str(source))


def restored_parts(
    config: DictConfig, checkpoint: Mapping[str, Any], source: Path
) -> tuple["RetrievalDataModule", "RetrievalModule"]:
    """Data module and module that a configuration describes, with the weights of a checkpoint.

    Raises:
        CheckpointError: The weights do not fit, or nothing can be built from the configuration kept with them.
    """
    from crosslocate.lit.assembly import build_datamodule, build_module

    with described_by(source):
        datamodule = build_datamodule(config)
        module = build_module(config, datamodule, pretrained=False)
    load_network(module.network, checkpoint, source)
    return datamodule, module


@dataclass(frozen=True)
class Retriever:
    """A trained network with what surrounds it, ready to embed images.

    Attributes:
        config: What the run was configured with.
        network: In evaluation mode, on ``device``.
        pipeline: From raw images to network inputs.
        device: Where it computes.
        fingerprint: Hash of weights, architecture, and everything that shapes network inputs.
        precision: What it computes in, see `AUTOCAST`.
        compiled: Whether database views are embedded by the network as ``torch.compile`` makes it; a single query is
            not worth the minutes that this takes.
    """

    config: DictConfig
    network: CrossModalNetwork
    pipeline: InputPipeline
    device: torch.device
    fingerprint: str
    precision: str = "32-true"
    compiled: bool = False

    @torch.inference_mode()
    def encode(self, role: str, inputs: Tensor) -> Tensor:
        """Float32 descriptors [n, D], on the device, of network inputs of a role (``query`` or ``database``)."""
        branch = {"query": self.network.encode_query, "database": self._encode_database}[role]
        dtype = AUTOCAST[self.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            return branch(inputs.to(self.device))

    @cached_property
    def _encode_database(self) -> Callable[[Tensor], Tensor]:
        encode = self.network.encode_database
        # One program for each batch size, whichever comes first: a build that was interrupted gives the same bytes
        return torch.compile(encode, dynamic=False) if self.compiled else encode


def load_retriever(
    checkpoint: str | Path,
    device: str = "auto",
    paths: DictConfig | None = None,
    *,
    precision: str | None = None,
    compiled: bool = False,
) -> Retriever:
    """Restore a trained network from a checkpoint file or the folder of a run (its best checkpoint).

    Args:
        checkpoint: File, or folder of a run.
        device: ``cpu``, ``cuda``, ``cuda:<n>``, or ``auto``: a GPU where there is one. A GPU becomes the current one of
            this process.
        paths: Replaces the paths of the run's configuration.
        precision: See `AUTOCAST`; None: the one that the run was trained in.
        compiled: See `Retriever`.

    Raises:
        CheckpointError: Missing, damaged, or of another architecture than its configuration says.
        ConfigError: No such precision or device.
    """
    file = checkpoint_file(checkpoint)
    content = read_checkpoint(file)
    config = saved_config(content, file, paths)
    datamodule, module = restored_parts(config, content, file)
    network = module.network
    with described_by(file):
        fingerprint = network_fingerprint(network, config)
        wanted = str(config.trainer.precision) if precision is None else precision
    if wanted not in AUTOCAST:
        raise ConfigError("precision", wanted, AUTOCAST)
    chosen = take_device(device)
    return Retriever(config, network.eval().to(chosen), datamodule.pipeline, chosen, fingerprint, wanted, compiled)
