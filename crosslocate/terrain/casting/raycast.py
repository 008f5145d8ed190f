"""Casting cameras into terrain: exact intersections of every pixel's ray with the bilinear surface.

The earth is locally the sphere that osculates the WGS84 ellipsoid along each azimuth (Euler's radius of curvature at
the camera), enlarged to R / (1 - k) for refraction with coefficient k. Ground tracks are geodesics of the ellipsoid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.geo import geodesic_distance, radii_of_curvature
from crosslocate.terrain.casting import kernels
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.envelope import ring_distances, sector_count
from crosslocate.terrain.casting.track import GroundTrack, fit_ground_track
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.pyramid import build_pyramid

Image = NDArray[np.float32]

SKY = -1.0
"""Distance in pixels whose ray meets no terrain."""


@dataclass(frozen=True, eq=False)
class Hits:
    """Where the rays of a camera meet the terrain; all images float32 ``[H, W]``.

    Attributes:
        camera: The camera.
        distance: Length of the ray in metres, -1 in the sky.
        ground_distance: Geodesic distance to the point below the hit, metres along the ellipsoid, -1 in the sky.
        column: Raster column of the hit, fractional, integers at posts; NaN in the sky.
        row: Raster row of the hit, likewise.
        elevation: Elevation of the hit in metres, NaN in the sky.
    """

    camera: Camera
    distance: Image
    ground_distance: Image
    column: Image
    row: Image
    elevation: Image

    @property
    def sky(self) -> NDArray[np.bool_]:
        """Pixels that see no terrain."""
        return self.distance < 0


class RayCaster:
    """Casts cameras into one elevation model.

    Compiled code runs without the GIL, so one caster may be used from several threads. Picklable.

    Args:
        dem: The terrain. Rays pass through cells with a void post (one that is below the terrain beyond hits the border
            of the void) and end at the border of the model.
        refraction: Coefficient k of terrestrial refraction: 0 for straight rays, 0.13 in a standard atmosphere.
        max_distance: Ground distance in metres beyond which nothing is seen.

    Raises:
        TerrainError: k is not in [0, 1) or the distance is not positive.
    """

    def __init__(self, dem: Dem, refraction: float = 0.13, max_distance: float = 100_000.0) -> None:
        if not 0.0 <= refraction < 1.0:
            raise TerrainError(f"refraction is {refraction}; allowed: 0 to below 1 (0.13 in a standard atmosphere)")
        if not 0.0 < max_distance < np.inf:
            raise TerrainError(f"max_distance is {max_distance} m; a positive number is needed")
        self.dem, self.refraction, self.max_distance = dem, refraction, max_distance
        pyramid = build_pyramid(dem.elevation)
        self.terrain = kernels.Terrain(dem.elevation, pyramid.tops, pyramid.offsets, pyramid.widths, pyramid.highest)
        self._rings = ring_distances(max_distance)
        self._last_eye: tuple[tuple[float, float], GroundTrack, NDArray[np.float64]] | None = None

    def cast(self, camera: Camera) -> Hits:
        """Cast every pixel's ray of a camera.

        Raises:
            TerrainError: The camera stands outside the model, in a void, or not above the terrain.
        """
        self._require_clear(camera)
        eye = self.eye(camera.longitude, camera.latitude, camera.elevation)
        shape = camera.height, camera.width
        images = tuple(np.full(shape, fill, np.float32) for fill in (SKY, SKY, np.nan, np.nan, np.nan))
        right, up = camera.image_plane()
        if camera.is_level:
            kernels.cast_level(self.terrain, eye, float(camera.yaw), right, up, images)
        else:
            envelopes = np.empty((sector_count(camera.focal_length), len(self._rings) - 1))
            kernels.cast_rays(self.terrain, eye, camera.axes(), right, up, self._rings, envelopes, images)
        return Hits(camera, *images)

    def eye(self, longitude: float, latitude: float, elevation: float) -> kernels.Eye:
        """The start of rays at a position; the fitted ground tracks of the last position are kept."""
        last = self._last_eye
        if last is None or last[0] != (longitude, latitude):
            track = fit_ground_track(self.dem, longitude, latitude, self._reach(longitude, latitude))
            curvature = (1.0 - self.refraction) / np.array([float(r) for r in radii_of_curvature(latitude)])
            last = self._last_eye = (longitude, latitude), track, curvature
        _, track, curvature = last
        return kernels.Eye(track.origin, track.coefficients, curvature, float(elevation), track.radius)

    def _reach(self, longitude: float, latitude: float) -> float:
        """Distance to which tracks are followed: the farthest corner of the model, at most ``max_distance``."""
        rows, columns = self.dem.shape
        corners = self.dem.position_of([0, columns - 1, 0, columns - 1], [0, 0, rows - 1, rows - 1])
        return min(float(geodesic_distance(longitude, latitude, *corners).max()), self.max_distance)

    def _require_clear(self, camera: Camera) -> None:
        place = f"camera at ({camera.longitude:.6f}, {camera.latitude:.6f}), elevation {camera.elevation:.2f} m,"
        if not self.dem.contains(camera.longitude, camera.latitude):
            west, south, east, north = self.dem.bounds
            raise TerrainError(
                f"{place} is outside the elevation model: longitude {west:.4f} to {east:.4f}, "
                f"latitude {south:.4f} to {north:.4f}"
            )
        ground = float(self.dem.elevation_at(camera.longitude, camera.latitude))
        if np.isnan(ground):
            raise TerrainError(f"{place} stands in a void of the elevation model")
        if camera.elevation <= ground:
            raise TerrainError(f"{place} is not above the terrain there: {ground:.2f} m")
