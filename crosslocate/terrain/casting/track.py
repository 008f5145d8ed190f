"""Ground tracks: where the geodesics that leave one point run in the raster.

A camera sees along geodesics. With ``x = s sin(azimuth)`` and ``y = s cos(azimuth)`` (azimuthal equidistant
coordinates around the camera) raster column and row are smooth functions of (x, y), whatever the CRS of the raster. One
polynomial of degree 5, fitted to exact geodesics, replaces them: along one azimuth it is a polynomial in the ground
distance s. At 36 degrees north its error is 1e-10 posts of 90 m at 30 km and 2e-7 at 100 km.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.errors import TerrainError
from crosslocate.geo import destination, geodesic_distance
from crosslocate.terrain.casting.polynomials import evaluate
from crosslocate.terrain.elevation.dem import Dem

Floats = NDArray[np.float64]

DEGREE = 5
TOLERANCE_POSTS = 0.02
"""Largest departure from the exact geodesics that is accepted, in posts; more if it is less than that in metres:"""
TOLERANCE_METRES = 0.6
LEAST_SHARE = 0.1
"""Tracks are fitted to that share of the reach at least; beyond the fit they only tell that a layer is not there."""
ASIDE = 1e-6
"""Posts."""
POLAR = 75.0
"""Degrees of latitude from which a polar CRS is recommended."""
PARABOLA_POSTS = 4e-5
"""Largest departure of parabolas from the fitted tracks, in posts."""

_POWERS = [(i, degree - i) for degree in range(1, DEGREE + 1) for i in range(degree + 1)]


@cache
def _nodes() -> tuple[Floats, Floats, Floats, Floats]:
    """Fitting nodes on the unit disc, (x, y), the monomials there, and the matrix that takes values to coefficients."""
    radius = np.sin(np.pi / 2 * np.arange(1, 8) / 7)
    angle = 2 * np.pi * np.arange(17) / 17
    x, y = (np.outer(radius, f(angle)).ravel() for f in (np.sin, np.cos))
    design = np.stack([x**i * y**j for i, j in _POWERS], axis=1)
    return x, y, design, np.linalg.pinv(design)


@lru_cache(maxsize=64)
def _ends(longitude: float, latitude: float, radius: float) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of the fitting nodes at a radius around a position; several fits share them."""
    x, y, _, _ = _nodes()
    return destination(longitude, latitude, np.arctan2(x, y), radius * np.hypot(x, y))


@dataclass(frozen=True, eq=False)
class GroundTrack:
    """The raster coordinates of geodesics around one point.

    Attributes:
        origin: Raster coordinates (column, row) of the point.
        coefficients: ``[2, 20]``, for column and row, of the monomials x**i y**j (metres), ordered by i + j, then i.
        radius: Ground distance in metres to which the fit goes.
        error: Largest departure from exact geodesics at the fitting nodes, in posts.
    """

    origin: Floats
    coefficients: Floats
    radius: float
    error: float

    @property
    def jacobian(self) -> Floats:
        """Derivatives of (column, row) by metres (east, north) at the point, 2 x 2."""
        return self.coefficients[:, 1::-1]

    @property
    def spacing(self) -> float:
        """Metres between posts at the point: the geometric mean of those along rows and along columns."""
        return float(abs(np.linalg.det(self.jacobian)) ** -0.5)

    @property
    def stride(self) -> float:
        """Metres for which parabolas follow the track to `PARABOLA_POSTS`, wherever they begin."""
        cubic = sum(
            math.comb(degree, 3) * self.radius ** (degree - 3) * float(np.abs(self.coefficients[:, of_degree]).sum())
            for degree in (3, 4, 5)
            if (of_degree := [k for k, (i, j) in enumerate(_POWERS) if i + j == degree])
        )
        return (PARABOLA_POSTS / max(cubic, 1e-30)) ** (1 / 3)

    def positions(self, azimuth: ArrayLike, distance: Floats) -> tuple[Floats, Floats]:
        """Raster coordinates (column, row) at ground distances in metres along azimuths in radians; both broadcast."""
        return self.at(distance * np.sin(azimuth), distance * np.cos(azimuth))

    def at(self, east: Floats, north: Floats) -> tuple[Floats, Floats]:
        """Raster coordinates (column, row) at azimuthal equidistant coordinates around the point, in metres."""
        return self.along(0, east, north), self.along(1, east, north)

    def along(self, axis: int, east: ArrayLike, north: ArrayLike) -> Floats:
        """One of the coordinates of `at`: 0 for the column, 1 for the row."""
        x, y = np.broadcast_arrays(np.asarray(east, np.float64), np.asarray(north, np.float64))
        found = np.full(x.shape, self.origin[axis])
        evaluate(self.coefficients[axis], x.ravel(), y.ravel(), found.reshape(-1))
        return found


