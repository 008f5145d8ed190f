"""Digital elevation models: reading, locating and interpolating posts.

A post is one elevation sample. Raster coordinates are ``(column, row)``, fractional, with integers AT the posts: post
``elevation[row, column]`` has raster coordinates ``(column, row)``. Between posts the surface is bilinear. Voids are
NaN.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from crosslocate.errors import TerrainError

Floats = NDArray[np.float64]

WGS84_CRS = "EPSG:4326"


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> Any:
    """A cached pyproj transformer in x, y (longitude, latitude) order."""
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)


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
class Dem:
    """An elevation raster with its place on the earth.

    Attributes:
        elevation: Posts in metres above sea level, float32 ``[rows, columns]``, NaN where unknown.
        transform: Affine from raster coordinates (column, row), integers at posts, to CRS coordinates (x, y).
        crs: Anything pyproj understands, for example ``"EPSG:4326"`` or ``"EPSG:32632"``.

    Raises:
        TerrainError: Not two-dimensional, fewer than 2 x 2 posts, no valid post, or a transform without an inverse.
    """

    elevation: NDArray[np.float32]
    transform: Affine
    crs: str

    def __post_init__(self) -> None:
        elevation = np.ascontiguousarray(self.elevation, np.float32)
        if elevation.ndim != 2 or min(elevation.shape) < 2:
            raise TerrainError(f"elevation has shape {elevation.shape}; at least 2 x 2 posts are needed")
        if not np.isfinite(elevation).any():
            raise TerrainError(f"none of the {elevation.size} posts has an elevation")
        if self.transform.determinant == 0:
            raise TerrainError(f"the transform {tuple(self.transform)[:6]} maps all posts onto a line")
        object.__setattr__(self, "elevation", elevation)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of posts."""
        rows, columns = self.elevation.shape
        return rows, columns

    @cached_property
    def is_geographic(self) -> bool:
        """Whether the CRS is in degrees of longitude and latitude."""
        from pyproj import CRS

        return bool(CRS.from_user_input(self.crs).is_geographic)

    def pixel_of(self, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Floats, Floats]:
        """Raster coordinates (column, row) of WGS84 positions in degrees; arguments broadcast."""
        lon, lat = np.broadcast_arrays(np.asarray(longitude, np.float64), np.asarray(latitude, np.float64))
        if self.crs == WGS84_CRS:
            x, y = lon, lat
        else:
            x, y = (np.asarray(a) for a in _transformer(WGS84_CRS, self.crs).transform(lon, lat))
        if self.is_geographic:
            x = self._centre_x + np.mod(x - self._centre_x + 180.0, 360.0) - 180.0
        inverse = ~self.transform
        return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f

    def position_of(self, column: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """WGS84 longitude and latitude in degrees of raster coordinates; arguments broadcast."""
        c, r = np.broadcast_arrays(np.asarray(column, np.float64), np.asarray(row, np.float64))
        t = self.transform
        x, y = t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f
        if self.crs == WGS84_CRS:
            return x, y
        lon, lat = _transformer(self.crs, WGS84_CRS).transform(x, y)
        return np.asarray(lon), np.asarray(lat)

    def elevation_at(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Bilinear elevation in metres at WGS84 positions in degrees; NaN outside and in voids."""
        return interpolate(self.elevation, *self.pixel_of(longitude, latitude))

    def contains(self, longitude: ArrayLike, latitude: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions lie within the rectangle of posts (voids included)."""
        column, row = self.pixel_of(longitude, latitude)
        rows, columns = self.shape
        return (column >= 0) & (column <= columns - 1) & (row >= 0) & (row <= rows - 1)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north limits of the posts in degrees; east > 180 when the antimeridian is crossed."""
        lon, lat = self.position_of(*self._outline())
        lon = lon[0] + np.mod(lon - lon[0] + 180.0, 360.0) - 180.0
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())

    def fingerprint(self) -> str:
        """SHA-256 of the posts, the transform and the CRS: two models with equal fingerprints render alike."""
        digest = hashlib.sha256(repr((self.crs, self.shape)).encode())
        digest.update(np.asarray(tuple(self.transform)[:6], "<f8").tobytes())
        digest.update(np.ascontiguousarray(self.elevation, "<f4").data)
        return digest.hexdigest()

    @cached_property
    def _centre_x(self) -> float:
        rows, columns = self.shape
        return float(self.transform.a * (columns - 1) / 2 + self.transform.b * (rows - 1) / 2 + self.transform.c)

    def _outline(self) -> tuple[Floats, Floats]:
        """Raster coordinates of points along the border, 33 on each side."""
        rows, columns = self.shape
        along, zero, one = np.linspace(0, 1, 33), np.zeros(33), np.ones(33)
        column = np.concatenate([along, one, along, zero]) * (columns - 1)
        row = np.concatenate([zero, along, one, along]) * (rows - 1)
        return column, row


def read_dem(path: Path | str) -> Dem:
    """Read the first band of a raster file (GeoTIFF, SRTM .hgt, VRT, anything rasterio opens).

    The file's no-data value and non-finite values become voids.

    Raises:
        TerrainError: The file is missing, is not a raster, has no CRS, or holds no elevations.
    """
    import rasterio
    from rasterio.errors import RasterioError

    path = Path(path)
    if not path.is_file():
        raise TerrainError(f"elevation model {path} does not exist")
    try:
        with rasterio.open(path) as file:
            band = file.read(1, masked=True)
            crs, corner = file.crs, file.transform
    except RasterioError as error:
        raise TerrainError(f"elevation model {path} cannot be read as a raster: {error}") from error
    if crs is None:
        raise TerrainError(f"elevation model {path} has no coordinate reference system; add one with gdal_edit -a_srs")
    elevation = np.ma.filled(band.astype(np.float32), np.nan)
    elevation[~np.isfinite(elevation)] = np.nan
    name = crs.to_string()
    try:
        return Dem(elevation, _centred(corner), name)
    except TerrainError as error:
        raise TerrainError(f"elevation model {path}: {error}") from error


def _centred(corner: Affine) -> Affine:
    """The transform of pixel centres from that of pixel corners, which is what raster files hold."""
    t = corner
    return Affine(t.a, t.b, t.c + (t.a + t.b) / 2, t.d, t.e, t.f + (t.d + t.e) / 2)


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
