"""The pinhole camera: where it stands, where it looks, and the direction of every pixel's ray."""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels whose optical axis goes through the centre of the image.

    Angles are radians. With yaw, pitch and roll zero the camera looks north, level, with the picture's upper edge up.
    Yaw turns it clockwise seen from above, then pitch tilts it upward, then roll turns it clockwise about the optical
    axis as seen from behind: the horizon of the picture then rises to the right (turns counter-clockwise).

    Attributes:
        longitude: Degrees, WGS84.
        latitude: Degrees, WGS84.
        elevation: Height of the projection centre in metres, in the datum of the elevation model.
        yaw: Heading of the optical axis, clockwise from true north.
        pitch: Angle of the optical axis above the horizontal plane, positive upward.
        roll: Rotation about the optical axis, positive clockwise.
        horizontal_fov: Angle between the left and right edges of the picture, in (0, pi).
        width: Columns of pixels.
        height: Rows of pixels.

    Raises:
        TerrainError: A value is not finite or outside its range; the message names it.
    """

    longitude: float
    latitude: float
    elevation: float
    yaw: float
    pitch: float
    roll: float
    horizontal_fov: float
    width: int
    height: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if not math.isfinite(getattr(self, field.name)):
                raise TerrainError(f"camera {field.name} is {getattr(self, field.name)}; a finite number is needed")
        limits = (("latitude", -90.0, 90.0), ("longitude", -360.0, 360.0), ("pitch", -math.pi / 2, math.pi / 2))
        for name, low, high in limits:
            if not low <= getattr(self, name) <= high:
                raise TerrainError(f"camera {name} is {getattr(self, name)}; allowed: {low:.6g} to {high:.6g}")
        if not 0.0 < self.horizontal_fov < math.pi:
            raise TerrainError(f"camera horizontal_fov is {self.horizontal_fov} rad; allowed: between 0 and pi")
        if self.width < 1 or self.height < 1:
            raise TerrainError(f"camera image is {self.width} x {self.height} pixels; at least 1 x 1 is needed")

    @property
    def focal_length(self) -> float:
        """Distance from the projection centre to the image plane, in pixels."""
        return self.width / 2.0 / math.tan(self.horizontal_fov / 2.0)

    @property
    def is_level(self) -> bool:
        """Whether pitch and roll are zero, so that every image column lies in one vertical plane."""
        return self.pitch == 0.0 and self.roll == 0.0

    def axes(self) -> Floats:
        """Unit vectors to the right, up and forward of the camera as the rows of a 3 x 3 matrix, east-north-up."""
        sin_yaw, cos_yaw = math.sin(self.yaw), math.cos(self.yaw)
        sin_pitch, cos_pitch = math.sin(self.pitch), math.cos(self.pitch)
        sin_roll, cos_roll = math.sin(self.roll), math.cos(self.roll)
        forward = np.array([sin_yaw * cos_pitch, cos_yaw * cos_pitch, sin_pitch])
        level = np.array([cos_yaw, -sin_yaw, 0.0])
        upright = np.array([-sin_yaw * sin_pitch, -cos_yaw * sin_pitch, cos_pitch])
        return np.stack([cos_roll * level - sin_roll * upright, cos_roll * upright + sin_roll * level, forward])

    def image_plane(self) -> tuple[Floats, Floats]:
        """Offsets of the pixel centres from the optical axis at unit focal length: right ``[W]`` and up ``[H]``.

        Pixel (row, column) has its centre at image coordinates (row + 0.5, column + 0.5).
        """
        right = np.arange(0.5, self.width, dtype=np.float64) - self.width / 2.0
        up = self.height / 2.0 - np.arange(0.5, self.height, dtype=np.float64)
        return right / self.focal_length, up / self.focal_length

    def ray_directions(self) -> Floats:
        """Unit vectors of the pixels' rays, east-north-up at the camera, ``[H, W, 3]``."""
        x, y = self.image_plane()
        right, up, forward = self.axes()
        rays = x[None, :, None] * right + y[:, None, None] * up + forward
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def ray_angles(self) -> tuple[Floats, Floats]:
        """Azimuth (clockwise from north, in (-pi, pi]) and elevation angle of every pixel's ray, radians ``[H, W]``."""
        rays = self.ray_directions()
        east, north, up = rays[..., 0], rays[..., 1], rays[..., 2]
        return np.arctan2(east, north), np.arctan2(up, np.hypot(east, north))
