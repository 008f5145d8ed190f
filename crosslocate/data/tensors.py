"""Compositions: what of an image's raw pixels the network sees.

A composition takes raw images as the reader gives them (a dict from modality to a tensor [n, H, W] or [n, H, W, 3], of
any numeric type) and returns float32 [n, C, H, W] on the same device. It names the modalities that it needs and the
number of channels that it makes, so that reader and network follow from it. Colour outputs keep the pixels' memory
order, which is torch's channels-last format.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from crosslocate.data.images import METRIC, MODALITIES, READINGS
from crosslocate.data.images import modality as kind_of
from crosslocate.errors import ConfigError

Images = Mapping[str, Tensor]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in gray (ITU-R BT.601)."""
CELL_WEIGHTS = (1024.0, 32.0, 1.0)
"""Number of a colour of 5 bits per channel; exact in float32, whose matrix product is the fastest way to it."""


class Composition(Protocol):
    """What every composition offers."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that it reads, each once."""

    @property
    def channels(self) -> int:
        """Channels that it makes."""

    def __call__(self, images: Images) -> Tensor:
        """Turn raw images into a network input, float32 [n, channels, H, W]."""


class Rgb:
    """Colours: ``(pixel / 255 - mean) / std``.

    Args:
        modality: ``photo``, ``segments`` or ``normals``; or ``silhouettes_rgb`` (as in CrossLocate), whose channels are
            equal until an augmentation changes their colour.
        mean: Per channel, on a scale of 0 to 1. The defaults fit weights trained on ImageNet.
        std: Per channel. Mean 0 and std 1/255 pass the values 0 to 255 on.
    """

    channels = 3

    def __init__(
        self, modality: str = "photo", mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        self.modalities = (_colour(modality),)
        self._scale = [1.0 / (255.0 * s) for s in std]
        self._offset = [-m / s for m, s in zip(mean, std, strict=True)]

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        pixels = images[self.modalities[0]]
        scaled = scale_channels(pixels.float(), torch.tensor(self._scale), torch.tensor(self._offset))
        return scaled.permute(0, 3, 1, 2)


class Gray:
    """Brightness of a colour image: ``(luma / 255 - mean) / std``.

    Args:
        modality: ``photo`` or ``segments``; or ``photo_gray``, ``segments_gray`` or ``silhouettes_gray``: gray before
            they are resized, and never rounded (as in CrossLocate). An augmentation may give such gray three channels
            that differ: three are passed on as they are, any other number is made of their brightness.
        mean: On a scale of 0 to 1.
        std: Mean 0 and std 1/255 pass the values 0 to 255 on.
        channels: How often the channel is repeated, for networks that expect three.
    """

    def __init__(self, modality: str = "photo", mean: float = 0.449, std: float = 0.226, channels: int = 1) -> None:
        self.modalities = (_bright(modality),)
        self.channels = channels
        self._scale, self._offset = 1.0 / (255.0 * std), mean / std
        self._tinted = kind_of(modality).gray and channels == 3

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        pixels = images[self.modalities[0]].float()
        if pixels.ndim == 4 and self._tinted:
            return (pixels * self._scale - self._offset).permute(0, 3, 1, 2)
        if pixels.ndim == 4:
            pixels = pixels @ torch.tensor(LUMA, device=pixels.device)
        gray = pixels * self._scale - self._offset
        return gray.unsqueeze(1).expand(-1, self.channels, -1, -1)


class SegmentsOneHot:
    """One channel per class of terrain, 1 where the pixel is of the class.

    A pixel belongs to the class with the nearest colour, colours being compared at 5 bits per channel. Black pixels
    (outside a padded image) belong to none, unless black is in the palette.

    Args:
        palette: Colour of every class, [classes, 3], 0 to 255.
    """

    modalities = ("segments",)

    def __init__(self, palette: Sequence[Sequence[int]]) -> None:
        colours = torch.tensor([list(colour) for colour in palette], dtype=torch.float32)
        if colours.ndim != 2 or colours.shape[1] != 3:
            raise ConfigError("modality.palette", palette, "a list of colours [red, green, blue], each 0 to 255")
        self.channels = len(colours)
        self._table = _class_planes(colours)

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        pixels = images["segments"].to(torch.uint8)
        cells = ((pixels >> 3).float() @ torch.tensor(CELL_WEIGHTS, device=pixels.device)).to(torch.int32)
        planes = self._table.to(pixels.device).index_select(0, cells.view(-1))
        return planes.view(*cells.shape, self.channels).permute(0, 3, 1, 2)


class Silhouettes:
    """Edges of the terrain, 0 or 1; or, from 0 to 1, their strength.

    Args:
        channels: How often the channel is repeated, for networks that expect three.
        scale: Value of a full edge.
        modality: ``silhouettes`` or ``edges``.
    """

    def __init__(self, channels: int = 1, scale: float = 1.0, modality: str = "silhouettes") -> None:
        self.channels = channels
        self.modalities = (_one_of(modality, ("silhouettes", "edges"), "Outlines are wanted."),)
        self._scale = scale

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        edges = images[self.modalities[0]].float().mul(self._scale / 255.0)
        return edges.unsqueeze(1).expand(-1, self.channels, -1, -1)


class LogDepth:
    """Two channels: ``(log(max(depth, 1 m)) - 5) / 2.5`` with 0 in the sky, and the sky as 0 or 1.

    Outside a padded image both are 0. The logarithm gives near and far terrain comparable weight; 5 and 2.5 centre and
    scale it for terrain between some metres and tens of kilometres (log 150 m = 5).

    Args:
        modality: ``depth`` or ``axial_depth``.
    """

    channels = 2

    def __init__(self, modality: str = "depth") -> None:
        self.modalities = (_one_of(modality, METRIC, "Distances whose sky is -1 are wanted."),)

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        depth = images[self.modalities[0]].float()
        sky = depth.neg().clamp_(0.0, 1.0)  # exactly 1 or 0, since the sky is exactly -1
        log = depth.clamp(min=1.0).log_().mul_(0.4).sub_(2.0)
        return torch.stack([log.mul_(depth > 0), sky], dim=1)


class MetricDepth:
    """Metres along the ray as they are, -1 in the sky, on equal channels (as CrossLocate feeds depth).

    Args:
        channels: How often the channel is repeated.
        modality: ``depth``; or ``depth_plain``, which keeps every bit and averages the -1 of the sky with its
            neighbours when it is resized (as CrossLocate does).
    """

    def __init__(self, channels: int = 3, modality: str = "depth") -> None:
        self.channels = channels
        self.modalities = (_depth(modality),)

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        return images[self.modalities[0]].float().unsqueeze(1).expand(-1, self.channels, -1, -1)


class Composite:
    """The channels of several compositions, one behind the other.

    Args:
        parts: Compositions, in the order of their channels.
    """

    def __init__(self, parts: Sequence[Composition]) -> None:
        if not parts:
            raise ConfigError("modality.parts", list(parts), "at least one composition")
        self.parts = tuple(parts)
        self.modalities = tuple(dict.fromkeys(name for part in self.parts for name in part.modalities))
        self.channels = sum(part.channels for part in self.parts)

    def __call__(self, images: Images) -> Tensor:
        """See `Composition`."""
        return torch.cat([part(images) for part in self.parts], dim=1)


def scale_channels(pixels: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """``pixels * scale + offset`` for float [n, H, W, C] and factors that broadcast to [n, 1, 1, C].

    Factors are laid out along whole image rows, which is three times as fast as broadcasting over a last axis of three.
    """
    n, height, width, channels = pixels.shape
    rows = pixels.reshape(n, height, width * channels)
    return torch.addcmul(along_rows(offset, pixels), rows, along_rows(scale, pixels)).view(pixels.shape)


def along_rows(factor: Tensor, pixels: Tensor) -> Tensor:
    """A factor per image and channel ([C] or [n, 1, 1, C]) repeated along a row of pixels: [1 or n, 1, W * C]."""
    width, channels = pixels.shape[2:]
    factor = factor.to(pixels.device, pixels.dtype).reshape(-1, 1, 1, factor.shape[-1])
    return factor.expand(-1, 1, width, channels).reshape(len(factor), 1, width * channels)


def _colour(name: str) -> str:
    coloured = [known for known, kind in (MODALITIES | READINGS).items() if kind.channels == 3]
    return _one_of(name, coloured, "Colours are wanted.")


def _bright(name: str) -> str:
    bright = [known for known, kind in (MODALITIES | READINGS).items() if kind.channels == 3 or kind.gray]
    return _one_of(name, bright, "Brightness is wanted.")


def _depth(name: str) -> str:
    distances = [known for known, kind in (MODALITIES | READINGS).items() if kind.metric]
    return _one_of(name, distances, "Distances are wanted.")


def _one_of(name: str, allowed: Sequence[str], hint: str) -> str:
    if name not in allowed:
        raise ConfigError("modality", name, allowed, hint)
    return name


def _class_planes(colours: Tensor) -> Tensor:
    """One-hot class of every colour of 5 bits per channel, [32768, classes]; a class's own colour is always its."""
    steps = torch.arange(32)
    cells = torch.cartesian_prod(steps, steps, steps).float() * 8.0 + 3.5
    known = torch.cat([colours, torch.zeros(1, 3)])
    table = torch.cdist(cells, known).argmin(dim=1)
    own = ((known.to(torch.uint8) >> 3).float() @ torch.tensor(CELL_WEIGHTS)).long()
    for index in reversed(range(len(known))):
        table[own[index]] = index
    return F.one_hot(table, len(known))[:, :-1].float().contiguous()
