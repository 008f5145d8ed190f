"""Raw images of any modality as colours for people."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from numpy.typing import NDArray

from crosslocate.data.images import SKY, UNSEEN, Image
from crosslocate.data.images import modality as kind_of

DEPTHS = LinearSegmentedColormap.from_list("depths", ["#0d2c40", "#14506b", "#2c7f8c", "#63aa97", "#a9cfa0", "#dde3a4"])
"""From near and dark to far and pale, as haze makes mountains look; the sky stays white."""
NEAREST, FARTHEST = 20.0, 30_000.0
"""Range of the depth colours in metres."""
NOTHING = 0.6
"""Gray of pixels outside a padded depth image."""


def depth_colours(depth: Image) -> NDArray[np.float64]:
    """Depth in metres [H, W] by the logarithm of distance, RGB in 0..1 [H, W, 3]; the sky is white."""
    metres = np.asarray(depth, np.float32)
    colours = DEPTHS(LogNorm(NEAREST, FARTHEST, clip=True)(np.maximum(metres, 1.0)))[..., :3]
    colours[metres <= SKY / 2] = 1.0
    colours[metres == UNSEEN] = NOTHING
    return colours


def as_bytes(image: Image, modality: str) -> NDArray[np.uint8]:
    """An image as RGB of 8 bits [H, W, 3]: depth by `depth_colours`, outlines in gray, all others as they are."""
    if kind_of(modality).metric:
        return np.rint(255.0 * depth_colours(image)).astype(np.uint8)
    levels = np.asarray(image, np.uint8)
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=-1)
