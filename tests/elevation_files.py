"""Elevation files as their publishers write them, for tests."""

import numpy as np
import rasterio
from affine import Affine

from crosslocate.terrain.elevation.datum import WGS84_CRS


def write_tiff(path, posts, first, spacing, crs=WGS84_CRS, unit=None, scale=None, offset=None, **profile):
    """A GeoTIFF whose first post (the centre of its first pixel) lies at ``first`` (x, y); rows go south."""
    posts = np.asarray(posts)
    dx, dy = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    corner = Affine(dx, 0.0, first[0] - dx / 2, 0.0, -dy, first[1] + dy / 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=posts.shape[0], width=posts.shape[1], count=1, dtype=posts.dtype, crs=crs,
        transform=corner, **profile,
    ) as file:  # fmt: skip
        file.write(posts, 1)
        if unit is not None:
            file.units = (unit,)
        if scale is not None:
            file.scales = (scale,)
        if offset is not None:
            file.offsets = (offset,)
    return path


def write_hgt(path, posts):
    """An SRTM tile: big-endian 16-bit integers and nothing else; the name says where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.asarray(posts, ">i2").tobytes())
    return path


def hills(shape, seed=0, low=200.0, high=2000.0):
    """Smooth random elevations, float32 [rows, columns], all different from one another in practice."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    total = np.zeros(shape)
    for frequency in (3, 7, 15):
        phase = rng.uniform(0, 2 * np.pi, 2)
        total += np.sin(frequency * x + phase[0]) * np.cos(frequency * y + phase[1]) / frequency
    total = (total - total.min()) / np.ptp(total)
    return (low + (high - low) * total + rng.uniform(0, 1, shape)).astype(np.float32)
