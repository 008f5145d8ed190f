"""Framing: small shifts, zooms and rotations of raw images, on the device where they lie."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from crosslocate.data.augmentation import WHOLE, Places
from crosslocate.data.noise import parts
from crosslocate.data.tensors import Images

SMOOTH = ("photo", "photo_gray")
"""Modalities that may be interpolated; in all others a mean of two pixels means nothing."""


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

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """See `Augmentation`."""
        first = next(iter(images.values()))
        height, width = first.shape[1:3]
        matrices = places.own(self._matrices(places.count(len(first)), height / width, generator, first.device))
        moved = {name: torch.empty(p.shape, dtype=torch.float32, device=p.device) for name, p in images.items()}
        for part in parts(first):
            grid = _affine_grid(matrices[part], height, width)
            for name, pixels in images.items():
                moved[name][part] = _sample(pixels[part], grid, name in SMOOTH)
        return moved

    def _matrices(self, n: int, ratio: float, generator: Generator, device: torch.device) -> Tensor:
        """Maps from output to input coordinates, both -1..1 over the image, float [n, 2, 3]; ``ratio`` is H / W."""
        uniform = torch.rand(3, n, generator=generator, device=device) * 2.0 - 1.0
        normal = torch.randn(2, n, generator=generator, device=device)
        zoom, angle = torch.exp(uniform[2] * self.zoom), normal[1] * math.radians(self.rotation)
        wide = zoom * (1.0 + normal[0] * self.aspect)
        across = torch.stack([wide * angle.cos(), -wide * angle.sin() * ratio, uniform[0] * 2.0 * self.shift], dim=-1)
        down = torch.stack([zoom * angle.sin() / ratio, zoom * angle.cos(), uniform[1] * 2.0 * self.shift], dim=-1)
        return torch.stack([across, down], dim=1)


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
