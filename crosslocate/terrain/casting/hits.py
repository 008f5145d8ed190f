"""Where the rays of a camera meet the terrain: measured as ray lengths, everything else follows from these."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.track import fit_ground_track
from crosslocate.terrain.elevation.terrain import Terrain

Image = NDArray[np.float32]
Floats = NDArray[np.float64]

SKY = -1.0
"""Distance in pixels whose ray meets no terrain."""


@dataclass(frozen=True, eq=False)
class Hits:
    """Ray lengths of a camera, and where on the ground they end.

    Attributes:
        camera: The camera.
        distance: Length of the ray in metres, -1 in the sky, float32 ``[H, W]``.
        terrain: What was hit.
        refraction: Coefficient k with which rays were cast.
    """

    camera: Camera
    distance: Image
    terrain: Terrain
    refraction: float

    @cached_property
    def sky(self) -> NDArray[np.bool_]:
        """Pixels that see no terrain, ``[H, W]``."""
        return self.distance < 0

    @cached_property
    def azimuth(self) -> Floats:
        """Heading of the rays at the camera in radians, clockwise from north, ``[H, W]``."""
        return self.camera.ray_angles()[0]

    @cached_property
    def ground_distance(self) -> Floats:
        """Geodesic distance to the point below the hit, metres along the ellipsoid, -1 in the sky, ``[H, W]``."""
        radius, outward, rise = self._in_plane
        return np.where(self.sky, SKY, radius * np.arctan2(outward, radius + rise))

    @cached_property
    def elevation(self) -> Floats:
        """Elevation of the hit in metres, NaN in the sky, ``[H, W]``."""
        # from h (h + 2 R) = outward^2 + (R + rise)^2 - R^2: no difference of large numbers, however large R is
        radius, outward, rise = self._in_plane
        distance = np.hypot(outward, radius + rise)
        return np.where(self.sky, np.nan, (outward**2 + rise * (2 * radius + rise)) / (radius + distance))

    def pixel(self, layer: int = 0) -> tuple[Floats, Floats]:
        """Raster coordinates (column, row) of the hits in a layer of the terrain, NaN in the sky, ``[H, W]`` each.

        They may lie outside the layer, where another one was hit.
        """
        return self._pixels[layer]

    @cached_property
    def _in_plane(self) -> tuple[Floats, Floats, Floats]:
        """In the vertical plane of each ray: radius of the earth, hit outward and above sea level at the camera."""
        azimuth, angle = self.camera.ray_angles()
        meridional, transverse = radii_of_curvature(self.camera.latitude)
        curvature = np.cos(azimuth) ** 2 / meridional + np.sin(azimuth) ** 2 / transverse
        radius = 1.0 / curvature / (1.0 - self.refraction)
        length = np.where(self.sky, 0.0, self.distance)
        return radius, length * np.cos(angle), self.camera.elevation + length * np.sin(angle)

    @cached_property
    def _pixels(self) -> list[tuple[Floats, Floats]]:
        return [self._on(layer) for layer in range(len(self.terrain.layers))]

    def _on(self, layer: int) -> tuple[Floats, Floats]:
        dem, camera = self.terrain.layers[layer], self.camera
        reach = max(float(self.ground_distance.max()), 1.0)
        track = fit_ground_track(dem, camera.longitude, camera.latitude, reach)
        ground = np.where(self.sky, np.nan, self.ground_distance)
        return track.positions(self.azimuth, ground)
