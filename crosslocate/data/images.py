"""One image file becomes one array: decoding by file type, resizing, and bringing fields of view together.

What an array holds depends on its modality (`MODALITIES`): photographs and segments are RGB uint8 [H, W, 3],
silhouettes gray uint8 [H, W], depth float32 [H, W] in metres along the ray with -1.0 for the sky.

cv2 is never used for OpenEXR: it puts a single channel into the third of three and leaves zeros elsewhere.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from crosslocate.errors import ConfigError, DataError

Image = NDArray[Any]

SKY = -1.0
"""Depth of a pixel that sees no terrain."""
UNSEEN = 0.0
"""Depth of a pixel outside the image: neither terrain nor sky is known there."""
EXR_MAGIC = b"\x76\x2f\x31\x01"
DEPTH_CHANNELS = ("R", "Y", "Z")
"""Names under which a depth channel is looked for, in this order; a file's only channel is taken whatever its name."""


@dataclass(frozen=True)
class Modality:
    """How images of one kind are stored in memory.

    Args:
        channels: Values per pixel; 1 means arrays without a channel axis.
        storage: Type of cached and batched images. Depth is kept as float16: 0.05 % of the distance, up to 65,504 m
            (farther terrain is kept at that), while -1 for the sky is exact.
        fill: Value outside the image where a view of another field of view leaves pixels open: mid-gray in photos,
            `UNSEEN` in depth, black (no class) in segments and no edge in silhouettes.
    """

    channels: int
    storage: str
    fill: float

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Shape of an image of a size given as (height, width)."""
        return (*size, self.channels) if self.channels > 1 else size


MODALITIES = {
    "photo": Modality(3, "uint8", 127),
    "segments": Modality(3, "uint8", 0),
    "silhouettes": Modality(1, "uint8", 0),
    "depth": Modality(1, "float16", UNSEEN),
}


def modality(name: str) -> Modality:
    """The modality of a name.

    Raises:
        ConfigError: When there is no such modality.
    """
    if name not in MODALITIES:
        raise ConfigError("modality", name, MODALITIES)
    return MODALITIES[name]


def decode(path: Path, name: str) -> Image:
    """Decode an image file of modality ``name``, in the size that it has.

    Returns:
        uint8 [H, W, 3] RGB, uint8 [H, W], or for depth float32 [H, W] in metres.

    Raises:
        DataError: When the file is missing, cannot be decoded, or holds impossible depths.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if data.startswith(EXR_MAGIC):
        pixels = _decode_exr(path)
        if name != "depth":
            raise DataError(f"{path}: an OpenEXR file holds depth, not modality '{name}'")
        return _checked_depth(path, pixels)
    if name == "depth":
        raise DataError(f"{path}: not an OpenEXR file; depth is read from OpenEXR only")
    return _decode_8bit(path, data, modality(name).channels)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize to (height, width) by pixel area; the aspect ratio is not kept.

    In depth (float) images sky and terrain are never mixed: a pixel is sky when most of its area is, otherwise it holds
    the mean distance of the terrain in its area.
    """
    if image.shape[:2] == size:
        return image
    if image.dtype == np.uint8:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    terrain = (image >= 0).astype(np.float32)
    share = cv2.resize(terrain, size[::-1], interpolation=cv2.INTER_AREA)
    total = cv2.resize(image.astype(np.float32) * terrain, size[::-1], interpolation=cv2.INTER_AREA)
    return np.where(share > 0.5, total / np.maximum(share, 0.5), np.float32(SKY))


def match_field_of_view(image: Image, fov: float, to_fov: float, size: tuple[int, int], fill: float) -> Image:
    """Redraw a pinhole image so that its pixels cover the same angles as those of a camera of another field of view.

    Both cameras look along the same axis through their image centre. The image is scaled by the ratio of the focal
    lengths in pixels, ``f = width / (2 tan(fov / 2))``, then cropped or padded around the centre.

    Args:
        image: [h, w] or [h, w, 3].
        fov: Its horizontal field of view in radians.
        to_fov: Horizontal field of view in radians of the camera to match.
        size: (height, width) of that camera's image.
        fill: Value of pixels that the image does not cover.
    """
    scale = (size[1] / math.tan(to_fov / 2)) / (image.shape[1] / math.tan(fov / 2))
    image = _crop(image, math.ceil(size[0] / scale) + 1, math.ceil(size[1] / scale) + 1)
    scaled = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    return _centre(resize(image, scaled), size, fill)


def _crop(image: Image, height: int, width: int) -> Image:
    """The central part, at least of the given size and with the same centre; avoids scaling what falls outside."""
    top, left = max(0, (image.shape[0] - height) // 2), max(0, (image.shape[1] - width) // 2)
    return image[top : image.shape[0] - top, left : image.shape[1] - left]


def _centre(image: Image, size: tuple[int, int], fill: float) -> Image:
    """Crop or pad around the centre to (height, width)."""
    canvas = np.full((*size, *image.shape[2:]), fill, image.dtype)
    source, target = [], []
    for have, want in zip(image.shape[:2], size, strict=True):
        length = min(have, want)
        source.append(slice((have - length) // 2, (have - length) // 2 + length))
        target.append(slice((want - length) // 2, (want - length) // 2 + length))
    canvas[tuple(target)] = image[tuple(source)]
    return canvas


def _decode_8bit(path: Path, data: bytes, channels: int) -> Image:
    """Decode JPEG, PNG and what else cv2 knows; EXIF orientation is applied."""
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded: {error.err}") from None
    if image is None:
        raise DataError(f"{path}: not a complete image file ({len(data)} bytes)")
    return image


def _decode_exr(path: Path) -> NDArray[np.float32]:
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be decoded as OpenEXR: {error}") from None
    names = [name for name in DEPTH_CHANNELS if name in channels] or (list(channels) if len(channels) == 1 else [])
    if not names:
        raise DataError(
            f"{path}: channels {', '.join(channels) or 'none'}; "
            f"depth needs one of {', '.join(DEPTH_CHANNELS)}, or a single one"
        )
    return np.asarray(channels[names[0]], np.float32)


def _checked_depth(path: Path, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refuse NaN and infinity, and make every negative value `SKY`."""
    bad = ~np.isfinite(depth)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{path}: depth at row {row}, column {column} is {depth[row, column]} ({bad.sum()} such pixels); "
            f"allowed: metres, or negative for sky"
        )
    return np.where(depth < 0, np.float32(SKY), depth)
