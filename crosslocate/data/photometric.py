"""Another light for photos: exposure, contrast, colours, sharpness and sensor noise, on the device where they lie."""

import math
from dataclasses import dataclass

import cv2
import torch
from torch import Generator, Tensor

from crosslocate.data.augmentation import WHOLE, Places
from crosslocate.data.noise import ShiftedNoise, parts
from crosslocate.data.tensors import LUMA, Images, along_rows

PHOTOS = ("photo", "photo_gray")
"""What photos are read as."""


@dataclass(frozen=True)
class _Light:
    """What was drawn for the images of a batch; None: nothing.

    Args:
        curve: Standard normal numbers of gain, contrast, tone and the three channels, [6, n, 1, 1, 1].
        colours: Matrices of hue and saturation, [n, 3, 3].
        blur: Standard deviation in pixels, [n].
        noise: Standard deviation on the scale 0 to 255, [n, 1, 1].
    """

    curve: Tensor | None
    colours: Tensor | None
    blur: Tensor | None
    noise: Tensor | None


class Photometric:
    """Another exposure, contrast, tone curve, white balance, hue, saturation, blur and noise for photos.

    A pixel x in 0..1 becomes ``g w (m + c (x + t x (1 - x) - m))`` with gain g, white balance w per channel, contrast c
    about the image's mean colour m, and tone t (a curve like that of gamma, and much cheaper). Then colours turn about
    the gray axis by the hue and move away from it by the saturation, in the luma and chroma of BT.601: luma stays, and
    there is no end at which hues pile up. Then come a Gaussian blur and noise of mean 0.

    Photos that were read as gray get the same gain, contrast, tone and blur, and noise of the same strength, but
    nothing of what is about colours. Values are neither clipped nor rounded. What is 0 costs nothing and draws nothing.
    Other modalities are passed on.

    Args:
        gain: Standard deviation of log gain.
        contrast: Standard deviation of contrast about 1.
        tone: Standard deviation of tone about 0.
        white_balance: Standard deviation of the channels' factors about 1.
        hue: Standard deviation of the turn of hues, in degrees.
        saturation: Standard deviation of saturation about 1.
        blur: Largest standard deviation of the blur as a fraction of the width; that of an image is uniform below it.
        noise: Largest standard deviation of noise, on the scale 0..1; that of an image is uniform below it.
    """

    def __init__(
        self,
        gain: float,
        contrast: float,
        tone: float,
        white_balance: float,
        hue: float,
        saturation: float,
        blur: float,
        noise: float,
    ) -> None:
        self.gain, self.contrast, self.tone = gain, contrast, tone
        self.white_balance, self.hue, self.saturation = white_balance, hue, saturation
        self.blur, self.noise = blur, noise

    def augment(self, images: Images, generator: Generator, places: Places = WHOLE) -> Images:
        """See `crosslocate.data.augmentation.Augmentation`."""
        photos = {name: pixels for name, pixels in images.items() if name in PHOTOS}
        if not photos:
            return images
        light = self._draw(next(iter(photos.values())), generator, places)
        return {**images, **{name: self._lit(pixels, light, generator, places) for name, pixels in photos.items()}}

    def _draw(self, raw: Tensor, generator: Generator, places: Places) -> _Light:
        n, width, device = places.count(len(raw)), raw.shape[2], raw.device
        curve = torch.randn(6, n, 1, 1, 1, generator=generator, device=device) if self._curved else None
        colours = self._colours(n, generator) if self.hue or self.saturation else None
        sigma = torch.rand(n, generator=generator, device=device) * (self.blur * width) if self.blur else None
        strength = (
            torch.rand(n, 1, 1, generator=generator, device=device) * (255.0 * self.noise) if self.noise else None
        )
        return _Light(
            None if curve is None else places.own(curve, axis=1),
            *(None if drawn is None else places.own(drawn) for drawn in (colours, sigma, strength)),
        )

    def _lit(self, raw: Tensor, light: _Light, generator: Generator, places: Places) -> Tensor:
        if raw.ndim == 3:
            return self._lit(raw.unsqueeze(-1), light, generator, places).squeeze(-1)
        noise = ShiftedNoise(_rows(raw).shape, generator, places) if light.noise is not None else None
        made = torch.empty(raw.shape, dtype=torch.float32, device=raw.device)
        for part in parts(raw):
            photo = raw[part].to(torch.float32, copy=True, memory_format=torch.contiguous_format)
            if light.curve is not None:
                square, linear, constant = (along_rows(c, photo) for c in self._curve(photo, light.curve[:, part]))
                rows = _rows(photo)
                rows.mul_(torch.addcmul(linear, rows, square)).add_(constant)
            if light.colours is not None and photo.shape[-1] > 1:
                photo = torch.bmm(photo.flatten(1, 2), light.colours[part]).view(photo.shape)
            if light.blur is not None:
                photo = blurred(photo, light.blur[part], self.blur * raw.shape[2])
            if noise is not None and light.noise is not None:
                _rows(photo).addcmul_(noise.part(part), light.noise[part])
            made[part] = photo
        return made

    @property
    def _curved(self) -> bool:
        return any((self.gain, self.contrast, self.tone, self.white_balance))

    def _curve(self, photo: Tensor, normal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients of x^2, x and 1 by image and channel, each [n, 1, 1, C], for pixels on the scale 0 to 255."""
        gain = torch.exp(normal[0] * self.gain)
        if photo.shape[-1] > 1:
            gain = gain * (1.0 + normal[3:].squeeze(-1).permute(1, 2, 3, 0) * self.white_balance)
        contrast = 1.0 + normal[1] * self.contrast
        tone = (normal[2] * self.tone).clamp(-0.9, 0.9)
        mean = photo[:, ::4, ::4].mean((1, 2), keepdim=True)
        return -gain * contrast * tone / 255.0, gain * contrast * (1.0 + tone), gain * mean * (1.0 - contrast)

    def _colours(self, n: int, generator: Generator) -> Tensor:
        """Matrices [n, 3, 3] by which pixels (as rows) get another hue and saturation."""
        normal = torch.randn(2, n, generator=generator, device=generator.device)
        angle, amount = normal[0] * math.radians(self.hue), (1.0 + normal[1] * self.saturation).clamp_(min=0.0)
        cosine, sine = amount * angle.cos(), amount * angle.sin()
        chroma = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
        there, back = (torch.tensor(m, device=generator.device) for m in CHROMA_BASES)
        luma = torch.tensor(LUMA, device=generator.device)
        return luma.unsqueeze(1).expand(3, 3) + there @ chroma @ back


def _rows(photo: Tensor) -> Tensor:
    """A view [n, H, W * C] of images [n, H, W, C]: whole rows are worked on three times as fast as axes of three."""
    return photo.view(*photo.shape[:2], -1) if len(photo) else photo.flatten(2)


def _chroma_bases() -> tuple[list[list[float]], list[list[float]]]:
    """Colour minus luma in an orthonormal basis of the plane of opposite colours: RGB rows to chroma, and back.

    The plane is that of luma 0; vectors across the gray axis make its basis, moved along that axis into the plane.
    """
    u = [2 / math.sqrt(6), -1 / math.sqrt(6), -1 / math.sqrt(6)]
    v = [0.0, 1 / math.sqrt(2), -1 / math.sqrt(2)]
    back = [[x - sum(a * b for a, b in zip(LUMA, axis, strict=True)) for x in axis] for axis in (u, v)]
    return [list(pair) for pair in zip(u, v, strict=True)], back


CHROMA_BASES = _chroma_bases()


def blurred(photo: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Images [n, H, W, C] under a Gaussian each, the border repeated; cut off at three of the largest deviation.

    On a CPU this is OpenCV's, seven times as fast as arithmetic on whole batches; the values are the same.

    Args:
        photo: float32, contiguous.
        sigma: Standard deviation of each in pixels [n].
        largest: What no sigma exceeds.
    """
    reach = max(1, math.ceil(3.0 * largest))
    sigma = sigma.clamp(min=1e-3)
    if photo.device.type != "cpu":
        return gaussian(photo, sigma, reach)
    made = torch.empty_like(photo)
    for source, target, deviation in zip(photo.numpy(), made.numpy(), sigma.tolist(), strict=True):
        size = (2 * reach + 1, 2 * reach + 1)
        cv2.GaussianBlur(source, size, deviation, dst=target, borderType=cv2.BORDER_REPLICATE)
    return made


def gaussian(photo: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """As `blurred`, on any device, with ``reach`` pixels to each side."""
    weights = torch.exp(-0.5 * (torch.arange(reach + 1, device=photo.device) / sigma.unsqueeze(1)).square())
    weights = weights / (2.0 * weights.sum(1, keepdim=True) - weights[:, :1])
    for axis in (1, 2):
        length = photo.shape[axis]
        first, last = photo.narrow(axis, 0, 1), photo.narrow(axis, length - 1, 1)
        padded = torch.cat([*[first] * reach, photo, *[last] * reach], dim=axis)
        photo = photo * weights[:, 0].view(-1, 1, 1, 1)
        for k in range(1, reach + 1):
            both = padded.narrow(axis, reach - k, length) + padded.narrow(axis, reach + k, length)
            photo.addcmul_(both, weights[:, k].view(-1, 1, 1, 1))
    return photo
