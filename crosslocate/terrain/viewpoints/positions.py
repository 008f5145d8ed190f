"""Positions where cameras may stand, and the schemes that choose them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.area import Area

Floats = NDArray[np.float64]
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Positions:
    """Columns of equal length, one row each position; NaN and '' where a scheme leaves a choice to the survey.

    Attributes:
        name: Unique, and the same whenever the position is chosen; names of files begin with it.
        longitude: Degrees.
        latitude: Degrees.
        ground: Elevation of the terrain in metres.
        height: Of the camera above the ground in metres.
        altitude: Of the camera above sea level in metres; counts before ``height``.
        yaw: Heading of the one camera there, radians; NaN where cameras are to look round.
        pitch: Radians.
        roll: Radians.
        fov: Horizontal field of view in radians.
        split: train, val or test.
        left_out: Numbers of positions that were not taken, by reason.
    """

    name: NDArray[np.str_]
    longitude: Floats
    latitude: Floats
    ground: Floats
    height: Floats
    altitude: Floats
    yaw: Floats
    pitch: Floats
    roll: Floats
    fov: Floats
    split: NDArray[np.str_]
    left_out: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def plain(
        cls,
        name: NDArray[np.str_],
        longitude: Floats,
        latitude: Floats,
        ground: Floats,
        *,
        left_out: Mapping[str, Any],
        **given: Any,
    ) -> "Positions":
        """Positions of which no more is known than what is given."""
        unknown = np.full(len(name), np.nan)
        free = dict.fromkeys(("height", "altitude", "yaw", "pitch", "roll", "fov"), unknown)
        columns = {**free, "split": np.zeros(len(name), "U5"), **given}
        return cls(name, longitude, latitude, ground, left_out=left_out, **columns)

    def __len__(self) -> int:
        return len(self.name)

    def take(self, rows: NDArray[Any] | slice, **changed: Any) -> "Positions":
        """The positions of some rows (indices, a mask or a slice), with some columns or counts changed."""
        kept = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "left_out"}
        return Positions(**{**kept, "left_out": self.left_out, **changed})


@dataclass(frozen=True)
class Site:
    """What a scheme chooses positions on.

    Attributes:
        area: Where they may lie.
        terrain: The terrain.
        sea: Elevation in metres at which the ground is taken for open water; None: nothing is.
        database: Positions of the database, where those of queries are chosen.
        aspect: Width over height of the images, for fields of view that are given vertically.
    """

    area: Area
    terrain: Terrain
    sea: float | None = None
    database: Positions | None = None
    aspect: float = 4 / 3

    @property
    def key(self) -> str:
        """Where the configuration has the scheme that chooses: `DATABASE`, or `QUERIES` where there is a database."""
        return DATABASE if self.database is None else QUERIES

    def ground(self, longitude: Floats, latitude: Floats) -> Floats:
        """Elevation of the terrain in metres, [n]; NaN outside and in voids."""
        found = np.empty(len(longitude))
        for k in range(0, len(found), _BLOCK):
            part = slice(k, k + _BLOCK)
            found[part] = self.terrain.elevation_at(longitude[part], latitude[part])
        return found

    def standing(self, ground: Floats, altitude: Floats | None = None) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Where a camera can stand, [n], and at how many places it cannot, by reason.

        Args:
            ground: Elevation of the terrain in metres, [n].
            altitude: Of cameras in metres; where it is known (not NaN), the camera may be above open water.
        """
        void = np.isnan(ground)
        water = ground == self.sea if self.sea is not None else np.zeros(len(ground), bool)
        if altitude is not None:
            water &= np.isnan(altitude)
        return ~(void | water), {WITHOUT_GROUND: int(void.sum()), ON_WATER: int(water.sum())}


class Viewpoints(Protocol):
    """A scheme that chooses positions: plain values, as in ``conf/viewpoints``."""

    def check(self, key: str) -> None:
        """Make sure that the values can work.

        Args:
            key: Where the configuration has this scheme: `DATABASE` or `QUERIES`.

        Raises:
            ConfigError: One cannot, or the scheme is for the other role.
        """
        ...

    def positions(self, site: Site, rng: Generator) -> Positions:
        """The positions on a site; those where nobody can stand are left out and counted."""
        ...


DATABASE, QUERIES = "survey.database", "survey.queries"
"""Where a survey's configuration has its two schemes."""
WITHOUT_GROUND = "without_elevation"
"""Reason in ``left_out``: over a void, or outside of the terrain."""
ON_WATER = "on_water"
"""Reason in ``left_out``: the ground is at the elevation of the sea."""
