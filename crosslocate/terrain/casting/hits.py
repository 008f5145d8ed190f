"""Where the rays of a camera meet the terrain: measured as ray lengths, everything else follows from these."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.geo import destination, radii_of_curvature
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.track import fit_ground_track, fit_track
from crosslocate.terrain.elevation.terrain import Terrain

Image = NDArray[np.float32]
Floats = NDArray[np.float64]

SKY = -1.0
"""Distance in pixels whose ray meets no terrain."""

CENTIMETRE = 9e-8
"""Degrees of latitude."""


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
    def east(self) -> Floats:
        """Azimuthal equidistant coordinate of the hits, metres east of the camera, NaN in the sky, ``[H, W]``."""
        return self._offsets[0]

    @cached_property
    def north(self) -> Floats:
        """Azimuthal equidistant coordinate of the hits, metres north of the camera, NaN in the sky, ``[H, W]``."""
        return self._offsets[1]

    @cached_property
    def longitude(self) -> Floats:
        """Degrees, in [-180, 180), NaN in the sky, to a centimetre, ``[H, W]``."""
        return self._positions[0]

    @cached_property
    def latitude(self) -> Floats:
        """Degrees, NaN in the sky, to a centimetre, ``[H, W]``."""
        return self._positions[1]

    @cached_property
    def layer(self) -> NDArray[np.int8]:
        """Number of the layer of the terrain that is seen: the first that covers the place; -1 in the sky, [H, W]."""
        found = np.full(self.sky.shape, -1, np.int8)
        for number in reversed(range(len(self.terrain.layers))):
            rows, columns = self.terrain.layers[number].shape
            column, row = self.pixel(number)
            inside = (column >= 0) & (column < columns - 1) & (row >= 0) & (row < rows - 1)
            found[inside] = number
        if len(self.terrain.layers) == 1:
            found[~self.sky] = 0  # on the very border too
        return found

    @cached_property
    def _directions(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Of every ray: east and north of its azimuth's unit vector, cosine and sine of its elevation angle."""
        east, north, up = np.moveaxis(self.camera.ray_directions(), -1, 0)
        level = np.hypot(east, north)
        away = level > 0
        safe = np.where(away, level, 1.0)
        return np.where(away, east / safe, 0.0), np.where(away, north / safe, 1.0), level, up

    @cached_property
    def _in_plane(self) -> tuple[Floats, Floats, Floats]:
        """In the vertical plane of each ray: radius of the earth, hit outward and above sea level at the camera."""
        east, north, cosine, sine = self._directions
        meridional, transverse = radii_of_curvature(self.camera.latitude)
        radius = 1.0 / ((north**2 / meridional + east**2 / transverse) * (1.0 - self.refraction))
        length = np.where(self.sky, 0.0, self.distance)
        return radius, length * cosine, self.camera.elevation + length * sine

    @cached_property
    def _offsets(self) -> tuple[Floats, Floats]:
        east, north, _, _ = self._directions
        ground = np.where(self.sky, np.nan, self.ground_distance)
        return ground * east, ground * north

    @cached_property
    def _reach(self) -> float:
        return max(float(self.ground_distance.max()), 1.0)

    @cached_property
    def _pixels(self) -> list[tuple[Floats, Floats]]:
        camera, layers = self.camera, self.terrain.layers
        tracks = [fit_ground_track(dem, camera.longitude, camera.latitude, self._reach) for dem in layers]
        return [track.at(self.east, self.north) for track in tracks]

    @cached_property
    def _positions(self) -> tuple[Floats, Floats]:
        camera = self.camera

        def local(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
            turned = np.mod(longitude - camera.longitude + 180.0, 360.0) - 180.0
            return turned / CENTIMETRE, (latitude - camera.latitude) / CENTIMETRE

        try:
            track = fit_track(local, camera.longitude, camera.latitude, self._reach, 0.5, "cm")
        except TerrainError:  # near a pole
            azimuth = np.arctan2(self.east, self.north)
            lon, lat = destination(camera.longitude, camera.latitude, azimuth, np.hypot(self.east, self.north))
        else:
            turned, climbed = track.at(self.east, self.north)
            lon, lat = camera.longitude + CENTIMETRE * turned, camera.latitude + CENTIMETRE * climbed
        return np.mod(lon + 180.0, 360.0) - 180.0, lat
