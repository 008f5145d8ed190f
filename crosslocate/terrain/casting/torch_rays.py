"""What rays are marched with: their tracks on the ground, their slopes, and which layers lie along them.

A *strand* is what one march works on: an image column of a level camera, whose pixels it fills from the bottom to the
top, or a single pixel of any other camera. U strands, L layers; everything is float64, strands last, so that
neighbouring strands lie side by side in memory.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.torch_formulas import polynomial
from crosslocate.terrain.casting.track import GroundTrack

STEEPEST = 1e6
"""Slopes are clamped to this, as in ``kernels``."""

NEWTON_STEPS = 5
"""Ground tracks are almost straight: the borders of layers are found to rounding in three or four."""


class Directions(NamedTuple):
    """Where N strands of each of C cameras go, ``[C, N]``: sine and cosine of the azimuth; the rest as in `Strands`."""

    sin: Tensor
    cos: Tensor
    scale: Tensor
    base: Tensor


class Strands(NamedTuple):
    """U strands, for L layers.

    Attributes:
        path: Raster column and row in every layer as polynomials of the ground distance, ``[L, 12, U]``.
        curvature: Inverse of the effective radius of the earth, ``[U]``.
        height: Height of the camera in metres above sea level, ``[U]``.
        scale: Slope of the strand's pixel w is ``rise[w] * scale``, ``[U]``.
        start: Ground distance up to which nothing is met, ``[U]``.
        enter: Ground distance where the track enters each of several layers, ``[L, U]``; infinite where it never does.
        leave: Ground distance where it leaves it again, ``[L, U]``.
        switch: Ground distance from which cells of each layer are finer than asked for, ``[L, U]``: level l is used
            from ``switch * 2**l``.
        base: Index of pixel 0 in the flat image, int64 ``[U]``; that of pixel w is ``base + w * stride``.
    """

    path: Tensor
    curvature: Tensor
    height: Tensor
    scale: Tensor
    start: Tensor
    enter: Tensor
    leave: Tensor
    switch: Tensor
    base: Tensor


class Eyes(NamedTuple):
    """C cameras of one size, on the device.

    Attributes:
        origin: Raster coordinates (column, row) of the cameras in every layer, ``[C, L, 2]``.
        coefficients: Those of their ground tracks, ``[C, L, 2, 20]``.
        curvature: Inverses of the effective radii along the meridian and across it, ``[C, 2]``.
        height: ``[C]``.
        yaw: ``[C]``.
        axes: Right, up and forward, ``[C, 3, 3]``.
        focal: Focal length in pixels, ``[C]``.
        switch: As in `Strands`, ``[C, L]``.
    """

    origin: Tensor
    coefficients: Tensor
    curvature: Tensor
    height: Tensor
    yaw: Tensor
    axes: Tensor
    focal: Tensor
    switch: Tensor


def look(
    cameras: Sequence[Camera],
    tracks: Sequence[Sequence[GroundTrack]],
    refraction: float,
    detail: float | None,
    device: torch.device,
) -> Eyes:
    """Gather what the march needs of cameras; ``tracks`` are those of every layer for each."""
    focal = np.array([camera.focal_length for camera in cameras])
    radii = np.stack(radii_of_curvature([camera.latitude for camera in cameras]), axis=1)
    switch = np.full((len(cameras), len(tracks[0])), np.inf)
    if detail is not None:
        spacing = [[track.spacing for track in row] for row in tracks]
        switch = np.array(spacing) * (focal * detail)[:, None]
    arrays = (
        np.array([[track.origin for track in row] for row in tracks]),
        np.array([[track.coefficients for track in row] for row in tracks]),
        (1.0 - refraction) / radii,
        np.array([camera.elevation for camera in cameras], np.float64),
        np.array([camera.yaw for camera in cameras], np.float64),
        np.array([camera.axes() for camera in cameras]),
        focal,
        switch,
    )
    return Eyes(*(torch.as_tensor(values, dtype=torch.float64, device=device) for values in arrays))


def follow(eyes: Eyes, sin: Tensor, cos: Tensor) -> tuple[Tensor, Tensor]:
    """Paths ``[L, 12, C * N]`` and curvatures of the earth ``[C * N]`` (Euler's formula) of azimuths ``[C, N]``."""
    coefficients = eyes.coefficients.permute(1, 2, 3, 0)[..., None]
    layers, (count, azimuths) = coefficients.shape[0], sin.shape
    path = torch.empty((layers, 2, 6, count, azimuths), dtype=torch.float64, device=sin.device)
    path[:, :, 0] = eyes.origin.permute(1, 2, 0)[..., None]
    powers = [torch.ones_like(cos)]
    first = 0
    for degree in range(1, 6):
        powers.append(powers[-1] * cos)
        total = coefficients[:, :, first + degree]
        for i in range(degree - 1, -1, -1):
            total = total * sin + coefficients[:, :, first + i] * powers[degree - i]
        path[:, :, degree] = total
        first += degree + 1
    meridional, transverse = eyes.curvature[:, :1], eyes.curvature[:, 1:]
    curvature = meridional * cos * cos + transverse * sin * sin
    return path.reshape(layers, 12, count * azimuths), curvature.reshape(-1)


def locate(path: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Raster column and row at ground distance s, and their derivatives by s; ``path`` ``[..., 12, U]``."""
    column, along = polynomial(s, *path[..., :6, :].unbind(-2))
    row, down = polynomial(s, *path[..., 6:, :].unbind(-2))
    return column, row, along, down


def borders(path: Tensor, shapes: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Ground distances where tracks enter and leave the rectangles of the layers, ``[L, U]`` each.

    Args:
        path: ``[L, 12, U]``.
        shapes: Rows and columns of posts of the layers, ``[L, 2]``.
        reach: Distance in metres to which the paths are known.
    """
    last_row, last_column = (shapes[:, k, None].double() - 1.0 for k in (0, 1))

    def crossings(s: Tensor) -> tuple[Tensor, Tensor]:
        column, row, along, down = locate(path, s)
        near, far = [], []
        for place, speed, last in ((column, along, last_column), (row, down, last_row)):
            speed = torch.where(speed.abs() < 1e-30, torch.full_like(speed, 1e-30), speed)
            to_first, to_last = -place / speed, (last - place) / speed
            near.append(torch.minimum(to_first, to_last))
            far.append(torch.maximum(to_first, to_last))
        return torch.maximum(*near), torch.minimum(*far)

    enter = torch.zeros((path.shape[0], path.shape[2]), dtype=torch.float64, device=path.device)
    column, row = path[:, 0], path[:, 6]
    if not bool(((column >= 0) & (column < last_column) & (row >= 0) & (row < last_row)).all()):
        for _ in range(NEWTON_STEPS):
            enter = (enter + crossings(enter)[0]).clamp(0.0, reach)
    leave = enter
    for _ in range(NEWTON_STEPS):
        leave = (leave + crossings(leave)[1]).clamp(0.0, reach)
    column, row, _, _ = locate(path, 0.5 * (enter + leave))
    crossed = (leave > enter) & (column > 0) & (column < last_column) & (row > 0) & (row < last_row)
    nowhere = torch.full_like(enter, torch.inf)
    return torch.where(crossed, enter, nowhere), torch.where(crossed, leave, nowhere)


def column_strands(eyes: Eyes, width: int, height: int, shapes: Tensor, reach: float) -> Strands:
    """A strand for every column of level cameras."""
    count, device = len(eyes.height), eyes.height.device
    right = (torch.arange(width, dtype=torch.float64, device=device) + 0.5 - width / 2.0) / eyes.focal[:, None]
    azimuth = eyes.yaw[:, None] + torch.atan(right)
    scale = 1.0 / (eyes.focal[:, None] * torch.sqrt(1.0 + right * right))
    base = torch.arange(count, device=device)[:, None] * (width * height) + torch.arange(width, device=device)
    start = torch.zeros_like(scale)
    return strands_of(eyes, Directions(torch.sin(azimuth), torch.cos(azimuth), scale, base), start, shapes, reach)


def pixel_directions(eyes: Eyes, width: int, height: int, rows: range) -> Directions:
    """Directions of the pixels in some rows of pixels of cameras of any pose; ``scale`` is the slope itself."""
    count, device = len(eyes.height), eyes.height.device
    column = torch.arange(width, device=device)
    row = torch.arange(rows.start, rows.stop, device=device)
    right, up = column.double() + 0.5 - width / 2.0, height / 2.0 - row.double() - 0.5
    across, above, ahead = (eyes.axes[:, k, :, None, None] for k in range(3))
    focal = eyes.focal[:, None, None, None]
    rays = ahead + above * (up[:, None] / focal) + across * (right / focal)  # [C, 3, rows, W]
    east, north, upward = rays.reshape(count, 3, -1).unbind(1)
    level = torch.sqrt(east * east + north * north).clamp_(min=1e-12)
    slope = (upward / level).clamp_(-STEEPEST, STEEPEST)
    base = torch.arange(count, device=device)[:, None, None] * (width * height) + row[:, None] * width + column
    return Directions(east / level, north / level, slope, base.reshape(count, -1))


def strands_of(eyes: Eyes, directions: Directions, start: Tensor, shapes: Tensor, reach: float) -> Strands:
    """Strands ``[C * N]`` of directions that start their march at some distances ``[C, N]``."""
    path, curvature = follow(eyes, directions.sin, directions.cos)
    if len(shapes) > 1:
        enter, leave = borders(path, shapes, reach)
    else:  # a march looks itself whether it leaves the only layer
        enter, leave = torch.zeros_like(path[:, 0]), torch.full_like(path[:, 0], torch.inf)
    each = directions.sin.shape[1]
    switch = eyes.switch.T.repeat_interleave(each, dim=1)
    height = eyes.height.repeat_interleave(each)
    scale, base = directions.scale.reshape(-1), directions.base.reshape(-1)
    return Strands(path, curvature, height, scale, start.reshape(-1), enter, leave, switch, base)
