"""Augmentation of whole batches of raw images, on the device where they lie, before the composition.

An augmentation takes and gives a dict from modality to tensor [n, H, W] or [n, H, W, 3], with values on the scale of
the files (0 to 255, metres); what it changes becomes float32 and is not clipped or rounded. It draws from the given
generator, which lives on the images' device, and from nothing else.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from crosslocate.data.images import SKY
from crosslocate.data.tensors import Images, along_rows

SMOOTH = ("photo",)
"""Modalities that may be interpolated; in all others a mean of two pixels means nothing."""


class Augmentation(Protocol):
    """What every augmentation offers."""

    def augment(self, images: Images, generator: Generator) -> Images:
        """Changed copies of the images; what is not changed is passed on."""


class NoAugmentation:
    """Passes images on."""

    def augment(self, images: Images, generator: Generator) -> Images:
        """See `Augmentation`."""
        del generator
        return images


class Chain:
    """Several augmentations, one after the other.

    Args:
        steps: In the order in which they are applied.
    """

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        self.steps = tuple(steps)

    def augment(self, images: Images, generator: Generator) -> Images:
        """See `Augmentation`."""
        for step in self.steps:
            images = step.augment(images, generator)
        return images


class Photometric:
    """Another exposure, contrast, tone curve, white balance and sensor noise for photos; the rest is passed on.

    A pixel x in 0..1 becomes ``g w (m + c (x + t x (1 - x) - m)) + noise`` with gain g, white balance w per channel,
    contrast c about the image's mean colour m, and tone t (a curve like that of gamma, and much cheaper).

    Args:
        gain: Standard deviation of log gain.
        contrast: Standard deviation of contrast about 1.
        tone: Standard deviation of tone about 0.
        white_balance: Standard deviation of the channels' factors about 1.
        noise: Largest standard deviation of noise, on the scale 0..1; that of an image is uniform below it.
    """

    def __init__(self, gain: float, contrast: float, tone: float, white_balance: float, noise: float) -> None:
        self.gain, self.contrast, self.tone = gain, contrast, tone
        self.white_balance, self.noise = white_balance, noise

    def augment(self, images: Images, generator: Generator) -> Images:
        """See `Augmentation`."""
        if "photo" not in images:
            return images
        n, height, width, channels = images["photo"].shape
        photo = images["photo"].to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        square, linear, constant = (along_rows(c, photo) for c in self._curve(photo, generator))
        rows = photo.view(n, height, width * channels)
        rows.mul_(torch.addcmul(linear, rows, square)).add_(constant)
        if self.noise:
            strength = torch.rand(n, 1, 1, generator=generator, device=photo.device) * (255.0 * self.noise)
            rows.addcmul_(shifted_noise(rows.shape, generator), strength)
        return {**images, "photo": photo}

    def _curve(self, photo: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients of x^2, x and 1 by image and channel, each [n, 1, 1, 3], for pixels on the scale 0 to 255."""
        normal = torch.randn(6, len(photo), 1, 1, 1, generator=generator, device=photo.device)
        gain = torch.exp(normal[0] * self.gain) * (
            1.0 + normal[3:].squeeze(-1).permute(1, 2, 3, 0) * self.white_balance
        )
        contrast = 1.0 + normal[1] * self.contrast
        tone = (normal[2] * self.tone).clamp(-0.9, 0.9)
        mean = photo[:, ::4, ::4].mean((1, 2), keepdim=True)
        return -gain * contrast * tone / 255.0, gain * contrast * (1.0 + tone), gain * mean * (1.0 - contrast)


