"""Where the posts of an elevation model lie: raster coordinates, CRS coordinates, longitude and latitude.

A post is one elevation sample. Raster coordinates are ``(column, row)``, fractional, with integers AT the posts.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.datum import Operation, operation_around

Floats = NDArray[np.float64]

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees; east > 180 when the antimeridian is crossed."""


@lru_cache(maxsize=64)
def is_geographic(crs: str) -> bool:
    """Whether a CRS is in degrees of longitude and latitude."""
    from pyproj import CRS

    return bool(CRS.from_user_input(crs).is_geographic)


class Placed(ABC):
    """What has posts at raster coordinates; subclasses have the attributes and say their shape.

    Attributes:
        transform: Affine from raster coordinates (column, row), integers at posts, to CRS coordinates (x, y).
        crs: Anything pyproj understands, for example ``"EPSG:4326"`` or ``"EPSG:32632"``.
    """

    transform: Affine
    crs: str

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of posts."""

    @cached_property
    def is_geographic(self) -> bool:
        """Whether the CRS is in degrees of longitude and latitude."""
        return is_geographic(self.crs)

    def pixel_of(self, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Floats, Floats]:
        """Raster coordinates (column, row) of WGS84 positions in degrees; arguments broadcast."""
        lon, lat = np.broadcast_arrays(np.asarray(longitude, np.float64), np.asarray(latitude, np.float64))
        x, y = self.operation.forward(lon, lat)
        if self.is_geographic:
            x = self._centre_x + np.mod(x - self._centre_x + 180.0, 360.0) - 180.0
        inverse = ~self.transform
        return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f

    def position_of(self, column: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """WGS84 longitude and latitude in degrees of raster coordinates; arguments broadcast."""
        c, r = np.broadcast_arrays(np.asarray(column, np.float64), np.asarray(row, np.float64))
        t = self.transform
        x, y = t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f
        return self.operation.backward(x, y)

    def contains(self, longitude: ArrayLike, latitude: ArrayLike, tolerance: float = 0.0) -> NDArray[np.bool_]:
        """Whether positions lie within the rectangle of posts (voids included), or at most ``tolerance`` posts away."""
        column, row = self.pixel_of(longitude, latitude)
        rows, columns = self.shape
        low, high, last = -tolerance, columns - 1 + tolerance, rows - 1 + tolerance
        return (column >= low) & (column <= high) & (row >= low) & (row <= last)

    @cached_property
    def bounds(self) -> Bounds:
        """West, south, east and north limits of the posts in degrees; east > 180 when the antimeridian is crossed."""
        lon, lat = self.position_of(*outline(*self.shape))
        lon = lon[0] + np.mod(lon - lon[0] + 180.0, 360.0) - 180.0
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())

    @cached_property
    def spacing(self) -> tuple[float, float]:
        """Metres between neighbouring columns and between neighbouring rows at the centre."""
        rows, columns = self.shape
        column, row = (columns - 1) / 2, (rows - 1) / 2
        lon, lat = self.position_of(column + np.array([-0.5, 0.5, 0, 0]), row + np.array([0, 0, -0.5, 0.5]))
        metres = geodesic_distance(lon[::2], lat[::2], lon[1::2], lat[1::2])
        return float(metres[0]), float(metres[1])

    @property
    def operation(self) -> Operation:
        """The coordinate operation that leads from WGS84 to its CRS around its middle."""
        return operation_around(self.crs, self._centre_x, self._centre_y)

    @cached_property
    def _centre_x(self) -> float:
        rows, columns = self.shape
        return float(self.transform.a * (columns - 1) / 2 + self.transform.b * (rows - 1) / 2 + self.transform.c)

    @cached_property
    def _centre_y(self) -> float:
        rows, columns = self.shape
        return float(self.transform.d * (columns - 1) / 2 + self.transform.e * (rows - 1) / 2 + self.transform.f)


@dataclass(frozen=True)
class Grid(Placed):
    """Places of posts without their elevations.

    Attributes:
        transform: Affine from raster coordinates to CRS coordinates.
        crs: Anything pyproj understands.
        rows: Rows of posts.
        columns: Columns of posts.
    """

    transform: Affine
    crs: str
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of posts."""
        return self.rows, self.columns


def outline(rows: int, columns: int) -> tuple[Floats, Floats]:
    """Raster coordinates of points along the border of a rectangle of posts, 33 on each side."""
    along, zero, one = np.linspace(0, 1, 33), np.zeros(33), np.ones(33)
    column = np.concatenate([along, one, along, zero]) * (columns - 1)
    row = np.concatenate([zero, along, one, along]) * (rows - 1)
    return column, row


def centred(corner: Affine) -> Affine:
    """The transform of pixel centres, where posts are, from that of pixel corners, which is what raster files hold.

    GDAL turns the files whose tie points are pixel centres (AREA_OR_POINT=Point: SRTM, Copernicus) into the corner form
    too, so that this holds for all of them.
    """
    t = corner
    return Affine(t.a, t.b, t.c + (t.a + t.b) / 2, t.d, t.e, t.f + (t.d + t.e) / 2)
