"""A lattice of cells on the whole ellipsoid, all of nearly the same size in true metres.

Rows run between parallels that are one step of the meridian apart, counted from the south pole. Every row is cut into
as many equal cells as fit along the parallel through its middle, counted eastward from the antimeridian. Cells have
the same numbers whatever region is looked at, so that a region that grows keeps what it had.

Lengths along the meridian are Helmert's series in the third flattening n, to n**4: exact to a micrometre.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.geo import WGS84_FLATTENING, WGS84_SEMI_MAJOR, radii_of_curvature

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_N = WGS84_FLATTENING / (2.0 - WGS84_FLATTENING)
_RECTIFYING = WGS84_SEMI_MAJOR / (1.0 + _N) * (1.0 + _N**2 / 4.0 + _N**4 / 64.0)
"""Radius of the circle as long as a meridian, metres."""
_ARC = np.array(
    [
        -3.0 / 2.0 * (_N - _N**3 / 8.0 - _N**3 / 4.0),
        15.0 / 16.0 * (_N**2 - _N**4 / 4.0 - _N**4 / 4.0),
        -35.0 / 48.0 * _N**3,
        315.0 / 512.0 * _N**4,
    ]
)
_FOOT = np.array(
    [
        3.0 * _N / 2.0 - 27.0 * _N**3 / 32.0,
        21.0 * _N**2 / 16.0 - 55.0 * _N**4 / 32.0,
        151.0 * _N**3 / 96.0,
        1097.0 * _N**4 / 512.0,
    ]
)


def meridian_arc(latitude: ArrayLike) -> Floats:
    """Length of the meridian from the equator to a latitude in degrees, metres, negative in the south."""
    phi = np.radians(np.asarray(latitude, np.float64))
    return _RECTIFYING * (phi + sum(a * np.sin(2 * (k + 1) * phi) for k, a in enumerate(_ARC)))


def latitude_at(arc: ArrayLike) -> Floats:
    """Latitude in degrees at a length of the meridian from the equator in metres."""
    mu = np.asarray(arc, np.float64) / _RECTIFYING
    return np.degrees(mu + sum(a * np.sin(2 * (k + 1) * mu) for k, a in enumerate(_FOOT)))


@dataclass(frozen=True)
class Lattice:
    """Cells of about ``spacing`` x ``spacing`` metres; a cell is a row and a column.

    The middles of neighbours in a row, and the parallels of neighbouring rows, are ``spacing`` apart within 1 % up to
    85 degrees for a spacing of up to 30 km. (Whole numbers of cells go round a parallel; of 100 km at 85 degrees, 35.)
    """

    spacing: float

    @cached_property
    def rows(self) -> int:
        """Number of rows from pole to pole."""
        return max(1, round(np.pi * _RECTIFYING / self.spacing))

    @property
    def step(self) -> float:
        """Height of a row: metres along the meridian."""
        return float(np.pi * _RECTIFYING / self.rows)

    def latitude(self, row: ArrayLike) -> Floats:
        """Latitude in degrees of rows; whole numbers are southern edges, half numbers the middles of rows."""
        return latitude_at((np.asarray(row, np.float64) - self.rows / 2.0) * self.step)

    def columns(self, row: ArrayLike) -> Integers:
        """Number of cells in rows."""
        middle = self.latitude(np.asarray(row) + 0.5)
        parallel = 2.0 * np.pi * radii_of_curvature(middle)[1] * np.cos(np.radians(middle))
        return np.maximum(1, np.rint(parallel / self.spacing)).astype(np.int64)

    def middles(self, row: Integers, column: Integers) -> tuple[Floats, Floats]:
        """Longitude (in [-180, 180)) and latitude in degrees of the middles of cells."""
        longitude = (np.asarray(column) + 0.5) * (360.0 / self.columns(row)) - 180.0
        return longitude, self.latitude(np.asarray(row) + 0.5)

    def cells(self, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Integers, Integers]:
        """Row and column of the cells that hold positions in degrees."""
        up = meridian_arc(latitude) / self.step + self.rows / 2.0
        row = self._row(up)
        columns = self.columns(row)
        around = np.mod(np.asarray(longitude, np.float64) + 180.0, 360.0) / 360.0
        return row, np.minimum((around * columns).astype(np.int64), columns - 1)

    def to_edge(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Distance in metres from positions in degrees to the nearest edge of their cells, good to a percent.

        Parallels are as far as along the meridian; meridians as on a sphere, where a great circle meets them at right
        angles.
        """
        up = meridian_arc(latitude) / self.step + self.rows / 2.0
        across = np.mod(np.asarray(longitude, np.float64) + 180.0, 360.0) / 360.0 * self.columns(self._row(up))
        turn = np.radians(360.0 / self.columns(self._row(up)))
        up, across = (np.minimum(np.mod(value, 1.0), 1.0 - np.mod(value, 1.0)) for value in (up, across))
        sine = np.cos(np.radians(latitude)) * np.sin(np.minimum(across * turn, 0.5 * np.pi))
        return np.minimum(up * self.step, radii_of_curvature(latitude)[1] * np.arcsin(sine))

    def _row(self, up: Floats) -> Integers:
        return np.clip(np.floor(up), 0, self.rows - 1).astype(np.int64)
