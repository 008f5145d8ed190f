"""Noise on distances, and the cheap noise that it is made of."""

import torch
from torch import Generator, Tensor

from crosslocate.data.augmentation import WHOLE, Places
from crosslocate.data.tensors import Images

DEPTHS = ("depth", "depth_plain", "axial_depth")
"""What depth files are read as."""
PART = 4
"""Images that are worked on at a time on a CPU."""


class DepthNoise:
    """A common factor on all distances of an image, and noise in proportion to distance; the sky stays sky.

    Two readings of one image get the same.

    Args:
        factor: Standard deviation of the log of the factor.
        noise: Standard deviation of the noise, as a fraction of the distance.
    """

    def __init__(self, factor: float, noise: float) -> None:
        self.factor, self.noise = factor, noise

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """See `Augmentation`."""
        depths = {name: pixels.float() for name, pixels in images.items() if name in DEPTHS}
        if not depths:
            return images
        first = next(iter(depths.values()))
        normal = torch.randn(places.count(len(first)), 1, 1, generator=generator, device=first.device)
        factor = places.own(normal).mul_(self.factor).exp_()
        noise = ShiftedNoise(first.shape, generator, places)
        made = {name: torch.empty_like(depth) for name, depth in depths.items()}
        for part in parts(first):
            relative = noise.part(part).mul_(self.noise).add_(1.0).clamp_(min=0.0).mul_(factor[part])
            for name, depth in depths.items():
                made[name][part] = torch.where(depth[part] < 0, depth[part], depth[part] * relative)
        return {**images, **made}


class ShiftedNoise:
    """Normal noise in which all images share one strip of numbers, each from another start.

    Within an image the numbers are independent. Drawing them for every image would cost more than everything else here.

    Args:
        shape: Of the images, [n, ...].
        generator: Source of every draw.
        places: Of the images in their batch.
    """

    def __init__(self, shape: torch.Size, generator: Generator, places: Places = WHOLE) -> None:
        self.shape = shape[1:]
        count = (places.count(shape[0]),)
        starts = torch.randint(0, self.shape.numel(), count, generator=generator, device=generator.device)
        self._starts = places.own(starts)
        self._strip = torch.randn(2 * self.shape.numel(), generator=generator, device=generator.device)

    def part(self, part: slice) -> Tensor:
        """Noise of some of the images, float32 [m, ...]."""
        windows = self._strip.unfold(0, self.shape.numel(), 1)
        return windows.index_select(0, self._starts[part]).view(-1, *self.shape)


def parts(images: Tensor) -> list[slice]:
    """Cuts a batch [n, ...] into parts that stay in a CPU's cache, which halves the time of arithmetic on pixels."""
    step = PART if images.device.type == "cpu" else max(1, len(images))
    return [slice(start, start + step) for start in range(0, len(images), step)]
