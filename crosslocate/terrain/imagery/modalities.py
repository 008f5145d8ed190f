"""Depth and outlines from hits. Land cover segments are in ``landcover``, normals in ``surface``."""

import math

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.casting.hits import SKY, Hits


def depth(hits: Hits) -> NDArray[np.float32]:
    """Depth along the ray: metres from the projection centre to the terrain, -1 in the sky, float32 ``[H, W]``."""
    return hits.distance


def axial_depth(hits: Hits) -> NDArray[np.float32]:
    """Depth along the optical axis (z-depth): metres of the ray projected onto the axis, -1 in the sky."""
    right, up = hits.camera.image_plane()
    cosine = 1.0 / np.sqrt(1.0 + right[None, :] ** 2 + up[:, None] ** 2)
    return np.where(hits.sky, np.float32(SKY), hits.distance * cosine.astype(np.float32))


def silhouettes(hits: Hits, jump: float = 0.1) -> NDArray[np.uint8]:
    """Outlines of terrain against terrain behind it and against the sky: 255 on the nearer side, else 0, ``[H, W]``.

    Args:
        hits: What the camera sees.
        jump: Outlines are pixels with a `hidden_share` above this, in (0, 1): 0.1 marks terrain that hides what lies
            behind it for a tenth of that one's distance.
    """
    return np.where(hidden_share(hits) > jump, np.uint8(255), np.uint8(0))


def edges(hits: Hits, jump: float = 0.02, full_ratio: float = 10.0) -> NDArray[np.uint8]:
    """Outlines with their strength, ``[H, W]``: 255 along the skyline, 0 where there is none.

    With x the `hidden_share`, terrain behind the outline is 1 / (1 - x) times as far away as the outline. Strength
    grows with the logarithm of this ratio: 254 ln(1 / (1 - x)) / ln(full_ratio), at least 1, at most 254.

    Args:
        hits: What the camera sees.
        jump: Hidden share from which on an outline is drawn, in (0, 1); 0.1 draws the pixels of `silhouettes`.
        full_ratio: Ratio of distances, above 1, that is drawn in full strength.
    """
    share = hidden_share(hits)
    ratio = -np.log1p(-np.clip(share, 0.0, 1.0 - 1e-6)) / math.log(full_ratio)
    strength = np.clip(np.round(254.0 * ratio), 1, 254)
    return np.where(np.isinf(share), 255, np.where(share > jump, strength, 0)).astype(np.uint8)


def hidden_share(hits: Hits) -> NDArray[np.float32]:
    """How much of the distance to what lies behind it a pixel's terrain hides, 0 to 1, infinite before the sky.

    Two neighbours of axial depths z (near) and Z give 1 - z / Z, less what planes through either side explain: the
    inverse of the axial depth of a plane is an affine function of the pixel, however obliquely it is seen. So a far
    slope at a grazing angle hides nothing, a ridge does. Of a pixel's four neighbours the one with the largest share
    counts; the farther side of an outline, and the sky, have 0. float32 ``[H, W]``.
    """
    with np.errstate(divide="ignore"):
        nearness = np.where(hits.sky, np.float32(0), 1 / axial_depth(hits))
    across = np.maximum(_falls(nearness), _falls(nearness[:, ::-1])[:, ::-1])
    down = np.maximum(_falls(nearness.T).T, _falls(nearness.T[:, ::-1])[:, ::-1].T)
    return np.maximum(across, down)


def _falls(nearness: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share by which right neighbours are less near than planes through (p-1, p) and through (p+1, p+2) foretell."""
    padded = np.pad(nearness, ((0, 0), (1, 2)), mode="edge")
    before, here, there, beyond = (padded[:, k : k + nearness.shape[1]] for k in range(4))
    from_here = 2 * here - before - there  # how much nearer the plane of this side is at the neighbour
    from_there = here - (2 * there - beyond)  # how much nearer this pixel is than the plane of the other side
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.maximum(np.minimum(from_here, from_there), 0) / here
    # The sky has no plane: any terrain beside it is an outline.
    return np.where(here == 0, np.float32(0), np.where(there == 0, np.float32(np.inf), share))
