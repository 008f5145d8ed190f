"""Backbones from timm: any architecture by its name, convolutional or transformer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg
from torch import Tensor, nn

from crosslocate.errors import CheckpointError, ConfigError
from crosslocate.models.download import fetch_hub, fetch_url
from crosslocate.models.weights import IMAGENET, load_backbone, read_weights, weights_path


class TimmBackbone(nn.Module):
    """A timm network up to its pooling; whatever it calculates with comes out as a feature map.

    Args:
        model: A network made by timm, without classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, images: Tensor) -> Tensor:
        """Feature map ``[n, C, h, w]`` of images ``[n, in_channels, H, W]``; class and register tokens are left out."""
        features: Tensor = self.model.forward_features(images)
        if features.ndim == 3:
            patches = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
            height, width = self.model.patch_embed.dynamic_feat_size(images.shape[-2:])
            return patches.transpose(1, 2).unflatten(2, (height, width))
        return features.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else features


def timm_backbone(name: str, weights: str | None, arguments: Mapping[str, Any], *, in_channels: int) -> nn.Module:
    """Build a timm network without its head (config target of ``backbone=timm`` and the transformers).

    Args:
        name: timm's name, with or without a tag: ``convnext_tiny``, ``vit_small_patch14_dinov2.lvd142m``.
        weights: ``imagenet`` (the pretrained weights of the name's tag, whatever they were trained on), ``none``, or
            the path of a weights file of this architecture.
        arguments: Further arguments of the architecture, such as ``dynamic_img_size: true``.
        in_channels: Channels of the input image; pretrained weights are adapted to them.

    Raises:
        ConfigError: For an unknown name or an argument that the architecture does not take.
        CheckpointError: If the weights cannot be had or are another architecture's.
    """
    source = registered(name)
    pretrained = read_weights(pretrained_file(name, source)) if weights == IMAGENET else None
    path = None if pretrained else weights_path(weights)
    try:
        model = timm.create_model(
            name,
            pretrained=pretrained is not None,
            pretrained_cfg_overlay={"state_dict": pretrained} if pretrained else None,
            num_classes=0,
            in_chans=in_channels,
            **arguments,
        )
    except TypeError as error:
        raise ConfigError("backbone.arguments", dict(arguments), f"arguments of {name}", f"{error}") from error
    except RuntimeError as error:
        raise CheckpointError(f"backbone.name={name}: {error}") from error
    if path is not None:
        load_backbone(model, read_weights(path), str(path), classifier_tensors(source))
    return TimmBackbone(model)


def registered(name: str) -> PretrainedCfg:
    """What timm knows of a name: where its weights are, what its classifier is called.

    Raises:
        ConfigError: If timm has no such architecture, or the architecture no such tag.
    """
    if not timm.is_model(name):
        near = (timm.list_models(f"{name[:end]}*") for end in range(len(name), 3, -1))
        raise ConfigError("backbone.name", name, next(filter(None, near), [])[:5] or "timm's model names")
    try:
        return timm.get_pretrained_cfg(name) or PretrainedCfg()
    except RuntimeError as error:
        raise ConfigError("backbone.name", name, timm.list_pretrained(f"{name.partition('.')[0]}.*")) from error


def pretrained_file(name: str, source: PretrainedCfg) -> Path:
    """The pretrained weights of a timm name, from the cache or the network.

    Raises:
        ConfigError: If there are none.
        CheckpointError: If they cannot be downloaded.
    """
    if source.hf_hub_id:
        return fetch_hub(source.hf_hub_id, source.hf_hub_filename or "model.safetensors")
    if source.url:
        return fetch_url(source.url if isinstance(source.url, str) else source.url[0])
    raise ConfigError("backbone.weights", IMAGENET, f"none or a path: timm has no pretrained weights for {name}")


def classifier_tensors(source: PretrainedCfg) -> frozenset[str]:
    """Names of the tensors of a timm network's classifier, which the backbone does without."""
    layers = [source.classifier] if isinstance(source.classifier, str) else source.classifier or ()
    return frozenset(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))
