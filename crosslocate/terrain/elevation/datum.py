"""From WGS84 to a coordinate reference system and back, by one operation for all of a raster.

National systems have several coordinate operations that lead there, each for a region and some metres apart. PROJ
chooses one for every point, and beyond all regions shifts none of them: a raster would have steps in it. Here one
operation is chosen for the middle of a raster, and serves everywhere and in both directions. Operations with shift
grids, which end at a border and are not installed everywhere, are taken only where there is no other.
"""

import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

WGS84_CRS = "EPSG:4326"

Area = tuple[float, float, float, float]
"""West, south, east, north in degrees; east < west when the antimeridian is crossed."""


class Operation(NamedTuple):
    """A coordinate operation from longitude and latitude (degrees, WGS84) to x and y of a system.

    Attributes:
        name: What PROJ calls it.
        accuracy: Metres that PROJ's database gives; negative where it gives none.
        transformer: A pyproj transformer, which may be used from several threads; None where nothing is to be done.
        refined: Whether `backward` corrects the transformer, which is millimetres off there: shifts of a datum are
            applied at height 0 of the system that they start from.
    """

    name: str
    accuracy: float
    transformer: Any = None
    refined: bool = False

    def forward(self, longitude: ArrayLike, latitude: ArrayLike) -> tuple[Floats, Floats]:
        """X and y of positions."""
        if self.transformer is None:
            return np.asarray(longitude, np.float64), np.asarray(latitude, np.float64)
        x, y = self.transformer.transform(longitude, latitude)
        return np.asarray(x), np.asarray(y)

    def backward(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Longitude and latitude of x and y."""
        if self.transformer is None:
            return np.asarray(x, np.float64), np.asarray(y, np.float64)
        longitude, latitude = self.transformer.transform(x, y, direction="INVERSE")
        if self.refined:
            there_x, there_y = self.forward(longitude, latitude)
            aim = 2.0 * np.asarray(x) - there_x, 2.0 * np.asarray(y) - there_y
            longitude, latitude = self.transformer.transform(*aim, direction="INVERSE")
        return np.asarray(longitude), np.asarray(latitude)


@lru_cache(maxsize=1024)
def operation_around(crs: str, x: float, y: float) -> Operation:
    """The operation for a raster whose middle has the coordinates x and y in a system.

    Of the operations whose area of use is nearest to it (most often: around it) the most accurate one, of these the
    one for the smallest area.
    """
    if crs == WGS84_CRS:
        return Operation("", 0.0)
    found = _operations(crs)
    if len(found) == 1:
        return found[0][0]
    longitude, latitude = (float(values) for values in found[0][0].backward(x, y))  # good to some 100 m

    def rank(candidate: tuple[Operation, Area | None]) -> tuple[float, float, float]:
        operation, area = candidate
        accuracy = operation.accuracy if operation.accuracy >= 0 else np.inf
        if area is None:
            return 0.0, accuracy, np.inf
        west, south, east, north = area
        width = (east - west) % 360.0
        aside = (longitude - west) % 360.0
        across = 0.0 if aside <= width else min(aside - width, 360.0 - aside)
        along = max(south - latitude, latitude - north, 0.0)
        return float(np.hypot(across * np.cos(np.radians(latitude)), along)), accuracy, width * (north - south)

    return min(found, key=rank)[0]


@lru_cache(maxsize=64)
def _operations(crs: str) -> list[tuple[Operation, Area | None]]:
    """Operations from WGS84 to a system, with the limits (degrees) of their areas of use; at least one."""
    from pyproj import Transformer
    from pyproj.transformer import TransformerGroup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a better one would need a grid: see `Operation.accuracy`
        group = TransformerGroup(WGS84_CRS, crs, always_xy=True, allow_ballpark=False).transformers
        group = group or TransformerGroup(WGS84_CRS, crs, always_xy=True).transformers
    usable = [one for one in group if one.has_inverse]
    chosen = [one for one in usable if "grids=" not in one.definition] or usable
    if not chosen:
        return [(Operation("", -1.0, Transformer.from_crs(WGS84_CRS, crs, always_xy=True)), None)]
    return [
        (
            Operation(
                one.description,
                float(one.accuracy),
                Transformer.from_pipeline(one.definition),
                "proj=cart" in one.definition,
            ),
            one.area_of_use.bounds if one.area_of_use is not None else None,
        )
        for one in chosen
    ]
