"""From the light that reaches a camera to the bytes it stores: lens, exposure, tone, sensor noise, JPEG."""

import math
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.imagery.appearance import Appearance
from crosslocate.terrain.imagery.noise import gaussians

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709
_BRIGHT = 0.32
_TONE_STEPS = 1024
_TONE_END = 2.0  # linear value at which the tone curve has reached 1


def _tone_table() -> NDArray[np.float64]:
    """The tone curve (extended Reinhard 2002, then gamma 2.2) at equal steps of the root of the linear value."""
    x = _TONE_END * (np.arange(_TONE_STEPS + 2) / _TONE_STEPS) ** 2
    return np.minimum(1.0, x * (1.0 + 0.1 * x) / (1.0 + 0.35 * x)) ** (1.0 / 2.2)


_TONE = _tone_table()


def develop(light: NDArray[np.float32], look: Appearance) -> NDArray[np.uint8]:
    """The 8-bit RGB image [H, W, 3] that a camera makes of linear light [H, W, 3].

    The camera exposes for the logarithmic mean of the picture (``look.exposure`` after its tone curve), as automatic
    cameras do, with all that is brighter than ``_BRIGHT`` counted as that: a sky does not darken the ground.
    """
    blurred = np.asarray(cv2.GaussianBlur(light, (0, 0), look.blur, borderType=cv2.BORDER_REPLICATE), np.float32)
    mean = math.exp(_mean_logarithm(blurred))
    gain = look.exposure**2.2 / mean
    height, width, _ = light.shape
    return _expose(blurred, look, gain, gaussians(height, 3 * width, look.seed))


@njit(nogil=True, cache=True, error_model="numpy")
def _mean_logarithm(light: Any) -> float:
    """Mean of the logarithm of the luminance within limits; row by row, so that no sum gets long."""
    height, width, _ = light.shape
    total = 0.0
    for v in range(height):
        row = 0.0
        for u in range(width):
            luma = light[v, u, 0] * _LUMA[0] + light[v, u, 1] * _LUMA[1] + light[v, u, 2] * _LUMA[2]
            row += math.log(min(max(luma, 1e-3), _BRIGHT))
        total += row
    return total / (height * width)


@njit(nogil=True, cache=True, error_model="numpy")
def _expose(light: Any, look: Appearance, gain: float, grain: Any) -> Any:
    """Vignette, white balance, tone curve, saturation, contrast, and ``grain`` of unit deviation [H, 3 W]."""
    height, width, _ = light.shape
    image = np.empty((height, width, 3), np.uint8)
    reach = 0.25 * (width * width + height * height)
    value = np.empty((3, width))
    for v in range(height):
        dy = v + 0.5 - 0.5 * height
        for k in range(3):
            balance = look.white_balance[k]
            for u in range(width):
                dx = u + 0.5 - 0.5 * width
                shade = gain * (1.0 - look.vignette * (dx * dx + dy * dy) / reach)
                x = max(0.0, light[v, u, k] * shade * balance)
                at = min(math.sqrt(x / _TONE_END), 1.0) * _TONE_STEPS
                step = int(at)
                value[k, u] = _TONE[step] + (at - step) * (_TONE[step + 1] - _TONE[step])
        for u in range(width):
            grey = 0.2126 * value[0, u] + 0.7152 * value[1, u] + 0.0722 * value[2, u]
            for k in range(3):
                x = grey + look.saturation * (value[k, u] - grey)
                x = look.exposure + look.contrast * (x - look.exposure)
                noise = look.grain * grain[v, 3 * u + k] * (0.6 + 0.8 * math.sqrt(max(0.0, x)))
                image[v, u, k] = np.uint8(min(255.0, max(0.0, 255.0 * x + noise + 0.5)))
    return image


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB image; the same image and quality give the same bytes."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise TerrainError(f"OpenCV cannot encode an image of shape {image.shape} as JPEG")
    return bytes(data)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """The RGB image [H, W, 3] that JPEG bytes hold."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
