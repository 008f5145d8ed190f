"""One image file becomes one array: decoding by file type, resizing, and bringing fields of view together.

What an array holds depends on what the image is read as. The modalities of a data set (`MODALITIES`): photographs,
segments and normals are RGB uint8 [H, W, 3], silhouettes and edges gray uint8 [H, W], depth float32 [H, W] in metres
along the ray (axial depth: along the optical axis) with -1.0 for the sky. Their files can also be read in other ways
(`READINGS`), as the reference does: as gray before it is resized, in RGB where there is but gray, or as depth whose sky
is a number like any other.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crosslocate.data import exr, image_header, storage
from crosslocate.errors import ConfigError, DataError

Image = NDArray[Any]

SKY = -1.0
"""Depth of a pixel that sees no terrain."""
UNSEEN = 0.0
"""Depth of a pixel outside the image: neither terrain nor sky is known there."""
MOST_PIXELS = 1 << 27
"""Pixels of an image beyond which no memory is taken for it; such a file is damaged, or meant to do damage."""
WIDEST_FOV = math.radians(179.0)
"""A pinhole image of a wider field of view cannot be brought to another one."""
LUMA = (299.0, 587.0, 114.0)
"""Thousandths of R, G and B in gray (ITU-R BT.601)."""


@dataclass(frozen=True)
class Modality:
    """How images of one kind are read and kept in memory.

    Args:
        channels: Values per pixel; 1 means arrays without a channel axis.
        storage: Type of cached and batched images. Depth is kept as float16: 0.05 % of the distance, up to 65,504 m
            (farther terrain is kept at that), while -1 for the sky is exact.
        fill: Value outside the image where a view of another field of view leaves pixels open: mid-gray in photos,
            `UNSEEN` in depth, black (no class, no slope) in segments and normals, and no edge in
            silhouettes and edges.
        files: Modality whose files are read.
        sky_apart: Whether sky and terrain are never mixed into one number.
    """

    channels: int
    storage: str
    fill: float
    files: str
    sky_apart: bool = False

    @property
    def gray(self) -> bool:
        """Whether it is unrounded brightness, 0 to 255."""
        return not self.metric and self.storage == "float32"

    @property
    def metric(self) -> bool:
        """Whether it is a distance in metres."""
        return self.files in METRIC

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Shape of an image of a size given as (height, width)."""
        return (*size, self.channels) if self.channels > 1 else size


METRIC = ("depth", "axial_depth")
"""Modalities whose files hold metres."""

MODALITIES = {
    "photo": Modality(3, "uint8", 127, "photo"),
    "segments": Modality(3, "uint8", 0, "segments"),
    "silhouettes": Modality(1, "uint8", 0, "silhouettes"),
    "depth": Modality(1, "float16", UNSEEN, "depth", sky_apart=True),
    "axial_depth": Modality(1, "float16", UNSEEN, "axial_depth", sky_apart=True),
    "edges": Modality(1, "uint8", 0, "edges"),
    "normals": Modality(3, "uint8", 0, "normals"),
}
READINGS = {
    "photo_gray": Modality(1, "float32", 127, "photo"),
    "segments_gray": Modality(1, "float32", 0, "segments"),
    "silhouettes_gray": Modality(1, "float32", 0, "silhouettes"),
    "silhouettes_rgb": Modality(3, "uint8", 0, "silhouettes"),
    "depth_plain": Modality(1, "float32", UNSEEN, "depth"),
}
"""Other ways to read the files of a modality: gray (0 to 255, not rounded), RGB, and depth to the last bit."""


def modality(name: str) -> Modality:
    """The modality, or other reading, of a name.

    Raises:
        ConfigError: When there is none.
    """
    found = MODALITIES.get(name) or READINGS.get(name)
    if found is None:
        raise ConfigError("modality", name, [*MODALITIES, *READINGS])
    return found


def read_image(
    path: Path,
    name: str,
    size: tuple[int, int],
    *,
    fov: float = math.nan,
    match_fov: float | None = None,
    aspect: float | None = None,
    content: bytes | Image | None = None,
) -> Image:
    """Decode an image file and bring it to a size, in the type that its modality is kept in.

    Args:
        path: File, which may lie in an archive.
        name: Modality.
        size: (height, width) in pixels.
        fov: Horizontal field of view of the image in radians; used with ``match_fov`` alone.
        match_fov: See `match_field_of_view`; None resizes whatever the field of view.
        aspect: See `match_field_of_view`.
        content: See `decode`.

    Raises:
        DataError: When the file cannot be decoded, or its field of view is wanted and impossible.
    """
    kind, image = modality(name), decode(path, name, content)
    if match_fov is None:
        image = resize(image, size, sky_apart=kind.sky_apart)
    elif 0.0 < fov <= WIDEST_FOV:
        image = match_field_of_view(image, fov, match_fov, size, kind.fill, aspect=aspect, sky_apart=kind.sky_apart)
    else:
        raise DataError(
            f"{path}: its field of view is {math.degrees(fov):g} degrees; "
            f"to be matched it has to be above 0 and at most {math.degrees(WIDEST_FOV):g}"
        )
    if kind.storage == "float16":
        image = np.minimum(image, np.finfo(np.float16).max)
    return image.astype(kind.storage, copy=False)


