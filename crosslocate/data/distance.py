"""How far apart two places are: models of distance, each with a space in which neighbours can be looked up.

A model answers two questions. `PlaceDistance.metres` is its distance, exact to the last bit. `points` puts places into
a Euclidean space whose straight lines bound that distance from both sides (`bounds`), so that a KD-tree over the points
finds candidates, and the distance itself is computed only where the bounds leave a threshold open.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import DataError
from crosslocate.geo import WGS84_ECCENTRICITY_SQUARED, WGS84_SEMI_MAJOR, ecef, geodesic_distance

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]
Coordinates = tuple[Floats, Floats]
"""Two coordinates of places, of one shape: longitude and latitude in degrees, or easting and northing in metres."""

_MIN_RADIUS = WGS84_SEMI_MAJOR * (1.0 - WGS84_ECCENTRICITY_SQUARED)
"""Smallest radius of curvature of WGS84 (along the meridian, at the equator), metres."""
_FARTHEST = 20_004_000.0
"""Metres; no two points of WGS84 are as far apart."""
_ROUNDING = 1e-6
"""Metres, far above the rounding of coordinates of some thousand kilometres (about 1e-9 m)."""
_LONGEST_CHORD = 2.0 * WGS84_SEMI_MAJOR + _ROUNDING
"""Metres; the computed chord of antipodes can exceed the diameter by its rounding."""


class Posed(Protocol):
    """Where images were taken, and in which direction: a catalog, or anything alike."""

    @property
    def longitude(self) -> Floats:
        """Degrees, [n]."""
        ...

    @property
    def latitude(self) -> Floats:
        """Degrees, [n]."""
        ...

    @property
    def yaw(self) -> Floats:
        """Radians clockwise from true north, [n]."""
        ...

    @property
    def horizontal_fov(self) -> Floats:
        """Radians, [n]."""
        ...

    def __len__(self) -> int: ...


class PlaceDistance(ABC):
    """A distance between places, in metres."""

    @abstractmethod
    def coordinates(self, poses: Posed) -> Coordinates:
        """What the distance is computed from, each [n], of a catalog or anything else that has poses."""

    @abstractmethod
    def points(self, places: Coordinates) -> Floats:
        """Places in the model's Euclidean space, [..., 2 or 3]."""

    @abstractmethod
    def metres(self, places: Coordinates, to: Coordinates) -> Floats:
        """The distance; all arrays broadcast."""

    @abstractmethod
    def reach(self, metres: float) -> float:
        """Radius of a ball in the model's space that holds every place within ``metres``."""

    @abstractmethod
    def bounds(self, straight: Floats) -> tuple[Floats, Floats]:
        """Lowest and highest distance of places whose points lie ``straight`` metres apart."""

    def between(self, queries: Posed, query_rows: Ints, database: Posed, database_rows: Ints) -> Floats:
        """Metres between queries and views; row arrays broadcast."""
        return self.metres(_at(self.coordinates(queries), query_rows), _at(self.coordinates(database), database_rows))

    def within(
        self, straight: Floats, metres: float, queries: Coordinates, query_rows: Ints, views: Coordinates, rows: Ints
    ) -> Bools:
        """Whether pairs lie at most ``metres`` apart.

        Args:
            straight: Distances of the pairs' points [n].
            metres: The threshold, inclusive.
            queries: Coordinates that ``query_rows`` [n] index.
            query_rows: One row of each pair.
            views: Coordinates that ``rows`` [n] index.
            rows: The other row of each pair.
        """
        low, high = self.bounds(straight)
        inside: Bools = high <= metres
        unsure = np.flatnonzero(~inside & (low <= metres))
        if len(unsure):
            inside[unsure] = self.metres(_at(queries, query_rows[unsure]), _at(views, rows[unsure])) <= metres
        return inside

    def column(self, limits: Floats, queries: Posed, query_rows: Ints, database: Posed, database_rows: Ints) -> Ints:
        """Index of the first of ascending ``limits`` (metres) that is no less than the distance of each pair, [n].

        The distance itself is computed only where its bounds lie on both sides of a limit.
        """
        query, view = _at(self.coordinates(queries), query_rows), _at(self.coordinates(database), database_rows)
        straight = np.sqrt(np.square(self.points(query) - self.points(view)).sum(-1))
        low, high = self.bounds(straight)
        column = np.searchsorted(limits, low)
        unsure = np.flatnonzero(column != np.searchsorted(limits, high))
        if len(unsure):
            column[unsure] = np.searchsorted(limits, self.metres(_at(query, unsure), _at(view, unsure)))
        return column


