"""Schemes that choose positions: a grid, random ones, ones near the database's, none."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import WGS84_ECCENTRICITY_SQUARED, destination
from crosslocate.terrain.viewpoints.lattice import Lattice
from crosslocate.terrain.viewpoints.names import joined, numbered
from crosslocate.terrain.viewpoints.positions import DATABASE, ON_WATER, WITHOUT_GROUND, Positions, Site
from crosslocate.terrain.viewpoints.thinning import apart, require_spacing

Floats = NDArray[np.float64]
_CHUNK = 1 << 18
_MOST = 1_000_000_000
MOST_POSITIONS = 20_000_000
"""Positions of a grid, at most: of each some 200 bytes are held when a survey is made."""
_PATIENCE = 200


@dataclass(frozen=True)
class Grid:
    """A uniform grid: the middles of the cells of a `Lattice`. Names are ``g<row>_<column>``, the same everywhere.

    Attributes:
        spacing: Metres between neighbours.
    """

    spacing: float = 500.0

    def check(self, key: str) -> None:
        """A spacing of 1 m to 1,000 km."""
        if not 1.0 <= self.spacing <= 1e6:
            raise ConfigError(f"{key}.spacing", self.spacing, "1 to 1,000,000 metres")

    def positions(self, site: Site, rng: Generator) -> Positions:  # noqa: ARG002
        """All middles of cells in the area that have ground, from south to north and west to east."""
        lattice = Lattice(self.spacing)
        west, south, east, north = site.area.bounds
        (first, last), _ = lattice.cells(np.array([west, west]), np.array([south, north]))
        rows = np.arange(first, last + 1)
        columns = lattice.columns(rows)
        begin = np.floor((west + 180.0) / 360.0 * columns).astype(np.int64)
        count = np.minimum(np.floor((east + 180.0) / 360.0 * columns).astype(np.int64) - begin + 1, columns)
        if count.sum() > _MOST:
            raise ConfigError(
                f"{site.key}.spacing", self.spacing, f"a spacing that gives the region at most {_MOST:,} cells",
                f"This one gives {count.sum():,}",
            )  # fmt: skip
        groups = np.flatnonzero(np.diff(np.cumsum(count) // _CHUNK, prepend=-1))
        parts, found = [], 0
        for a, b in zip(groups, [*groups[1:], len(rows)], strict=True):
            parts.append(self._rows(site, lattice, rows[a:b], begin[a:b], count[a:b]))
            found += len(parts[-1][0])
            if found > MOST_POSITIONS:
                raise ConfigError(
                    f"{site.key}.spacing", self.spacing,
                    f"a spacing that gives the region at most {MOST_POSITIONS:,} positions",
                )  # fmt: skip
        row, column, lon, lat, ground = (np.concatenate([part[k] for part in parts]) for k in range(5))
        known, left_out = site.standing(ground)
        row, column, lon, lat, ground = (values[known] for values in (row, column, lon, lat, ground))
        digits = [max(5, len(str(most))) for most in (lattice.rows, 2 * lattice.rows)]
        name = joined(numbered("g", row, digits[0]), numbered("_", column, digits[1]))
        return Positions.plain(name, lon, lat, ground, left_out=left_out)

    def _rows(
        self, site: Site, lattice: Lattice, rows: NDArray[np.int64], begin: NDArray[np.int64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats, Floats]:
        """Row, column, longitude, latitude and ground of the cells of some rows in the area."""
        row = np.repeat(rows, count)
        step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        column = (np.repeat(begin, count) + step) % np.repeat(lattice.columns(rows), count)
        lon, lat = lattice.middles(row, column)
        inside = site.area.contains(lon, lat)
        lon, lat = lon[inside], lat[inside]
        return row[inside], column[inside], lon, lat, site.ground(lon, lat)


@dataclass(frozen=True)
class Scattered:
    """Random positions, uniform per area. Names are ``r<number>``, in the order they were drawn.

    Attributes:
        count: How many.
        spacing: Smallest distance between two in metres; 0: none.
    """

    count: int = 1000
    spacing: float = 0.0

    def check(self, key: str) -> None:
        """At least one position, and no negative spacing."""
        if self.count < 1:
            raise ConfigError(f"{key}.count", self.count, "1 or more")
        require_spacing(key, self.spacing)

    def positions(self, site: Site, rng: Generator) -> Positions:
        """The first ``count`` draws that lie in the area, have ground, and keep their distance to those before.

        Raises:
            TerrainError: 200 draws for each position do not give them.
        """
        found = np.empty((0, 3))
        left_out = {WITHOUT_GROUND: 0, ON_WATER: 0}
        drawn = 0
        while len(found) < self.count:
            if drawn > _PATIENCE * (self.count + _CHUNK // 64):
                raise TerrainError(
                    f"{drawn:,} random positions in the region give {len(found):,} of the {self.count:,} asked for, at "
                    f"a spacing of {self.spacing:.0f} m ({left_out[WITHOUT_GROUND]:,} have no elevation, "
                    f"{left_out[ON_WATER]:,} are on water); ask for fewer, a smaller spacing, or name a region that "
                    "the terrain covers"
                )
            lon, lat = _uniform(site.area.bounds, _CHUNK // 8, rng)
            drawn += len(lon)
            inside = site.area.contains(lon, lat)
            lon, lat = lon[inside], lat[inside]
            ground = site.ground(lon, lat)
            known, reasons = site.standing(ground)
            found = np.concatenate([found, np.stack([lon, lat, ground], axis=1)[known]])
            found = found[apart(found[:, 0], found[:, 1], self.spacing)]
            left_out = {reason: left_out[reason] + count for reason, count in reasons.items()}
        lon, lat, ground = np.ascontiguousarray(found[: self.count].T)
        return Positions.plain(numbered("r", np.arange(self.count), 6), lon, lat, ground, left_out=left_out)


@dataclass(frozen=True)
class NearDatabase:
    """For queries: random positions near those of the database. Names are ``n<number>``.

    Attributes:
        count: How many; the database's positions are gone through in random order, again and again.
        distance: Largest distance to that position in metres, uniform per area; 0: at the very camera of its views.
    """

    count: int = 1000
    distance: float = 0.0

    def check(self, key: str) -> None:
        """At least one position, a distance of at most 1,000 km, and a database to be near."""
        if key == DATABASE:
            raise _not_for_the_database("near", "This one chooses positions near those of the database")
        if self.count < 1:
            raise ConfigError(f"{key}.count", self.count, "1 or more")
        if not 0.0 <= self.distance <= 1e6:
            raise ConfigError(f"{key}.distance", self.distance, "0 to 1,000,000 metres")

    def positions(self, site: Site, rng: Generator) -> Positions:
        """The positions; those that fall on no ground are left out. None where the database has none."""
        database = site.database
        assert database is not None  # as `check` has seen
        if not len(database):
            return Nowhere().positions(site, rng)
        rounds = -(-self.count // len(database))
        beside = np.concatenate([rng.permutation(len(database)) for _ in range(rounds)])[: self.count]
        lon, lat, ground = database.longitude[beside], database.latitude[beside], database.ground[beside]
        altitude = database.altitude[beside]
        if self.distance > 0.0:
            heading, far = rng.uniform(0.0, 2.0 * np.pi, self.count), self.distance * np.sqrt(rng.random(self.count))
            lon, lat = destination(lon, lat, heading, far)
            ground, altitude = site.ground(lon, lat), np.full(self.count, np.nan)
        known, left_out = site.standing(ground, altitude)
        near = Positions.plain(
            numbered("n", np.arange(self.count), 6), lon, lat, ground,
            left_out=left_out, altitude=altitude, split=database.split[beside],
        )  # fmt: skip
        return near.take(known)


@dataclass(frozen=True)
class Nowhere:
    """No positions: a data set without queries."""

    def check(self, key: str) -> None:
        """For queries only."""
        if key == DATABASE:
            raise _not_for_the_database("none", "A data set needs a database")

    def positions(self, site: Site, rng: Generator) -> Positions:  # noqa: ARG002
        """None at all."""
        empty = np.empty(0)
        return Positions.plain(np.empty(0, "U1"), empty, empty, empty, left_out={})


def _not_for_the_database(name: str, why: str) -> ConfigError:
    return ConfigError(f"viewpoints@{DATABASE}", name, "grid, random, list or track", why)


def _uniform(bounds: tuple[float, float, float, float], count: int, rng: Generator) -> tuple[Floats, Floats]:
    """Random positions between two meridians and two parallels, uniform per area of the ellipsoid."""
    west, south, east, north = bounds
    longitude = np.mod(rng.uniform(west, east, count) + 180.0, 360.0) - 180.0
    low, high = _zone(np.array([south, north]))
    wanted = rng.uniform(low, high, count)
    phi = np.arcsin(np.clip(wanted / _zone(np.array([90.0]))[0], -1.0, 1.0))
    for _ in range(6):  # Newton; the first guess is that of a sphere
        sine = np.sin(phi)
        slope = (
            2.0 * (1.0 - WGS84_ECCENTRICITY_SQUARED) * np.cos(phi) / (1.0 - WGS84_ECCENTRICITY_SQUARED * sine**2) ** 2
        )
        phi = np.clip(phi - (_zone(np.degrees(phi)) - wanted) / np.maximum(slope, 1e-12), -np.pi / 2, np.pi / 2)
    return longitude, np.clip(np.degrees(phi), south, north)


def _zone(latitude: Floats) -> Floats:
    """Area between the equator and a parallel, in proportion: 2 sin(latitude) on a sphere.

    Snyder (1987), Map Projections: A Working Manual, eq. 3-12.
    """
    e2 = WGS84_ECCENTRICITY_SQUARED
    e, sine = np.sqrt(e2), np.sin(np.radians(latitude))
    return (1.0 - e2) * (sine / (1.0 - e2 * sine**2) + np.arctanh(e * sine) / e)
