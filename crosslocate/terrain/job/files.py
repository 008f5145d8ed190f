"""Image files: bytes of each format, the same for the same pixels; and what to say when they cannot be written."""

import errno
import io
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from crosslocate.errors import TerrainError

DEPTH_CHANNEL = "Y"
"""Name of the channel of a depth EXR: the luminance channel, which every viewer shows as gray."""
HALF_LIMIT = 65504.0
"""Largest finite value of a 16-bit float."""


def rounded_depth(values: NDArray[np.floating], dtype: type[np.floating]) -> NDArray[np.floating]:
    """Depths [H, W] in the type they are stored in: half (11 significant bits) or float.

    A half ends at `HALF_LIMIT`: what is farther is stored as if it were there.
    """
    return (np.minimum(values, HALF_LIMIT) if dtype is np.float16 else values).astype(dtype)


def encode_exr(values: NDArray[np.floating], dtype: type[np.floating] = np.float16) -> bytes:
    """One-channel EXR of depths [H, W], stored as half or float."""
    return encode_channels({DEPTH_CHANNEL: rounded_depth(values, dtype)}, {})


def encode_channels(channels: Mapping[str, NDArray[np.floating]], attributes: Mapping[str, float]) -> bytes:
    """EXR (ZIP compression) of several channels [H, W] and numbers for its header, which keeps single precision."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    stream = io.BytesIO()
    with OpenEXR.File(header, {name: np.ascontiguousarray(values) for name, values in channels.items()}) as file:
        file.write(stream)
    return stream.getvalue()


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """PNG of a gray image [H, W] or an RGB image [H, W, 3]."""
    done, data = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise TerrainError(f"OpenCV cannot encode an image of shape {image.shape} as PNG")
    return bytes(data)


def refuse_write(path: Path, error: OSError) -> TerrainError:
    """The error to raise when ``path`` cannot be written: what happened, what is kept, what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = "the disk is full" if full else str(error)
    remedy = "make room" if full else "mend this"
    return TerrainError(
        f"cannot write {path}: {reason}. Every image finished so far is kept; {remedy} and start the same command again"
    )
