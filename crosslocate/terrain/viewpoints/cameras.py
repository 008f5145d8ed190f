"""A table of cameras: what a data set shows, one row per image."""

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.names import first_repeated

Floats = NDArray[np.float64]
_BLOCK = 1 << 18
_LIMITS = {
    "longitude": (-180.0, 180.0),
    "latitude": (-90.0, 90.0),
    "elevation": (-1000.0, 20000.0),
    "yaw": (-100.0, 100.0),
    "pitch": (-np.pi / 2, np.pi / 2),
    "roll": (-np.pi, np.pi),
}


class Stations(Protocol):
    """Where cameras stand: columns of equal length, one row each position."""

    @property
    def longitude(self) -> Floats:
        """Degrees, [n]."""
        ...

    @property
    def latitude(self) -> Floats:
        """Degrees, [n]."""
        ...

    @property
    def altitude(self) -> Floats:
        """Of the camera above sea level in metres, [n]."""
        ...

    @property
    def split(self) -> NDArray[np.str_]:
        """train, val or test, [n]."""
        ...


@dataclass(frozen=True)
class CameraTable:
    """Columns of equal length, in the catalog's names and units.

    Attributes:
        name: Unique name of the image, also its file name without suffix.
        place: Number of the place; the cameras of a place stand at one position.
        split: train, val or test.
        longitude: WGS84 degrees.
        latitude: WGS84 degrees.
        elevation: Camera height above sea level in metres.
        yaw: Heading in radians, clockwise from true north.
        pitch: Radians, up positive.
        roll: Radians, clockwise positive.
        horizontal_fov: Horizontal field of view in radians.
    """

    name: NDArray[np.str_]
    place: NDArray[np.int32]
    split: NDArray[np.str_]
    longitude: Floats
    latitude: Floats
    elevation: Floats
    yaw: Floats
    pitch: Floats
    roll: Floats
    horizontal_fov: Floats

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise TerrainError(f"the columns of a camera table differ in length: {lengths}")

    @classmethod
    def at(cls, stations: Stations, rows: NDArray[Any], place: NDArray[np.int32], **own: Any) -> "CameraTable":
        """Cameras at the positions ``rows`` of ``stations``.

        Args:
            stations: The positions.
            rows: Position of each camera, [n].
            place: Number of the place of each camera, [n].
            own: The columns that are not those of positions: names and angles, [n] each.
        """
        return cls(
            place=place,
            split=stations.split[rows],
            longitude=stations.longitude[rows],
            latitude=stations.latitude[rows],
            elevation=stations.altitude[rows],
            **own,
        )

    def __len__(self) -> int:
        return len(self.name)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns by name, in the order of the catalog."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, rows: NDArray[Any]) -> "CameraTable":
        """The table of some rows (indices or a mask)."""
        return CameraTable(**{name: column[rows] for name, column in self.columns().items()})

    def camera(self, row: int, width: int, height: int) -> Camera:
        """The camera of one row for an image of ``width`` x ``height`` pixels."""
        return Camera(
            longitude=float(self.longitude[row]),
            latitude=float(self.latitude[row]),
            elevation=float(self.elevation[row]),
            yaw=float(self.yaw[row]),
            pitch=float(self.pitch[row]),
            roll=float(self.roll[row]),
            horizontal_fov=float(self.horizontal_fov[row]),
            width=width,
            height=height,
        )

    def check(self, dem: Dem | Terrain) -> None:
        """Raise TerrainError naming the first row that cannot be rendered on an elevation model or terrain."""
        self._check_values()
        for first in range(0, len(self), _BLOCK):
            self._check_ground(dem, np.arange(first, min(first + _BLOCK, len(self))))

    def _check_ground(self, dem: Dem | Terrain, rows: NDArray[np.int64]) -> None:
        ground = np.asarray(dem.elevation_at(self.longitude[rows], self.latitude[rows]))
        for row in rows[np.isnan(ground)][:1]:
            west, south, east, north = dem.bounds
            where = f"({self.longitude[row]:.6f}, {self.latitude[row]:.6f})"
            raise TerrainError(
                f"{self._row(row)}: the camera at {where} is outside the elevation model or over a void; "
                f"the model covers longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
            )
        for row in rows[self.elevation[rows] <= ground][:1]:
            below = ground[row - rows[0]]
            raise TerrainError(
                f"{self._row(row)}: the camera at {self.elevation[row]:.2f} m is not above the terrain, which is at "
                f"{below:.2f} m; raise it by at least {below - self.elevation[row]:.2f} m"
            )

    def _check_values(self) -> None:
        for column, (low, high) in _LIMITS.items():
            values = getattr(self, column)
            for row in np.flatnonzero(~((values >= low) & (values <= high)))[:1]:
                raise TerrainError(f"{self._row(row)}: {column}={values[row]} is not in [{low:.6g}, {high:.6g}]")
        fov = self.horizontal_fov
        for row in np.flatnonzero(~((fov > 0.0) & (fov < np.pi)))[:1]:
            raise TerrainError(f"{self._row(row)}: horizontal_fov={fov[row]} is not between 0 and pi radians")
        double = first_repeated(self.name)
        if double is not None:
            raise TerrainError(f"rows {np.flatnonzero(self.name == double).tolist()[:5]} share the name {double!r}")

    def _row(self, row: int) -> str:
        return f"row {row} ({self.name[row]})"
