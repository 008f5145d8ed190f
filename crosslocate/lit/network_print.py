"""What a trained network makes of an image, as a hash: weights, architecture, and how images become its inputs."""

import hashlib
from collections.abc import Collection
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from crosslocate.models.network import CrossModalNetwork

SETTLED = frozenset({"weights"})
"""Of backbone and pooling: where numbers came from that a checkpoint has."""
WITHOUT_EFFECT = frozenset({"train_from", "channels_last"})
"""Of the network: what changes its training, or how it computes, and no descriptor."""


def network_fingerprint(network: CrossModalNetwork, config: DictConfig) -> str:
    """Hash of everything that shapes the descriptor of an image, 64 hexadecimal digits.

    Equal weights do not make equal networks: poolings without weights, normalisation and strides differ in nothing but
    the configuration.

    Args:
        network: With its trained weights.
        config: Of its training.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    digest.update(OmegaConf.to_yaml(OmegaConf.create(_shaping(config)), sort_keys=True).encode())
    return digest.hexdigest()


def _shaping(config: DictConfig) -> dict[str, Any]:
    """What of a configuration shapes descriptors, beside the weights; plain values."""
    return {
        "query": _plain(config.dataset.query),
        "database": _plain(config.dataset.database),
        "size": _plain(config.dataset.size),
        "match_fov": config.dataset.match_fov,
        "backbone": _plain(config.backbone, SETTLED),
        "pooling": _plain(config.pooling, SETTLED),
        "network": _plain(config.network, WITHOUT_EFFECT),
    }


def _plain(node: Any, without: Collection[str] = ()) -> Any:
    plain = OmegaConf.to_container(node, resolve=True)
    return {key: value for key, value in plain.items() if key not in without} if isinstance(plain, dict) else plain