def fit_ground_track(dem: Dem, longitude: float, latitude: float, radius: float) -> GroundTrack:
    """Fit the ground tracks around a WGS84 position (degrees) out to ``radius`` metres.

    The fit is exact at the origin. Its error grows with the sixth power of the radius.

    Raises:
        TerrainError: The fit is off by more than the larger of `TOLERANCE_POSTS` and `TOLERANCE_METRES` (a pole, or too
            large a radius).
    """
    tolerance = max(TOLERANCE_POSTS, TOLERANCE_METRES / max(dem.spacing))
    try:
        return fit_track(dem.pixel_of, longitude, latitude, radius, tolerance, "posts")
    except TerrainError as error:
        polar = "EPSG:3413" if latitude > 0 else "EPSG:3031"
        near_pole = f", or tiles in a polar CRS (such as {polar})" if abs(latitude) > POLAR else ""
        raise TerrainError(
            f"geodesics around ({longitude:.6f}, {latitude:.6f}) cannot be followed to {radius / 1000:.0f} km in "
            f"{dem.crs}: {error}; use a smaller max_distance{near_pole}"
        ) from error


def fit_ground_tracks(dems: Sequence[Dem], longitude: float, latitude: float, reach: float) -> list[GroundTrack]:
    """Fit the tracks of several layers, each out to its own farthest corner, at most to ``reach`` metres.

    Those that begin on the last row or column of posts, where no cell begins, begin `ASIDE` posts before it.

    Raises:
        TerrainError: As `fit_ground_track`.
    """
    radii = [min(max(farthest_corner(dem, longitude, latitude), LEAST_SHARE * reach), reach) for dem in dems]
    tracks = [fit_ground_track(dem, longitude, latitude, radius) for dem, radius in zip(dems, radii, strict=True)]
    return [_begun_inside(track, dem) for track, dem in zip(tracks, dems, strict=True)]


def _begun_inside(track: GroundTrack, dem: Dem) -> GroundTrack:
    last = np.array(dem.shape[::-1], np.float64) - 1.0
    on_border = track.origin == last
    return replace(track, origin=np.where(on_border, last - ASIDE, track.origin)) if on_border.any() else track


def farthest_corner(dem: Dem, longitude: float, latitude: float) -> float:
    """Metres from a position to the farthest corner of a model."""
    rows, columns = dem.shape
    corners = dem.position_of([0, columns - 1, 0, columns - 1], [0, 0, rows - 1, rows - 1])
    return float(geodesic_distance(longitude, latitude, *corners).max())


def fit_track(
    coordinates: Callable[[Any, Any], tuple[Floats, Floats]],
    longitude: float,
    latitude: float,
    radius: float,
    tolerance: float,
    unit_name: str,
) -> GroundTrack:
    """Fit any smooth coordinates of WGS84 positions (longitudes and latitudes in degrees) around one of them.

    Tolerance in units of the coordinates, whose name is for the error.

    Raises:
        TerrainError: The fit is off by more than the tolerance.
    """
    _, _, design, solve = _nodes()
    lon, lat = _ends(longitude, latitude, radius)
    origin = np.array([float(a) for a in coordinates(np.float64(longitude), np.float64(latitude))])
    values = np.stack(coordinates(lon, lat), axis=1) - origin
    unit = solve @ values
    error = float(np.abs(design @ unit - values).max())
    if not error <= tolerance:
        raise TerrainError(f"{error:.3g} {unit_name} off, {tolerance:.3g} allowed")
    scale = np.array([radius ** -(i + j) for i, j in _POWERS])
    return GroundTrack(origin, np.ascontiguousarray((unit * scale[:, None]).T), radius, error)
