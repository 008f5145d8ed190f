"""Land cover from maps: what class the ground has at places on the earth.

A map is any number of raster files of class numbers, each in its own CRS, of which only blocks around what is asked for
are read and remembered. Near, the pixel in which a place lies counts (nearest neighbour). Where an image pixel covers
several of the map's, the class that most of these have counts, so that far land does not sparkle.
"""

import glob
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.datum import Operation, operation_around
from crosslocate.terrain.elevation.grid import is_geographic
from crosslocate.terrain.imagery.legend import UNKNOWN, Legend

BLOCK = 512
"""Pixels along a side of a block."""

MOST_LEVEL = 6
"""Coarsest level: 64 x 64 pixels of the map as one."""

ENDINGS = (".tif", ".tiff", ".vrt", ".img", ".asc")
"""Files of a folder that are taken for maps."""

_SAMPLE = 1 << 20  # bytes at the start and the end of a file that its print is made of

Floats = NDArray[np.float64]
Indices = NDArray[np.uint8]


@dataclass(frozen=True)
class Sheet:
    """One raster file of a map: where it lies and how large it is.

    Attributes:
        path: The file.
        crs: Its coordinate reference system.
        transform: From (column, row), integers at pixel corners, to CRS coordinates.
        shape: Rows and columns.
        spacing: Metres along a side of a pixel, about.
        bounds: West, south, east and north limits in degrees.
    """

    path: Path
    crs: str
    transform: Affine
    shape: tuple[int, int]
    spacing: float
    bounds: tuple[float, float, float, float]

    @property
    def operation(self) -> Operation:
        """From WGS84 to its CRS."""
        t, (rows, columns) = self.transform, self.shape
        x, y = (a * columns / 2 + b * rows / 2 + c for a, b, c in ((t.a, t.b, t.c), (t.d, t.e, t.f)))
        return operation_around(self.crs, x, y)


