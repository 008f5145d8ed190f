"""What a map shows: a rectangle on the ground, in metres, and where to put it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.elevation.terrain import Elevation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """What a map shows: a rectangle in metres around a centre, x to the east and y to the north.

    Metres are those of the local tangent plane of WGS84 at the centre; over 100 km this is off by about 1 %, which is
    less than a marker's size.
    """

    longitude: float
    latitude: float
    width: float
    height: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """West, east, south, north in metres, as imshow wants it."""
        return -self.width / 2, self.width / 2, -self.height / 2, self.height / 2

    def to_metres(self, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Floats, Floats]:
        """Metres east and north of the centre."""
        east, north = self._metres_per_degree()
        longitude = np.mod(np.asarray(longitude, np.float64) - self.longitude + 180.0, 360.0) - 180.0
        return longitude * east, (np.asarray(latitude, np.float64) - self.latitude) * north

    def to_degrees(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Longitude and latitude of metres east and north of the centre."""
        east, north = self._metres_per_degree()
        return self.longitude + np.asarray(x, np.float64) / east, self.latitude + np.asarray(y, np.float64) / north

    def _metres_per_degree(self) -> tuple[float, float]:
        meridional, normal = radii_of_curvature(self.latitude)
        parallel = float(normal) * math.cos(math.radians(self.latitude))
        return math.radians(parallel), math.radians(float(meridional))


def window_around(
    longitude: ArrayLike, latitude: ArrayLike, aspect: float, dem: Elevation | None = None, *, least: float = 6000.0
) -> Window:
    """The window that shows all positions with a margin of a fifth, moved so that little of it lies beyond the terrain.

    Args:
        longitude: Degrees [n].
        latitude: Degrees [n].
        aspect: Width over height of the map.
        dem: Terrain that the map shows.
        least: Smallest height in metres, so that a single place is seen in its surroundings.
    """
    lon, lat = np.asarray(longitude, np.float64), np.asarray(latitude, np.float64)
    around = Window(float(lon.flat[0]), float(lat.flat[0]), 0.0, 0.0)
    x, y = around.to_metres(lon, lat)
    height = max(least, 1.4 * np.ptp(y), 1.4 * np.ptp(x) / aspect)
    if dem is None:
        east, north = _middle(x), _middle(y)
    else:
        west_edge, south_edge, east_edge, north_edge = dem.bounds
        edges_x, edges_y = around.to_metres((west_edge, east_edge), (south_edge, north_edge))
        east, north = _centre(x, edges_x, height * aspect), _centre(y, edges_y, height)
    centre = around.to_degrees(east, north)
    return Window(float(centre[0]), float(centre[1]), float(height * aspect), float(height))


def _middle(values: Floats) -> float:
    return float(values.min() + values.max()) / 2


def _centre(values: Floats, edges: Floats, length: float) -> float:
    """Centre of an interval of some length around all values: between the edges if it fits, else around their middle.

    Values stay a twentieth of the length away from its ends, even when that takes it across an edge.
    """
    low, high = edges.min() + length / 2, edges.max() - length / 2
    centre = np.clip(_middle(values), low, high) if low <= high else _middle(edges)
    return float(np.clip(centre, values.max() - 0.45 * length, values.min() + 0.45 * length))
