"""Casting cameras into terrain: exact intersections of every pixel's ray with the surface between posts.

The earth is locally the sphere that osculates the WGS84 ellipsoid along each azimuth (Euler's radius of curvature at
the camera), enlarged to R / (1 - k) for refraction with coefficient k. Ground tracks are geodesics of the ellipsoid.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.geo import geodesic_distance, radii_of_curvature
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.envelope import Envelopes
from crosslocate.terrain.casting.hits import SKY, Hits
from crosslocate.terrain.casting.kernels.ground import Eye, Ground
from crosslocate.terrain.casting.kernels.level import cast_level
from crosslocate.terrain.casting.kernels.pitched import cast_rays
from crosslocate.terrain.casting.track import GroundTrack, farthest_corner, fit_ground_tracks
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain, as_terrain

SURFACES = ("bilinear", "triangles")


class Stand(NamedTuple):
    """A position: tracks on each layer, curvature of the earth, distance of layers finer than the one there."""

    place: tuple[float, float]
    tracks: list[GroundTrack]
    curvature: NDArray[np.float64]
    alone: float


class RayCaster:
    """Casts cameras into a terrain.

    Where several layers of the terrain cover a place the first of them is seen. Compiled code runs without the GIL, so
    one caster may be used from several threads. Picklable. Each thread keeps what it found out about its last position,
    so that the views of a ring share it.

    Args:
        elevation: The terrain, or a single elevation model. Rays pass through cells with a void post (one that is below
            the terrain beyond hits the border of the void) and end at the border of the terrain.
        refraction: Coefficient k of terrestrial refraction: 0 for straight rays, 0.13 in a standard atmosphere.
        max_distance: Ground distance in metres beyond which nothing is seen.
        surface: ``bilinear``, or ``triangles``: two to a cell, which is cut from its first post (north-west where rows
            run south and columns east) to its last one (south-east).
        detail: Posts per pixel footprint that are enough. At ground distance s a layer is seen at the coarsest level
            whose spacing (of level 0 at the camera, the geometric mean of rows and columns, times 2**level) is at most
            s / (focal length in pixels * detail). None: all posts everywhere.

    Raises:
        TerrainError: k is not in [0, 1), the distance or the detail is not positive, or there is no such surface.
    """

    def __init__(
        self,
        elevation: Dem | Terrain,
        refraction: float = 0.13,
        max_distance: float = 100_000.0,
        surface: str = "bilinear",
        detail: float | None = None,
    ) -> None:
        if not 0.0 <= refraction < 1.0:
            raise TerrainError(f"refraction is {refraction}; allowed: 0 to below 1 (0.13 in a standard atmosphere)")
        if not 0.0 < max_distance < np.inf:
            raise TerrainError(f"max_distance is {max_distance} m; a positive number is needed")
        if surface not in SURFACES:
            raise TerrainError(f"surface is {surface!r}; allowed: {', '.join(SURFACES)}")
        if detail is not None and not 0.0 < detail < np.inf:
            raise TerrainError(f"detail is {detail} posts per pixel; a positive number is needed, or null for all")
        self.terrain, self.refraction, self.max_distance = as_terrain(elevation), refraction, max_distance
        self.surface, self.detail = surface, detail
        sheets = self.terrain.sheets
        first = np.flatnonzero(sheets.level == 0)
        self.ground = Ground(
            self.terrain.posts,
            self.terrain.tops,
            np.column_stack([sheets.columns, sheets.rows, sheets.offset, sheets.top_offset, sheets.top_columns]),
            np.append(first, len(sheets.level)).astype(np.int64),
            self.terrain.highest,
            surface == "triangles",
        )
        self._kept = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kept = threading.local()

    def cast(self, camera: Camera) -> Hits:
        """Cast every pixel's ray of a camera.

        Raises:
            TerrainError: The camera stands outside the terrain, in a void, or not above the terrain.
        """
        self._require_clear(camera)
        eye = self.eye(camera.longitude, camera.latitude, camera.elevation, camera.focal_length)
        distance = np.full((camera.height, camera.width), SKY, np.float32)
        right, up = camera.image_plane()
        if camera.is_level:
            cast_level(self.ground, eye, float(camera.yaw), right, up, distance)
        else:
            envelopes = self._envelopes(camera)
            cast_rays(self.ground, eye, camera.axes(), right, up, *envelopes, distance)
        return Hits(camera, distance, self.terrain, self.refraction)

    def cast_all(self, cameras: Iterable[Camera]) -> Iterator[Hits]:
        """Cast cameras in their order; each when its hits are asked for, but where casting several at once is faster.

        Raises:
            TerrainError: As `cast`, in the place of the hits of the camera that it is about.
        """
        return map(self.cast, cameras)

    def eye(self, longitude: float, latitude: float, elevation: float, focal_length: float) -> Eye:
        """The start of rays at a position; ``focal_length`` in pixels decides which levels of detail they see."""
        stand = self._stand(longitude, latitude)
        tracks = stand.tracks
        spacing = np.array([track.spacing for track in tracks])
        unit = spacing * focal_length * self.detail if self.detail is not None else np.full(len(tracks), np.inf)
        return Eye(
            np.stack([track.origin for track in tracks]),
            np.stack([track.coefficients for track in tracks]),
            stand.curvature,
            unit,
            float(elevation),
            max(track.radius for track in tracks),
            min(track.stride for track in tracks),
            stand.alone,
        )

    def _stand(self, longitude: float, latitude: float) -> Stand:
        last: Stand | None = getattr(self._kept, "stand", None)
        if last is None or last.place != (longitude, latitude):
            tracks = fit_ground_tracks(self.terrain.layers, longitude, latitude, self._reach(longitude, latitude))
            curvature = (1.0 - self.refraction) / np.array([float(r) for r in radii_of_curvature(latitude)])
            last = self._kept.stand = Stand((longitude, latitude), tracks, curvature, self._alone(longitude, latitude))
        return last

    def _envelopes(self, camera: Camera) -> Envelopes:
        """The envelopes around the camera as far as they are surveyed, kept for the next view from there."""
        key = camera.longitude, camera.latitude, camera.elevation, camera.focal_length
        last: tuple[object, Envelopes] | None = getattr(self._kept, "envelopes", None)
        if last is None or last[0] != key:
            room = last[1] if last is not None else None
            last = self._kept.envelopes = key, Envelopes.empty(camera.focal_length, room)
        return last[1]

    def _reach(self, longitude: float, latitude: float) -> float:
        """Distance to which tracks are followed: the farthest corner of a layer, at most ``max_distance``."""
        farthest = (farthest_corner(dem, longitude, latitude) for dem in self.terrain.layers)
        return min(max(farthest), self.max_distance)

    def _alone(self, longitude: float, latitude: float) -> float:
        """Distance at which the first of the layers begins that hide the one at a position."""
        nearest = np.inf
        for dem in self.terrain.layers[:-1]:
            if dem.contains(longitude, latitude):
                break
            lon, lat = dem.position_of(*_outline(dem))
            away = geodesic_distance(longitude, latitude, lon, lat)
            gaps = geodesic_distance(lon[:-1], lat[:-1], lon[1:], lat[1:])
            nearest = min(nearest, max(float(away.min() - gaps.max()), 0.0))
        return nearest

    def _require_clear(self, camera: Camera) -> None:
        place = f"camera at ({camera.longitude:.6f}, {camera.latitude:.6f}), elevation {camera.elevation:.2f} m,"
        if not self.terrain.contains(camera.longitude, camera.latitude):
            west, south, east, north = self.terrain.bounds
            raise TerrainError(
                f"{place} is outside the elevation model: longitude {west:.4f} to {east:.4f}, "
                f"latitude {south:.4f} to {north:.4f}"
            )
        ground = self._ground_at(camera.longitude, camera.latitude)
        if np.isnan(ground):
            raise TerrainError(f"{place} stands in a void of the elevation model")
        if camera.elevation <= ground:
            raise TerrainError(f"{place} is not above the terrain there: {ground:.2f} m")

    def _ground_at(self, longitude: float, latitude: float) -> float:
        """Elevation of the surface that rays meet, of the first layer that covers a place; NaN in its voids."""
        if self.surface == "bilinear":
            return float(self.terrain.elevation_at(longitude, latitude))
        for dem in self.terrain.layers:
            if dem.contains(longitude, latitude):
                return _on_triangles(dem, longitude, latitude)
        return np.nan


def _on_triangles(dem: Dem, longitude: float, latitude: float) -> float:
    """Elevation of the triangles of a model at a position inside it; NaN in a cell with a void post."""
    column, row = (float(a) for a in dem.pixel_of(longitude, latitude))
    j, i = min(int(column), dem.shape[1] - 2), min(int(row), dem.shape[0] - 2)
    x, y = column - j, row - i
    (first, second), (third, fourth) = dem.elevation[i : i + 2, j : j + 2].astype(np.float64)
    if np.isnan(first + second + third + fourth):
        return np.nan
    if x > y:
        return float(first + x * (second - first) + y * (fourth - second))
    return float(first + x * (fourth - third) + y * (third - first))


def _outline(dem: Dem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Raster coordinates (column, row) of points along the border of a model, 65 on each side, in order."""
    rows, columns = dem.shape
    along, zero, one = np.linspace(0, 1, 65), np.zeros(65), np.ones(65)
    column = np.concatenate([along, one, along[::-1], zero]) * (columns - 1)
    return column, np.concatenate([zero, along, one, along[::-1]]) * (rows - 1)
