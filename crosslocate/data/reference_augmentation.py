"""CrossLocate's augmentation: every operation with a probability of one half, its magnitude an integer.

Order, probabilities and magnitudes are the reference's, with what never worked put right:

* depth gets neither light nor noise and keeps its distances (the reference wraps them modulo 256);
* a contrast range such as 58 % is no error, nor is a blur of 0;
* every draw comes from the batch's generator, noise included, so a run can be repeated.

Kept: negative hues stop at 0, noise only brightens, and gray that gets light is truncated to 8 bits on three equal
channels, which are then treated as any colour. Images come mirrored already (`crosslocate.data.mirror`), while the
reference mirrors after the rotation; that being about (W / 2, H / 2), mirrored images differ by up to 0.09 pixels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from crosslocate.data import reference_operations as operations
from crosslocate.data.augmentation import WHOLE, Places
from crosslocate.data.images import modality
from crosslocate.data.tensors import Images

Image = NDArray[Any]


@dataclass(frozen=True)
class Magnitudes:
    """What one image gets; None and False: not at all.

    Args:
        shift: Pixels to the right and down.
        rotation: Degrees, counter-clockwise.
        flip: Left for right, between rotation and brightness.
        brightness: Added to V.
        hue: Units of 2 degrees.
        saturation: Added to S.
        contrast: Percent.
        blur: Standard deviation in pixels.
        noise: Seed and standard deviation of the noise.
    """

    shift: tuple[int, int] | None = None
    rotation: int | None = None
    flip: bool = False
    brightness: int | None = None
    hue: int | None = None
    saturation: int | None = None
    contrast: int | None = None
    blur: float | None = None
    noise: tuple[int, float] | None = None

    def apply(self, image: Image) -> Image:
        """A changed copy of an image [H, W] or [H, W, 3]; of one that has not 8 bits, only the geometry changes."""
        image = self._moved(image)
        return self._lit(image) if image.dtype == np.uint8 else image

    def _moved(self, image: Image) -> Image:
        if self.shift is not None:
            image = operations.shift(image, *self.shift)
        if self.rotation is not None:
            image = operations.rotate(image, self.rotation)
        return operations.flip(image) if self.flip else image

    def _lit(self, image: Image) -> Image:
        if self.brightness is not None:
            image = operations.add_brightness(image, self.brightness)
        if self.hue is not None:
            image = operations.add_hue(image, self.hue)
        if self.saturation is not None:
            image = operations.add_saturation(image, self.saturation)
        if self.contrast is not None:
            image = operations.scale_contrast(image, self.contrast)
        if self.blur is not None:
            image = operations.blur(image, self.blur)
        if self.noise is not None:
            seed, deviation = self.noise
            image = operations.add_noise(image, operations.draw_noise(image.shape, deviation, seed))
        return image


class CrossLocateAugmentation:
    """Draws magnitudes for every image, all modalities of an image alike, and applies them on the CPU.

    As in the reference, renderings (segments, silhouettes) get another light like photographs do, and all are
    interpolated bilinearly, with 0 for what comes in. Readings as gray (``photo_gray`` and its like) come out with
    three channels when there is light to be drawn: saturation tints gray, and noise is that of every channel.
    ``silhouettes``, of one channel, have no colour to change; ``silhouettes_rgb`` have.

    Args:
        shift: Largest shifts as fractions of width and height, cut to whole pixels.
        rotation: Largest rotation in whole degrees.
        brightness: Largest change of V.
        hue: Largest change of hue, in units of 2 degrees.
        saturation: Largest change of S.
        contrast: Largest change of contrast, as a fraction in whole percent.
        blur: Largest standard deviation, as a fraction of the width.
        noise: Standard deviation of noise, on the scale 0 to 255.
        probability: Of every operation; an operation whose largest magnitude is 0 does not take place.
    """

    def __init__(
        self,
        shift: Sequence[float],
        rotation: int,
        brightness: int,
        hue: int,
        saturation: int,
        contrast: float,
        blur: float,
        noise: float,
        probability: float,
    ) -> None:
        self.shift, self.rotation = tuple(shift), rotation
        self.brightness, self.hue, self.saturation = brightness, hue, saturation
        self.contrast, self.blur, self.noise, self.probability = round(100 * contrast), blur, noise, probability

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """See `crosslocate.data.augmentation.Augmentation`; without light and noise, images are moved as float32."""
        first = next(iter(images.values()))
        seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
        rng = np.random.default_rng(int(seed))
        drawn = [self.draw(first.shape[1], first.shape[2], rng) for _ in range(places.count(len(first)))]
        if places.rows is not None:
            drawn = [drawn[row] for row in places.rows.tolist()]
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as threads:
            return {name: self._apply(drawn, name, pixels, threads) for name, pixels in images.items()}

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Magnitudes:
        """Magnitudes for one image of a size in pixels."""
        across, down = int(width * self.shift[0]), int(height * self.shift[1])
        integer = partial(_integer, rng)
        chosen = rng.random(8) < self.probability
        return Magnitudes(
            shift=(integer(across), integer(down)) if chosen[0] and (across or down) else None,
            rotation=integer(self.rotation) if chosen[1] and self.rotation else None,
            brightness=integer(self.brightness) if chosen[2] and self.brightness else None,
            hue=integer(self.hue) if chosen[3] and self.hue else None,
            saturation=integer(self.saturation) if chosen[4] and self.saturation else None,
            contrast=100 + integer(self.contrast) if chosen[5] and self.contrast else None,
            blur=float(rng.uniform(0.0, self.blur * width)) if chosen[6] and self.blur else None,
            noise=(int(rng.integers(1, 2**31)), self.noise) if chosen[7] and self.noise else None,
        )

    def _apply(self, drawn: Sequence[Magnitudes], name: str, pixels: Tensor, threads: ThreadPoolExecutor) -> Tensor:
        lit = any((self.brightness, self.hue, self.saturation, self.contrast, self.blur, self.noise))
        images = pixels.numpy(force=True)
        if lit and images.ndim == 3 and modality(name).gray:
            images = np.repeat(np.clip(images, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        elif not lit or images.dtype != np.uint8:
            images = images.astype(np.float32)
        made = np.empty_like(images)

        def one(index: int) -> None:
            made[index] = drawn[index].apply(images[index])

        list(threads.map(one, range(len(drawn))))
        return torch.from_numpy(made).to(pixels.device)


def _integer(rng: np.random.Generator, largest: int) -> int:
    """Uniform from -largest to largest, both included."""
    return int(rng.integers(-largest, largest, endpoint=True))
