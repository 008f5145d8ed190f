"""Depth and outlines from hits. Land cover segments are in ``landcover``, normals in ``surface``."""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.casting.hits import SKY, Hits


def depth(hits: Hits) -> NDArray[np.float32]:
    """Depth along the ray: metres from the projection centre to the terrain, -1 in the sky, float32 ``[H, W]``."""
    return hits.distance


def axial_depth(hits: Hits) -> NDArray[np.float32]:
    """Depth along the optical axis (z-depth): metres of the ray projected onto the axis, -1 in the sky."""
    axial = np.empty(hits.distance.shape, np.float32)
    _fill_axial(hits.distance, *hits.camera.image_plane(), axial)
    return axial


def silhouettes(hits: Hits, jump: float = 0.1) -> NDArray[np.uint8]:
    """Outlines of terrain against terrain behind it and against the sky: 255 on the nearer side, else 0, ``[H, W]``.

    Args:
        hits: What the camera sees.
        jump: Outlines are pixels with a `hidden_share` above this, in (0, 1): 0.1 marks terrain that hides what lies
            behind it for a tenth of that one's distance.
    """
    return (hidden_share(hits) > np.float32(jump)).view(np.uint8) * np.uint8(255)


def edges(hits: Hits, jump: float = 0.02, full_ratio: float = 10.0) -> NDArray[np.uint8]:
    """Outlines with their strength, ``[H, W]``: 255 along the skyline, 0 where there is none.

    With x the `hidden_share`, terrain behind the outline is 1 / (1 - x) times as far away as the outline. Strength
    grows with the logarithm of this ratio: 254 ln(1 / (1 - x)) / ln(full_ratio), at least 1, at most 254.

    Args:
        hits: What the camera sees.
        jump: Hidden share from which on an outline is drawn, in (0, 1); 0.1 draws the pixels of `silhouettes`.
        full_ratio: Ratio of distances, above 1, that is drawn in full strength.
    """
    strength = np.empty(hits.distance.shape, np.uint8)
    _fill_strength(hidden_share(hits), float(np.float32(jump)), 254.0 / math.log(full_ratio), strength)
    return strength


def hidden_share(hits: Hits) -> NDArray[np.float32]:
    """How much of the distance to what lies behind it a pixel's terrain hides, 0 to 1, infinite before the sky.

    Two neighbours of axial depths z (near) and Z give 1 - z / Z, less what planes through either side explain: the
    inverse of the axial depth of a plane is an affine function of the pixel, however obliquely it is seen. So a far
    slope at a grazing angle hides nothing, a ridge does. Of a pixel's four neighbours the one with the largest share
    counts; the farther side of an outline, and the sky, have 0. float32 ``[H, W]``.
    """
    height, width = hits.distance.shape
    nearness = np.zeros((height + 4, width + 4), np.float32)
    share = np.empty((height, width), np.float32)
    _fill_nearness(axial_depth(hits), nearness)
    _fill_share(nearness, share)
    return share


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_axial(distance: Any, right: Any, up: Any, axial: Any) -> None:
    for v in range(len(up)):
        for u in range(len(right)):
            cosine = np.float32(1.0 / math.sqrt(1.0 + right[u] * right[u] + up[v] * up[v]))
            far = distance[v, u]
            axial[v, u] = np.float32(SKY) if far < 0 else far * cosine


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_nearness(axial: Any, nearness: Any) -> None:
    """Inverse of axial depths, 0 in the sky, with two more rows and columns on every side like those at the border."""
    height, width = axial.shape
    for v in range(height):
        for u in range(width):
            far = axial[v, u]
            nearness[v + 2, u + 2] = np.float32(0) if far < 0 else np.float32(1) / far
        nearness[v + 2, :2], nearness[v + 2, width + 2 :] = nearness[v + 2, 2], nearness[v + 2, width + 1]
    for k in range(2):
        nearness[k], nearness[height + 2 + k] = nearness[2], nearness[height + 1]


@njit(inline="always", error_model="numpy")
def _fall(before: Any, here: Any, there: Any, beyond: Any) -> Any:
    """Share by which a neighbour is less near than planes through (before, here) and (there, beyond) foretell."""
    from_here = np.float32(2) * here - before - there  # how much nearer the plane of this side is at the neighbour
    from_there = here - (np.float32(2) * there - beyond)  # how much nearer this pixel is than the other plane
    share = max(min(from_here, from_there), np.float32(0)) / here
    # The sky has no plane: any terrain beside it is an outline.
    return np.float32(np.inf) if there == 0 else share


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_share(nearness: Any, share: Any) -> None:
    height, width = share.shape
    for v in range(height):
        for u in range(width):
            i, j = v + 2, u + 2
            here = nearness[i, j]
            east = _fall(nearness[i, j - 1], here, nearness[i, j + 1], nearness[i, j + 2])
            west = _fall(nearness[i, j + 1], here, nearness[i, j - 1], nearness[i, j - 2])
            south = _fall(nearness[i - 1, j], here, nearness[i + 1, j], nearness[i + 2, j])
            north = _fall(nearness[i + 1, j], here, nearness[i - 1, j], nearness[i - 2, j])
            most = max(max(east, west), max(south, north))
            share[v, u] = np.float32(0) if here == 0 else most


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_strength(share: Any, jump: float, scale: float, strength: Any) -> None:
    """``scale``: strength per unit of the logarithm of the ratio of distances."""
    height, width = share.shape
    for v in range(height):
        for u in range(width):
            x = share[v, u]
            if x == np.inf:
                strength[v, u] = 255
            elif x > jump:
                ratio = -math.log1p(-min(x, 1.0 - 1e-6))
                strength[v, u] = min(max(np.rint(scale * ratio), 1.0), 254.0)
            else:
                strength[v, u] = 0