def decode(path: Path, name: str, content: bytes | Image | None = None) -> Image:
    """Decode an image file as modality ``name``, in the size that it has.

    Args:
        path: File, which may lie in an archive.
        name: Modality.
        content: What the file holds, where it has been read: its bytes, or the image as its own modality decodes
            to; None: it is read.

    Returns:
        uint8 [H, W, 3] RGB, uint8 [H, W], or float32 [H, W] for gray and for depth in metres.

    Raises:
        DataError: When the file is missing, cannot be decoded, or holds impossible depths.
    """
    kind, data = modality(name), storage.read_bytes(path) if content is None else content
    if isinstance(data, np.ndarray):
        return _as_read(data, kind)
    if data.startswith(exr.MAGIC):
        if not kind.metric:
            raise DataError(f"{path}: an OpenEXR file holds depth, not modality '{name}'")
        depth = _checked_depth(path, exr.read_depth(path, data, MOST_PIXELS))
        return np.where(depth < 0, np.float32(SKY), depth) if kind.sky_apart else depth
    if kind.metric:
        raise DataError(f"{path}: not an OpenEXR file; depth is read from OpenEXR only")
    image = _decode_8bit(path, data, max(kind.channels, modality(kind.files).channels))
    return _gray(image) if kind.gray else image


def resize(image: Image, size: tuple[int, int], *, sky_apart: bool = True) -> Image:
    """Resize to (height, width) by pixel area; the aspect ratio is not kept.

    Args:
        image: uint8 or float [h, w] or [h, w, 3].
        size: (height, width).
        sky_apart: In float images, which then are depth, never mix sky and terrain: a pixel is sky when most of its
            area is, otherwise it holds the mean distance of the terrain in its area.
    """
    if image.shape[:2] == size:
        return image
    if image.dtype == np.uint8 or not sky_apart:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    terrain = (image >= 0).astype(np.float32)
    share = cv2.resize(terrain, size[::-1], interpolation=cv2.INTER_AREA)
    total = cv2.resize(image.astype(np.float32) * terrain, size[::-1], interpolation=cv2.INTER_AREA)
    return np.where(share > 0.5, total / np.maximum(share, 0.5), np.float32(SKY))


def match_field_of_view(
    image: Image,
    fov: float,
    to_fov: float,
    size: tuple[int, int],
    fill: float,
    *,
    aspect: float | None = None,
    sky_apart: bool = True,
) -> Image:
    """Redraw a pinhole image so that its pixels cover the same angles as those of a camera of another field of view.

    Both cameras look along the same axis through their image centre. The image is scaled by the ratio of the focal
    lengths in pixels, ``f = width / (2 tan(fov / 2))``, then cropped or padded around the centre.

    Args:
        image: [h, w] or [h, w, 3], of square pixels.
        fov: Its horizontal field of view in radians.
        to_fov: Horizontal field of view in radians of the camera to match.
        size: (height, width) of that camera's image.
        fill: Value of pixels that the image does not cover.
        aspect: Height over width of that camera's image before it was resized to ``size``; None: as in ``size``.
        sky_apart: See `resize`.
    """
    across = (size[1] / math.tan(to_fov / 2)) / (image.shape[1] / math.tan(fov / 2))
    down = across if aspect is None else across * size[0] / (size[1] * aspect)
    image = _crop(image, math.ceil(size[0] / down) + 1, math.ceil(size[1] / across) + 1)
    scaled = max(1, round(image.shape[0] * down)), max(1, round(image.shape[1] * across))
    return _centre(resize(image, scaled, sky_apart=sky_apart), size, fill)


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
    """Decode one of `image_header.KINDS` to 8 bits per channel; EXIF orientation is applied."""
    width, height = image_header.size(path, data)
    if width * height > MOST_PIXELS:
        raise DataError(f"{path}: claims {width} x {height} pixels; at most {MOST_PIXELS} are read")
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded: {error.err}") from None
    if image is None:
        raise DataError(f"{path}: not a complete image file ({len(data)} bytes)")
    return image


def _as_read(image: Image, kind: Modality) -> Image:
    """An image that was decoded as the modality of its file, as another reading of it decodes the file."""
    if kind.gray:
        return _gray(image)
    return np.repeat(image[..., None], kind.channels, axis=-1) if image.ndim == 2 and kind.channels > 1 else image


def _gray(image: Image) -> NDArray[np.float32]:
    """Brightness of uint8 as float32: sums in thousandths are exact, so that only the division rounds."""
    if image.ndim == 2:
        return image.astype(np.float32)
    return cv2.transform(image.astype(np.float32), np.array([LUMA], np.float32)) / np.float32(1000.0)


def _checked_depth(path: Path, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refuse NaN and infinity."""
    if not np.isfinite(depth).all():
        bad = ~np.isfinite(depth)
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{path}: depth at row {row}, column {column} is {depth[row, column]} ({bad.sum()} such pixels); "
            f"allowed: metres, or negative for sky"
        )
    return depth