class _OnEllipsoid(PlaceDistance):
    """Positions on WGS84; elevations play no role. The space is ECEF, on the ellipsoid."""

    near_slack = _ROUNDING
    far_slack = _ROUNDING
    """Metres by which the distance may differ from the true geodesic, below and above 10,000 km of chord."""

    def coordinates(self, poses: Posed) -> Coordinates:
        """Longitude and latitude, degrees."""
        return poses.longitude, poses.latitude

    def points(self, places: Coordinates) -> Floats:
        """ECEF coordinates of the feet on the ellipsoid, [..., 3]."""
        return ecef(*places)

    def reach(self, metres: float) -> float:
        """A chord is never longer than the geodesic."""
        return min(metres + (self.near_slack if metres < 1e7 else self.far_slack), _LONGEST_CHORD)

    def bounds(self, straight: Floats) -> tuple[Floats, Floats]:
        """The chord c bounds the geodesic g: c <= g <= 2 R asin(c / 2R), R the smallest radius of curvature.

        That is Schur's comparison theorem, for curves of at most pi R; every chord up to 2 R belongs to such a one.
        """
        share = straight / (2.0 * _MIN_RADIUS)
        high = np.where(share < 1.0, 2.0 * _MIN_RADIUS * np.arcsin(np.minimum(share, 1.0)), _FARTHEST)
        slack = np.where(straight < 1e7, self.near_slack, self.far_slack)
        return straight - slack, high + slack


@dataclass(frozen=True)
class Geodesic(_OnEllipsoid):
    """Geodesics of WGS84 (Karney 2013), true to nanometres."""

    def metres(self, places: Coordinates, to: Coordinates) -> Floats:
        """Geodesic distance."""
        return geodesic_distance(*places, *to)


@dataclass(frozen=True)
class Vincenty(_OnEllipsoid):
    """Vincenty's formula on WGS84, as the CrossLocate reference computes it; a few micrometres off the geodesic.

    For nearly antipodal places, where the formula fails, it is the geodesic.
    """

    near_slack = 1e-3
    far_slack = 1.0

    def metres(self, places: Coordinates, to: Coordinates) -> Floats:
        """Distance, see `crosslocate.data.vincenty`."""
        from crosslocate.data.vincenty import vincenty_distances

        arrays = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (*places, *to)))
        flat = [np.ascontiguousarray(a).ravel() for a in arrays]
        out = vincenty_distances(*flat)
        failed = np.flatnonzero(np.isnan(out))
        if len(failed):
            out[failed] = geodesic_distance(*(a[failed] for a in flat))
        return out.reshape(arrays[0].shape)


@dataclass(frozen=True)
class Utm(PlaceDistance):
    """Straight lines in the plane of a UTM zone. All places must be given in one zone: nothing here can tell."""

    def coordinates(self, poses: Posed) -> Coordinates:
        """Easting and northing, metres.

        Raises:
            DataError: There are no such columns.
        """
        try:
            return poses.easting, poses.northing  # type: ignore[attr-defined]
        except AttributeError:
            raise DataError(f"{type(poses).__name__} has no easting and northing; distance=utm needs them") from None

    def points(self, places: Coordinates) -> Floats:
        """The plane itself, [..., 2]."""
        return np.stack(np.broadcast_arrays(*places), axis=-1)

    def metres(self, places: Coordinates, to: Coordinates) -> Floats:
        """Euclidean distance."""
        east, north = places[0] - to[0], places[1] - to[1]
        return np.sqrt(east * east + north * north)

    def reach(self, metres: float) -> float:
        """Straight lines are the distance, but for rounding."""
        return metres * (1.0 + 1e-12) + _ROUNDING

    def bounds(self, straight: Floats) -> tuple[Floats, Floats]:
        """As `reach`."""
        slack = straight * 1e-12 + _ROUNDING
        return straight - slack, straight + slack


GEODESIC = Geodesic()
"""The distance wherever none is asked for."""


def _at(coordinates: Coordinates, rows: Ints) -> Coordinates:
    return np.asarray(coordinates[0])[rows], np.asarray(coordinates[1])[rows]
