"""Elevation tiles: what a file says of itself, and its posts in metres."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.grid import Grid, centred
from crosslocate.terrain.elevation.rectangle import Rectangle
from crosslocate.terrain.elevation.units import UNITS, unit_of_length, unit_of_tag

Posts = NDArray[np.float32]

SRTM_VOID = -32768
"""Void of 16-bit models, whether the file says so or not."""

BLOCK = 1 << 22
"""Posts that are read in one go, about."""

GDAL_CACHE = 64 << 20
"""Bytes of decoded blocks that GDAL keeps: by default it takes a twentieth of the machine."""

DEGREE = 0.017453292519943295
"""Radians."""

READERS = 8
"""Threads that open tiles."""


@dataclass(frozen=True)
class Tile:
    """A raster file of elevations.

    Attributes:
        path: The file.
        grid: Where its posts are: the centres of its pixels.
        unit: Name of the unit of its elevations.
        scale: Elevation in that unit = scale x value + offset.
        offset: See ``scale``.
        block_rows: Rows of the blocks that the file is stored in.
    """

    path: Path
    grid: Grid
    unit: str
    scale: float
    offset: float
    block_rows: int

    def read(self, part: Rectangle) -> Iterator[tuple[Rectangle, Posts]]:
        """Elevations in metres of a part of the posts, in blocks of whole rows of the part, from the first row on.

        Yields:
            Rectangle of the block in the tile; its elevations [rows, columns], NaN where the file has none.

        Raises:
            TerrainError: The file cannot be read.
        """
        import rasterio
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        width = part.right - part.left
        step = max(BLOCK // max(width, 1) // self.block_rows, 1) * self.block_rows
        try:
            with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), rasterio.open(self.path) as file:
                top = part.top
                while top < part.bottom:
                    bottom = min((top // step + 1) * step, part.bottom)
                    values = file.read(1, window=Window(part.left, top, width, bottom - top), masked=True)
                    yield Rectangle(top, part.left, bottom, part.right), self._metres(values)
                    top = bottom
        except RasterioError as error:
            raise TerrainError(f"{self.path} cannot be read: {_cause(error)}") from error

    def _metres(self, values: Any) -> Posts:
        """Elevations of values; whatever is no finite number, or masked, is NaN."""
        void = np.ma.getmaskarray(values)
        raw = values.data
        if np.issubdtype(raw.dtype, np.signedinteger):
            void = void | (raw == SRTM_VOID)
        size = UNITS[self.unit]
        if (self.scale, self.offset, size) != (1.0, 0.0, 1.0):
            raw = (raw.astype(np.float64) * self.scale + self.offset) * size
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and so void
            posts: Posts = raw.astype(np.float32)
        posts[void | ~np.isfinite(posts)] = np.nan
        return posts


def describe_tiles(files: Sequence[Path], units: str | None = None) -> list[Tile]:
    """Open all tiles, and read the last row of each, which a truncated file lacks.

    Args:
        files: Raster files.
        units: Unit of all elevations; None for what the files say, metres where they say nothing.

    Raises:
        TerrainError: Names every file that cannot be used, with the reason.
    """

    def described(file: Path) -> Tile | str:
        try:
            return describe_tile(file, units)
        except TerrainError as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as pool:
        found = list(track(pool.map(described, files), "reading headers of elevation tiles", len(files)))
    if problems := [entry for entry in found if isinstance(entry, str)]:
        head = f"{len(problems)} of {len(files)} elevation tiles cannot be used:\n  " if len(files) > 1 else ""
        raise TerrainError(head + "\n  ".join(problems))
    return [entry for entry in found if isinstance(entry, Tile)]


def describe_tile(path: Path, units: str | None = None) -> Tile:
    """What one file says of itself; see `describe_tiles`."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    if not path.is_file():
        raise TerrainError(f"elevation model {path} does not exist")
    if path.stat().st_size == 0:
        raise TerrainError(f"elevation model {path} is empty: it has 0 bytes")
    try:
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), rasterio.open(path) as file:
            if file.count < 1:
                raise TerrainError(f"elevation model {path} has no band")
            if file.crs is None:
                raise TerrainError(f"elevation model {path} has no coordinate reference system (gdal_edit -a_srs)")
            if file.transform.determinant == 0 or file.transform.is_identity:
                raise TerrainError(f"elevation model {path} does not say where on earth it lies: it has no transform")
            file.read(1, window=Window(0, file.height - 1, file.width, 1))
            crs, vertical = _horizontal(file.crs.to_wkt())
            unit = units or _unit(file.units[0], vertical)
            grid = Grid(centred(file.transform), crs, file.height, file.width)
            return Tile(path, grid, unit, file.scales[0], file.offsets[0], file.block_shapes[0][0])
    except RasterioError as error:
        raise TerrainError(f"elevation model {path} cannot be read as a raster: {_cause(error)}") from error
    except TerrainError as error:
        raise error if str(path) in str(error) else TerrainError(f"elevation model {path}: {error}") from None


def _unit(tag: str | None, vertical: str | None) -> str:
    """The unit of a band: what its tag says, else its vertical coordinate system, else metres."""
    return unit_of_tag(tag) if tag else vertical or "metres"


@lru_cache(maxsize=64)
def _horizontal(wkt: str) -> tuple[str, str | None]:
    """Name of the horizontal part of a coordinate reference system, and the unit of its vertical part if it has one.

    Raises:
        TerrainError: Positions in it are neither degrees nor lengths on a map.
    """
    from pyproj import CRS

    crs, unit = CRS.from_wkt(wkt), None
    if crs.is_compound:
        crs, vertical = crs.sub_crs_list[0], crs.sub_crs_list[1]
        unit = unit_of_length(vertical.axis_info[0].unit_conversion_factor)
    crs = crs.to_2d()
    degrees = crs.is_geographic and abs(crs.axis_info[0].unit_conversion_factor - DEGREE) < 1e-9
    if not (crs.is_projected or degrees):
        raise TerrainError(f"its coordinate reference system is {crs.name!r}; allowed: projected ones, and degrees")
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else crs.to_wkt(), unit


def _cause(error: Exception) -> str:
    """What GDAL said: rasterio keeps it behind an error of its own."""
    return str(error.__cause__ or error)