class Geometric:
    """A small shift, zoom, change of aspect and rotation, the same for all modalities of an image.

    Pixels from outside repeat the border. Photos are interpolated; all others take the nearest pixel, so that sky and
    terrain, or two classes, are never mixed.

    Args:
        shift: Largest shift, as a fraction of width and height, uniform.
        zoom: Largest log of the zoom, uniform.
        aspect: Standard deviation of the change of width.
        rotation: Standard deviation in degrees.
    """

    def __init__(self, shift: float, zoom: float, aspect: float, rotation: float) -> None:
        self.shift, self.zoom, self.aspect, self.rotation = shift, zoom, aspect, rotation

    def augment(self, images: Images, generator: Generator) -> Images:
        """See `Augmentation`."""
        first = next(iter(images.values()))
        n, height, width = first.shape[:3]
        matrices = self._matrices(n, height / width, generator, first.device)
        grid = _affine_grid(matrices, height, width)
        return {name: _sample(pixels, grid, name in SMOOTH) for name, pixels in images.items()}

    def _matrices(self, n: int, ratio: float, generator: Generator, device: torch.device) -> Tensor:
        """Maps from output to input coordinates, both -1..1 over the image, float [n, 2, 3]; ``ratio`` is H / W."""
        uniform = torch.rand(3, n, generator=generator, device=device) * 2.0 - 1.0
        normal = torch.randn(2, n, generator=generator, device=device)
        zoom, angle = torch.exp(uniform[2] * self.zoom), normal[1] * math.radians(self.rotation)
        wide = zoom * (1.0 + normal[0] * self.aspect)
        across = torch.stack([wide * angle.cos(), -wide * angle.sin() * ratio, uniform[0] * 2.0 * self.shift], dim=-1)
        down = torch.stack([zoom * angle.sin() / ratio, zoom * angle.cos(), uniform[1] * 2.0 * self.shift], dim=-1)
        return torch.stack([across, down], dim=1)


class DepthNoise:
    """A common factor on all distances of an image, and noise in proportion to distance; the sky stays sky.

    Args:
        factor: Standard deviation of the log of the factor.
        noise: Standard deviation of the noise, as a fraction of the distance.
    """

    def __init__(self, factor: float, noise: float) -> None:
        self.factor, self.noise = factor, noise

    def augment(self, images: Images, generator: Generator) -> Images:
        """See `Augmentation`."""
        if "depth" not in images:
            return images
        depth = images["depth"].float()
        factor = torch.randn(len(depth), 1, 1, generator=generator, device=depth.device).mul_(self.factor).exp_()
        relative = shifted_noise(depth.shape, generator).mul_(self.noise).add_(1.0).clamp_(min=0.0).mul_(factor)
        return {**images, "depth": torch.where(depth < 0, SKY, depth * relative)}


def generator_for(seed: int, stamp: Sequence[int], device: torch.device) -> Generator:
    """The generator of one training batch, from the run's seed and the batch's (epoch, round, position)."""
    state = np.random.SeedSequence([seed, *stamp]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & (2**63 - 1))


def shifted_noise(shape: torch.Size, generator: Generator) -> Tensor:
    """Normal noise, float32 [n, H, W], in which all images share one strip of numbers, each from another start.

    Within an image the numbers are independent. Drawing them for every image would cost more than everything else here.
    """
    n, size = shape[0], shape[1:].numel()
    starts = torch.randint(0, size, (n,), generator=generator, device=generator.device)
    strip = torch.randn(2 * size, generator=generator, device=generator.device)
    return strip.unfold(0, size, 1).index_select(0, starts).view(shape)


def _affine_grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """As `torch.nn.functional.affine_grid` (pixel centres), [n, H, W, 2], in a third of the time."""
    x = torch.linspace(-1.0 + 1.0 / width, 1.0 - 1.0 / width, width, device=matrices.device)
    y = torch.linspace(-1.0 + 1.0 / height, 1.0 - 1.0 / height, height, device=matrices.device)
    by_row = matrices[:, :, 1:2] * y + matrices[:, :, 2:]
    return torch.addcmul(by_row.unsqueeze(-1), matrices[:, :, :1].unsqueeze(-1), x).movedim(1, -1)


def _sample(pixels: Tensor, grid: Tensor, smooth: bool) -> Tensor:
    """Pixels [n, H, W] or [n, H, W, C] at the places of a grid, as float32."""
    planes = pixels.float().unsqueeze(1) if pixels.ndim == 3 else pixels.float().permute(0, 3, 1, 2)
    mode = "bilinear" if smooth else "nearest"
    moved = F.grid_sample(planes, grid, mode=mode, padding_mode="border", align_corners=False)
    return moved.squeeze(1) if pixels.ndim == 3 else moved.permute(0, 2, 3, 1)
