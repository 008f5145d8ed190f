"""Casting cameras into terrain: exact intersections of every pixel's ray with the bilinear surface.

The earth is locally the sphere that osculates the WGS84 ellipsoid along each azimuth (Euler's radius of curvature at
the camera), enlarged to R / (1 - k) for refraction with coefficient k. Ground tracks are geodesics of the ellipsoid.
"""

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.geo import geodesic_distance, radii_of_curvature
from crosslocate.terrain.casting import kernels
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.envelope import ring_distances, sector_count
from crosslocate.terrain.casting.hits import SKY, Hits
from crosslocate.terrain.casting.track import GroundTrack, fit_ground_track
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.pyramid import build_pyramid
from crosslocate.terrain.elevation.terrain import Terrain, as_terrain


class RayCaster:
    """Casts cameras into one elevation model.

    Compiled code runs without the GIL, so one caster may be used from several threads. Picklable.

    Args:
        elevation: The terrain, or a single elevation model. Rays pass through cells with a void post (one that is below
            the terrain beyond hits the border of the void) and end at the border of the model.
        refraction: Coefficient k of terrestrial refraction: 0 for straight rays, 0.13 in a standard atmosphere.
        max_distance: Ground distance in metres beyond which nothing is seen.

    Raises:
        TerrainError: k is not in [0, 1) or the distance is not positive.
    """

    def __init__(self, elevation: Dem | Terrain, refraction: float = 0.13, max_distance: float = 100_000.0) -> None:
        if not 0.0 <= refraction < 1.0:
            raise TerrainError(f"refraction is {refraction}; allowed: 0 to below 1 (0.13 in a standard atmosphere)")
        if not 0.0 < max_distance < np.inf:
            raise TerrainError(f"max_distance is {max_distance} m; a positive number is needed")
        self.terrain, self.refraction, self.max_distance = as_terrain(elevation), refraction, max_distance
        dem = self.terrain.layers[0]
        pyramid = build_pyramid(dem.elevation)
        self.arrays = kernels.Terrain(dem.elevation, pyramid.tops, pyramid.offsets, pyramid.widths, pyramid.highest)
        self._rings = ring_distances(max_distance)
        self._last_eye: tuple[tuple[float, float], GroundTrack, NDArray[np.float64]] | None = None

    def cast(self, camera: Camera) -> Hits:
        """Cast every pixel's ray of a camera.

        Raises:
            TerrainError: The camera stands outside the model, in a void, or not above the terrain.
        """
        self._require_clear(camera)
        eye = self.eye(camera.longitude, camera.latitude, camera.elevation)
        distance = np.full((camera.height, camera.width), SKY, np.float32)
        right, up = camera.image_plane()
        if camera.is_level:
            kernels.cast_level(self.arrays, eye, float(camera.yaw), right, up, distance)
        else:
            envelopes = np.empty((sector_count(camera.focal_length), len(self._rings) - 1))
            kernels.cast_rays(self.arrays, eye, camera.axes(), right, up, self._rings, envelopes, distance)
        return Hits(camera, distance, self.terrain, self.refraction)

    def eye(self, longitude: float, latitude: float, elevation: float) -> kernels.Eye:
        """The start of rays at a position; the fitted ground tracks of the last position are kept."""
        last = self._last_eye
        if last is None or last[0] != (longitude, latitude):
            track = fit_ground_track(self.terrain.layers[0], longitude, latitude, self._reach(longitude, latitude))
            curvature = (1.0 - self.refraction) / np.array([float(r) for r in radii_of_curvature(latitude)])
            last = self._last_eye = (longitude, latitude), track, curvature
        _, track, curvature = last
        return kernels.Eye(track.origin, track.coefficients, curvature, float(elevation), track.radius)

    def _reach(self, longitude: float, latitude: float) -> float:
        """Distance to which tracks are followed: the farthest corner of the model, at most ``max_distance``."""
        rows, columns = self.terrain.layers[0].shape
        corners = self.terrain.layers[0].position_of([0, columns - 1, 0, columns - 1], [0, 0, rows - 1, rows - 1])
        return min(float(geodesic_distance(longitude, latitude, *corners).max()), self.max_distance)

    def _require_clear(self, camera: Camera) -> None:
        place = f"camera at ({camera.longitude:.6f}, {camera.latitude:.6f}), elevation {camera.elevation:.2f} m,"
        if not self.terrain.layers[0].contains(camera.longitude, camera.latitude):
            west, south, east, north = self.terrain.layers[0].bounds
            raise TerrainError(
                f"{place} is outside the elevation model: longitude {west:.4f} to {east:.4f}, "
                f"latitude {south:.4f} to {north:.4f}"
            )
        ground = float(self.terrain.layers[0].elevation_at(camera.longitude, camera.latitude))
        if np.isnan(ground):
            raise TerrainError(f"{place} stands in a void of the elevation model")
        if camera.elevation <= ground:
            raise TerrainError(f"{place} is not above the terrain there: {ground:.2f} m")