class ClassMap:
    """Land cover classes of places on the earth. May be used from several threads. Picklable.

    Args:
        paths: Raster files, folders of them, or patterns with ``*``; where several cover a place the first one that
            knows it counts.
        legend: What their values mean.
        own_colours: Paint segments in the legend's colours, not in those of the six segment classes.
        memory: MiB of blocks that are remembered.

    Raises:
        TerrainError: Files that are missing, cannot be read, have no CRS or hold no whole numbers: all of them at once.
    """

    def __init__(
        self, paths: Sequence[str | Path] | str | Path, legend: Legend, own_colours: bool = False, memory: int = 256
    ) -> None:
        self.legend, self.own_colours, self.memory = legend, own_colours, memory
        self.sheets = _open_all(_expand([paths] if isinstance(paths, str | Path) else paths))
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def at(self, longitude: Floats, latitude: Floats, footprint: Floats) -> Indices:
        """Index of the legend's class at places, `UNKNOWN` where no map knows any, uint8 ``[n]``.

        Args:
            longitude: Degrees, ``[n]``.
            latitude: Degrees, ``[n]``.
            footprint: Metres of ground that is looked at, ``[n]``.

        Raises:
            TerrainError: A map holds a value that the legend does not have; names file and value.
        """
        found = np.full(longitude.shape, UNKNOWN, np.uint8)
        projected: dict[tuple[str, str], tuple[Floats, Floats]] = {}
        for number, sheet in enumerate(self.sheets):
            west, south, east, north = sheet.bounds
            turned = np.mod(longitude - west, 360.0)
            here = (found == UNKNOWN) & (turned <= east - west) & (latitude >= south) & (latitude <= north)
            if not here.any():
                continue
            operation = sheet.operation
            way = sheet.crs, operation.name
            if way not in projected:
                projected[way] = operation.forward(longitude, latitude)
            x, y = (axis[here] for axis in projected[way])
            if is_geographic(sheet.crs):
                x = sheet.transform.c + np.mod(x - sheet.transform.c, 360.0)
            found[here] = self._look_up(number, x, y, footprint[here])
        return found

    def parameters(self) -> dict[str, Any]:
        """What images depend on, as JSON values: names, sizes and prints of the files, and the legend."""
        return {
            "files": [[sheet.path.name, sheet.path.stat().st_size, _print(sheet.path)] for sheet in self.sheets],
            "legend": self.legend.parameters(),
            "own_colours": self.own_colours,
        }

    def _look_up(self, number: int, x: Floats, y: Floats, footprint: Floats) -> Indices:
        sheet, found = self.sheets[number], np.full(x.shape, UNKNOWN, np.uint8)
        back = ~sheet.transform
        column, row = (
            np.floor(a).astype(np.int64) for a in (back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f)
        )
        level = np.clip(np.floor(np.log2(np.maximum(footprint / sheet.spacing, 1.0))), 0, MOST_LEVEL).astype(np.int64)
        column, row = column >> level, row >> level
        size = BLOCK << level
        rows, columns = sheet.shape
        inside = (column >= 0) & (row >= 0) & (column << level < columns) & (row << level < rows)
        across = -(-columns // size)
        key = np.where(inside, ((row // BLOCK) * across + column // BLOCK) * (MOST_LEVEL + 1) + level, -1)
        order = np.argsort(key, kind="stable")
        distinct, first = np.unique(key[order], return_index=True)
        for one, here in zip(distinct.tolist(), np.split(order, first[1:]), strict=True):
            if one >= 0:
                block, step = divmod(one, MOST_LEVEL + 1)
                down, right = divmod(block, int(across[here[0]]))
                known = self._block(number, step, down, right)
                rows_known, columns_known = known.shape
                i = np.minimum(row[here] - down * BLOCK, rows_known - 1)
                j = np.minimum(column[here] - right * BLOCK, columns_known - 1)
                found[here] = known[i, j]
        return found

    def _block(self, number: int, level: int, down: int, right: int) -> Indices:
        key = number, level, down, right
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        block = self._read(number, level, down, right)
        with self._lock:
            self._kept[key] = block
            while len(self._kept) > max(1, (self.memory << 20) // (BLOCK * BLOCK)):
                self._kept.popitem(last=False)
        return block

    def _read(self, number: int, level: int, down: int, right: int) -> Indices:
        import rasterio
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        sheet, size = self.sheets[number], BLOCK << level
        top, left = down * size, right * size
        # At the end of a map what is left of a coarse pixel is not read: the one before it serves.
        height, width = (
            max(min(size, n - start) >> level << level, 1) for n, start in zip(sheet.shape, (top, left), strict=True)
        )
        try:
            with rasterio.open(sheet.path) as file:
                values = file.read(
                    1,
                    window=Window(left, top, width, height),
                    out_shape=(max(height >> level, 1), max(width >> level, 1)) if level else None,
                    resampling=Resampling.mode if level else Resampling.nearest,
                    masked=True,
                )
        except RasterioError as error:
            raise TerrainError(f"land cover {sheet.path} cannot be read: {error}") from error
        hidden = np.ma.getmaskarray(values)
        indices, strange = self.legend.indices(np.where(hidden, next(iter(self.legend.index)), values.data))
        if strange:
            raise TerrainError(
                f"land cover {sheet.path} holds the value {strange[0]}, which the legend '{self.legend.name}' does not "
                f"have; its values are {', '.join(str(v) for v in sorted(self.legend.index))} "
                f"and no data {', '.join(str(v) for v in self.legend.nodata) or '(none)'}"
            )
        indices[hidden] = UNKNOWN
        return indices

    def _forget(self) -> None:
        self._kept: OrderedDict[tuple[int, int, int, int], Indices] = OrderedDict()
        self._lock = threading.Lock()


def _expand(paths: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if Path(path).is_dir():
            inside = sorted(p for p in Path(path).iterdir() if p.suffix.lower() in ENDINGS)
        else:
            inside = [Path(path)] if Path(path).exists() else sorted(Path(p) for p in glob.glob(str(path)))  # noqa: PTH207 - patterns may be absolute
        if not inside:
            raise TerrainError(f"land cover {path} holds no file ({', '.join(ENDINGS)} are looked for in folders)")
        found += inside
    return found


def _open_all(paths: Sequence[Path]) -> list[Sheet]:
    sheets, faults = [], []
    for path in paths:
        try:
            sheets.append(_open(path))
        except TerrainError as error:
            faults.append(str(error))
    if faults or not sheets:
        raise TerrainError("\n".join(faults) or "a land cover map needs at least one file")
    return sheets


def _open(path: Path) -> Sheet:
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.warp import transform_bounds

    try:
        with rasterio.open(path) as file:
            crs, transform, shape, kind = file.crs, file.transform, file.shape, np.dtype(file.dtypes[0])
            edges = file.bounds
    except RasterioError as error:
        raise TerrainError(f"land cover {path} cannot be read as a raster: {error}") from error
    if not crs:
        raise TerrainError(f"land cover {path} has no coordinate reference system")
    if not np.issubdtype(kind, np.integer):
        raise TerrainError(f"land cover {path} holds {kind}; class numbers are whole")
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *edges)
    side = abs(transform.determinant) ** 0.5
    if crs.is_geographic:
        side *= 111_320.0 * float(np.cos(np.radians((south + north) / 2))) ** 0.5
    else:
        side *= float(crs.linear_units_factor[1])
    east = east if east > west else east + 360.0
    return Sheet(Path(path), crs.to_string(), transform, shape, side, (west, south, east, north))


def _print(path: Path) -> str:
    """SHA-256 of the first and the last MiB of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_SAMPLE))
        file.seek(max(path.stat().st_size - _SAMPLE, 0))
        digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
