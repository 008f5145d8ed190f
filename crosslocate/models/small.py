"""A small residual network that learns from scratch in minutes on a CPU; the demonstration's backbone."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from crosslocate.models.weights import load_strictly, read_weights, weights_path

PATCH = 4
"""Side in pixels of the squares that the stem folds into channels."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2016), at half the resolution of its input.

    The shortcut averages 2x2 pixels before its 1x1 convolution (the "ResNet-D" of He et al., 2019), so that no pixel
    is thrown away. A map of height h and width w becomes ceil(h / 2) by ceil(w / 2).

    Args:
        in_channels: Channels of the input map.
        out_channels: Channels of the output map.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[n, in_channels, h, w]`` to ``[n, out_channels, ceil(h / 2), ceil(w / 2)]``."""
        return F.relu(self.residual(features) + self.shortcut(features))


class SmallBackbone(nn.Module):
    """Pixel-unshuffle stem and one residual block for each further width.

    The stem folds every 4x4 square of pixels into channels and works at a quarter of the resolution from the first
    convolution on: on a CPU a step takes a third of the time of a strided convolution's, for the same recall.

    Args:
        in_channels: Channels of the input image.
        widths: Channels after the stem and after each residual block; a block halves the resolution.
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels * PATCH**2, widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(narrow, wide) for narrow, wide in pairwise(widths)))

    def forward(self, images: Tensor) -> Tensor:
        """Feature map ``[n, widths[-1], ceil(H / s), ceil(W / s)]``, s = 4 * 2^blocks, of images ``[n, C, H, W]``.

        Sides that are no multiples of 4 are padded with zeros at the right and at the bottom.
        """
        height, width = images.shape[-2:]
        if height % PATCH or width % PATCH:
            images = F.pad(images, (0, -width % PATCH, 0, -height % PATCH))
        return self.blocks(self.stem(fold(images)))


def fold(images: Tensor) -> Tensor:
    """Fold 4x4 squares of pixels into channels: ``[n, C, H, W]`` to ``[n, 16 C, H / 4, W / 4]``, channels last.

    Pixel-unshuffle with the image's channel as the fastest index instead of the slowest: in the channels-last format
    a row of a square then stays in one piece, and the copy takes a few per cent of its time.
    """
    n, channels, height, width = images.shape
    squares = images.permute(0, 2, 3, 1).reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    return squares.transpose(2, 3).flatten(3).permute(0, 3, 1, 2)


def small_backbone(widths: Sequence[int], weights: str | None, *, in_channels: int) -> nn.Module:
    """Build the small network (config target of ``backbone=small``).

    Args:
        widths: Channels after the stem and after each residual block.
        weights: ``none``, or the path of a weights file of this network; there are no ImageNet weights.
        in_channels: Channels of the input image.

    Returns:
        A module from ``[n, in_channels, H, W]`` to ``[n, widths[-1], h, w]``.
    """
    backbone = SmallBackbone(in_channels, widths)
    path = weights_path(weights)
    if path is not None:
        load_strictly(backbone, read_weights(path), str(path))
    return backbone
