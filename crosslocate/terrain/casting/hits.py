"""Where the rays of a camera meet the terrain: measured as ray lengths, everything else follows from these."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.geo import destination
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.positions import measure, turn_longitudes
from crosslocate.terrain.casting.track import GroundTrack, fit_ground_tracks, fit_track
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

    @property
    def ground_distance(self) -> Floats:
        """Geodesic distance to the point below the hit, metres along the ellipsoid, -1 in the sky, ``[H, W]``."""
        return self._measured[0]

    @property
    def elevation(self) -> Floats:
        """Elevation of the hit in metres, NaN in the sky, ``[H, W]``."""
        return self._measured[1]

    def pixel(self, layer: int = 0) -> tuple[Floats, Floats]:
        """Raster coordinates (column, row) of the hits in a layer of the terrain, NaN in the sky, ``[H, W]`` each.

        They may lie outside the layer, where another one was hit.
        """
        return self._pixels[layer]

    @property
    def east(self) -> Floats:
        """Azimuthal equidistant coordinate of the hits, metres east of the camera, NaN in the sky, ``[H, W]``."""
        return self._measured[2]

    @property
    def north(self) -> Floats:
        """Azimuthal equidistant coordinate of the hits, metres north of the camera, NaN in the sky, ``[H, W]``."""
        return self._measured[3]

    @cached_property
    def longitude(self) -> Floats:
        """Degrees, in [-180, 180), NaN in the sky, to a centimetre, ``[H, W]``."""
        camera, track = self.camera, self._position_track
        if track is None:
            longitude = self._positions[0]
        else:
            longitude = (
                np.mod(camera.longitude + 180.0, 360.0) - 180.0 + CENTIMETRE * track.along(0, self.east, self.north)
            )
        turn_longitudes(longitude)
        return longitude

    @cached_property
    def latitude(self) -> Floats:
        """Degrees, NaN in the sky, to a centimetre, ``[H, W]``."""
        track = self._position_track
        if track is None:
            return self._positions[1]
        return self.camera.latitude + CENTIMETRE * track.along(1, self.east, self.north)

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
    def _measured(self) -> tuple[Floats, Floats, Floats, Floats]:
        return measure(self.camera, self.distance, self.refraction)

    @cached_property
    def _reach(self) -> float:
        return max(float(self.ground_distance.max()), 1.0)

    @cached_property
    def _pixels(self) -> list[tuple[Floats, Floats]]:
        camera, layers = self.camera, self.terrain.layers
        tracks = fit_ground_tracks(layers, camera.longitude, camera.latitude, self._reach)
        return [track.at(self.east, self.north) for track in tracks]

    @cached_property
    def _position_track(self) -> GroundTrack | None:
        """Centimetres east and north of the camera in degrees of longitude and latitude; None near a pole."""
        camera = self.camera

        def local(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
            turned = np.mod(longitude - camera.longitude + 180.0, 360.0) - 180.0
            return turned / CENTIMETRE, (latitude - camera.latitude) / CENTIMETRE

        try:
            return fit_track(local, camera.longitude, camera.latitude, self._reach, 0.5, "cm")
        except TerrainError:
            return None

    @cached_property
    def _positions(self) -> tuple[Floats, Floats]:
        """Longitude and latitude by geodesics."""
        azimuth, metres = np.arctan2(self.east, self.north), np.hypot(self.east, self.north)
        return destination(self.camera.longitude, self.camera.latitude, azimuth, metres)
