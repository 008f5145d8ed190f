"""Which views may be answers: those in a box of longitudes and latitudes, and in a range of altitudes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog
from crosslocate.errors import ConfigError

HALF_TURN = 180.0


@dataclass(frozen=True)
class Selection:
    """A choice of views; edges belong to it.

    Args:
        region: West, south, east and north in degrees; a box whose west is greater than its east crosses the date line.
            None: everywhere.
        altitude: Lowest and highest in metres, of cameras. None: any.
    """

    region: tuple[float, float, float, float] | None = None
    altitude: tuple[float, float] | None = None

    @classmethod
    def of(cls, config: Any) -> "Selection":
        """From the configuration of a localization."""
        region, altitude = config.region, config.altitude
        return cls(
            None if region is None else (float(region[0]), float(region[1]), float(region[2]), float(region[3])),
            None if altitude is None else (float(altitude[0]), float(altitude[1])),
        )

    def among(self, database: Catalog) -> NDArray[np.bool_] | None:
        """The views that are chosen, bool [n]; None: all of them, without a look.

        Raises:
            ConfigError: There are none; names the key, its value, and what there is.
        """
        if self.region is None and self.altitude is None:
            return None
        chosen = np.ones(len(database), bool)
        if self.region is not None:
            chosen &= in_box(np.asarray(database.longitude), np.asarray(database.latitude), self.region)
            if not chosen.any():
                raise ConfigError("region", list(self.region), f"a box with views of {database.path}: {_box(database)}")
        if self.altitude is not None:
            metres = np.asarray(database.elevation)
            low, high = self.altitude
            here = metres[chosen]
            chosen &= (metres >= low) & (metres <= high)
            if not chosen.any():
                where = "" if self.region is None else " in the region"
                extent = f"{here.min():.0f} to {here.max():.0f} m"
                allowed = f"a range with views of {database.path}{where}: {extent}"
                raise ConfigError("altitude", list(self.altitude), allowed)
        return chosen

    def __str__(self) -> str:
        parts = []
        if self.region is not None:
            west, south, east, north = self.region
            parts.append(f"longitude {west:g} to {east:g}, latitude {south:g} to {north:g}")
        if self.altitude is not None:
            parts.append(f"altitude {self.altitude[0]:g} to {self.altitude[1]:g} m")
        return ", ".join(parts)


def in_box(
    longitude: NDArray[np.floating], latitude: NDArray[np.floating], region: tuple[float, float, float, float]
) -> NDArray[np.bool_]:
    """Whether positions [n], in degrees, longitudes from -180 to 180, lie in a box of west, south, east and north."""
    west, south, east, north = region
    inside = _between(longitude, west, east)
    edge = np.abs(longitude) == HALF_TURN  # one meridian with two names
    if edge.any():
        inside |= edge & _between(-longitude, west, east)
    return inside & (latitude >= south) & (latitude <= north)


def _between(longitude: NDArray[np.floating], west: float, east: float) -> NDArray[np.bool_]:
    beyond_west, before_east = longitude >= west, longitude <= east
    return beyond_west & before_east if west <= east else beyond_west | before_east


def _box(database: Catalog) -> str:
    """The extent of a database; where it lies on both sides of the date line, its longitudes go through it."""
    longitude, latitude = np.asarray(database.longitude), np.asarray(database.latitude)
    west, east = longitude.min(), longitude.max()
    if east - west > HALF_TURN:
        west, east = longitude[longitude >= 0].min(), longitude[longitude < 0].max()
    return f"longitude {west:.3f} to {east:.3f}, latitude {latitude.min():.3f} to {latitude.max():.3f}"
