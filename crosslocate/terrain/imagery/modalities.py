"""Depth and silhouettes from hits. Land cover segments are in ``landcover``, normals in ``surface``."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.terrain.casting.raycast import SKY, Hits


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

    The inverse of the axial depth of a plane is an affine function of the pixel, however obliquely it is seen. A pixel
    is an outline where the inverse depth falls to a neighbour (of four) by more than its share ``jump`` beyond
    what a plane through either side explains: a far slope seen at a grazing angle is not an outline, a ridge is.

    Args:
        hits: What the camera sees.
        jump: Share of the inverse depth, in (0, 1): 0.1 marks terrain that is hidden for a tenth of its distance.
    """
    with np.errstate(divide="ignore"):
        nearness = np.where(hits.sky, np.float32(0), 1 / axial_depth(hits))
    across = _falls(nearness, jump) | _falls(nearness[:, ::-1], jump)[:, ::-1]
    down = _falls(nearness.T, jump).T | _falls(nearness.T[:, ::-1], jump)[:, ::-1].T
    return np.where(across | down, np.uint8(255), np.uint8(0))


def _falls(nearness: NDArray[np.float32], jump: float) -> NDArray[np.bool_]:
    """Pixels whose right neighbour is farther than planes through (p-1, p) and through (p+1, p+2) foretell."""
    padded = np.pad(nearness, ((0, 0), (1, 2)), mode="edge")
    before, here, there, beyond = (padded[:, k : k + nearness.shape[1]] for k in range(4))
    from_here = 2 * here - before - there  # how much nearer the plane of this side is at the neighbour
    from_there = here - (2 * there - beyond)  # how much nearer this pixel is than the plane of the other side
    # The sky has no plane: any terrain beside it is an outline.
    return (here > 0) & ((there == 0) | (np.minimum(from_here, from_there) > jump * here))
