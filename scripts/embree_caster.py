"""An independent ray caster: Embree on the triangles of an elevation model, as a yardstick for tests and benchmarks."""

import numpy as np
from numpy.typing import NDArray

from crosslocate.geo import ecef
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.elevation.dem import Dem

STRIP = 256
"""Rows of posts that are placed at a time."""


class EmbreeCaster:
    """Casts cameras of one position into the triangles of an elevation model.

    Posts are placed on the WGS84 ellipsoid in earth-centred coordinates in double precision and moved to the camera
    before they are rounded to the single precision of Embree; rays are straight. Each cell is cut from its first post
    to its last one, as by ``RayCaster(surface="triangles")``.
    """

    def __init__(self, dem: Dem, longitude: float, latitude: float, elevation: float) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.place = longitude, latitude, elevation
        self.scene = EmbreeScene()
        TriangleMesh(self.scene, _vertices(dem, longitude, latitude, elevation), _triangles(*dem.shape))

    def cast(self, camera: Camera) -> NDArray[np.float32]:
        """Lengths of the rays of a camera in metres, -1 in the sky, ``[H, W]``."""
        return self._cast(camera, np.zeros(3))

    def cast_from(self, camera: Camera) -> NDArray[np.float32]:
        """As `cast`, from the camera's own position, with the vertical of the place of the scene: to measure speed."""
        lon, lat, height = self.place
        origin = _frame(lon, lat) @ (ecef(camera.longitude, camera.latitude, camera.elevation) - ecef(lon, lat, height))
        return self._cast(camera, origin)

    def _cast(self, camera: Camera, origin: NDArray[np.float64]) -> NDArray[np.float32]:
        directions = camera.ray_directions().reshape(-1, 3).astype(np.float32)
        origins = np.broadcast_to(origin.astype(np.float32), directions.shape).copy()
        distance = self.scene.run(origins, directions, query="DISTANCE")
        return np.where(distance < 1e8, distance, -1.0).astype(np.float32).reshape(camera.height, camera.width)


def _frame(longitude: float, latitude: float) -> NDArray[np.float64]:
    """Unit vectors east, north and up of a place in earth-centred coordinates, as rows."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    return np.array(
        [
            [-np.sin(lon), np.cos(lon), 0.0],
            [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)],
        ]
    )


def _vertices(dem: Dem, longitude: float, latitude: float, elevation: float) -> NDArray[np.float32]:
    """Posts east, north and up of a place in metres, [rows * columns, 3]."""
    rows, columns = dem.shape
    frame = _frame(longitude, latitude)
    origin = ecef(longitude, latitude, elevation)
    vertices = np.empty((rows, columns, 3), np.float32)
    for first in range(0, rows, STRIP):
        row, column = np.mgrid[first : min(first + STRIP, rows), :columns]
        height = dem.elevation[first : first + STRIP].astype(np.float64)
        vertices[first : first + STRIP] = (ecef(*dem.position_of(column, row), height) - origin) @ frame.T
    return vertices.reshape(-1, 3)


def _triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Corners of two triangles for each cell, [2 * cells, 3]."""
    first = (np.arange(rows - 1, dtype=np.int32)[:, None] * columns + np.arange(columns - 1, dtype=np.int32)).ravel()
    cells = np.empty((len(first), 2, 3), np.int32)
    cells[:, 0] = np.stack([first, first + columns + 1, first + 1], axis=1)
    cells[:, 1] = np.stack([first, first + columns, first + columns + 1], axis=1)
    return cells.reshape(-1, 3)
