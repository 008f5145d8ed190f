"""Digital elevation models: posts on a grid, and the surface between them.

Post ``elevation[row, column]`` has raster coordinates ``(column, row)``. Between posts the surface is bilinear. Voids
are NaN.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.datum import WGS84_CRS
from crosslocate.terrain.elevation.grid import Floats, Placed

__all__ = ["WGS84_CRS", "Affine", "Dem", "embedded_dem", "interpolate", "print_of"]

BLOCK = 1 << 22
"""Posts looked at in one go, where all of a model are."""


def interpolate(raster: NDArray[np.float32], column: ArrayLike, row: ArrayLike) -> Floats:
    """Bilinear value of a raster ``[rows, columns]`` at raster coordinates; NaN outside and in voids.

    Arguments broadcast. The last row and column of posts belong to the raster.
    """
    c, r = np.broadcast_arrays(np.asarray(column, np.float64), np.asarray(row, np.float64))
    rows, columns = raster.shape
    inside = (c >= 0) & (c <= columns - 1) & (r >= 0) & (r <= rows - 1)
    c, r = np.where(inside, c, 0.0), np.where(inside, r, 0.0)
    j = np.minimum(c.astype(np.int64), columns - 2)
    i = np.minimum(r.astype(np.int64), rows - 2)
    x, y = c - j, r - i
    flat, first = raster.reshape(-1), i * columns + j
    north = flat[first] * (1 - x) + flat[first + 1] * x
    south = flat[first + columns] * (1 - x) + flat[first + columns + 1] * x
    return np.where(inside, north * (1 - y) + south * y, np.nan)


@dataclass(frozen=True, eq=False)
class Dem(Placed):
    """An elevation raster with its place on the earth.

    Attributes:
        elevation: Posts in metres above sea level, float32 ``[rows, columns]``, NaN where unknown.
        transform: Affine from raster coordinates (column, row), integers at posts, to CRS coordinates (x, y).
        crs: Anything pyproj understands, for example ``"EPSG:4326"`` or ``"EPSG:32632"``.
        known_print: The fingerprint, where it has been computed before; mapped posts are then not read for it.

    Raises:
        TerrainError: Not two-dimensional, fewer than 2 x 2 posts, no valid post, or a transform without an inverse.
    """

    elevation: NDArray[np.float32]
    transform: Affine
    crs: str
    known_print: str | None = None

    def __post_init__(self) -> None:
        elevation = np.ascontiguousarray(self.elevation, np.float32)
        if elevation.ndim != 2 or min(elevation.shape) < 2:
            raise TerrainError(f"elevation has shape {elevation.shape}; at least 2 x 2 posts are needed")
        if not _any_known(elevation):
            raise TerrainError(f"none of the {elevation.size} posts has an elevation")
        if self.transform.determinant == 0:
            raise TerrainError(f"the transform {tuple(self.transform)[:6]} maps all posts onto a line")
        object.__setattr__(self, "elevation", elevation)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of posts."""
        rows, columns = self.elevation.shape
        return rows, columns

    def elevation_at(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Bilinear elevation in metres at WGS84 positions in degrees; NaN outside and in voids."""
        return interpolate(self.elevation, *self.pixel_of(longitude, latitude))

    def fingerprint(self) -> str:
        """SHA-256 of the posts, the transform and the CRS: two models with equal fingerprints render alike."""
        if self.known_print is not None:
            return self.known_print
        return print_of(row_blocks(self.elevation), self.shape, self.transform, self.crs)


def print_of(blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int], transform: Affine, crs: str) -> str:
    """The fingerprint of a model whose posts come in blocks of whole rows, from the first row to the last."""
    digest = hashlib.sha256(repr((crs, shape)).encode())
    digest.update(np.asarray(tuple(transform)[:6], "<f8").tobytes())
    for block in blocks:
        digest.update(np.ascontiguousarray(block, "<f4").data)
    return digest.hexdigest()


def row_blocks(elevation: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Views of consecutive whole rows, of about `BLOCK` posts."""
    step = max(1, BLOCK // elevation.shape[1])
    return (elevation[row : row + step] for row in range(0, len(elevation), step))


def _any_known(elevation: NDArray[np.float32]) -> bool:
    """Whether any post has an elevation; looks no further than to the first rows that have one."""
    return any(np.isfinite(block).any() for block in row_blocks(elevation))


def embedded_dem() -> Dem:
    """The SRTM tile (3 arc seconds, 344 x 403 posts) around Jacksboro, Tennessee, that ships with matplotlib.

    Row 0 is north. The file's ``ymax`` is the true northern edge (36.44625 N); its ``ymin`` was computed with the
    wrong sign (36.73 N, north of ``ymax``) and is ignored: the southern edge is ``ymax - 344 dy``. With these edges the
    highest post falls on Cross Mountain (36.1983 N, 84.2306 W); with any other reading of the file it does not.
    """
    import matplotlib

    with np.load(Path(matplotlib.get_data_path()) / "sample_data" / "jacksboro_fault_dem.npz") as file:
        elevation = np.asarray(file["elevation"], np.float32)
        west, north, dx, dy = (float(file[key]) for key in ("xmin", "ymax", "dx", "dy"))
    return Dem(elevation, Affine(dx, 0.0, west + dx / 2, 0.0, -dy, north - dy / 2), WGS84_CRS)
