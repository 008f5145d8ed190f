"""Which database views belong to which query, found without ever building a queries x database matrix.

A *positive* of a query lies within a distance and a heading difference of it. A *negative* lies farther than another,
larger distance, whatever its heading. A *neutral* is neither. Relations are kept as compressed rows (`Csr`): the
positives, and everything that is not a negative. All thresholds are inclusive and all distances are geodesic (WGS84).

Method: consecutive database rows at one position (the headings of a place) form a site. A KD-tree over the sites' ECEF
coordinates on the ellipsoid gives candidates within a ball, which holds every site within the same geodesic distance,
since a chord is never longer than the geodesic. Exact geodesics are computed for the candidates only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crosslocate.data.catalog import Catalog
from crosslocate.errors import ConfigError
from crosslocate.geo import WGS84_ECCENTRICITY_SQUARED, WGS84_SEMI_MAJOR, ecef, geodesic_distance, heading_difference

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BLOCK = 2048
"""Queries searched at once; bounds the memory of the candidate lists."""
_SLACK = 1e-6
"""Metres added to the candidate ball for rounding in ECEF coordinates (about 1e-9 m)."""
_MIN_RADIUS = WGS84_SEMI_MAJOR * (1.0 - WGS84_ECCENTRICITY_SQUARED)
"""Smallest radius of curvature of WGS84 (along the meridian, at the equator), metres."""


@dataclass(frozen=True, eq=False)
class Csr:
    """Compressed rows: the list of row ``i`` is ``indices[indptr[i]:indptr[i + 1]]``, ascending.

    Args:
        indptr: int64 [n + 1].
        indices: int32 [total].
    """

    indptr: Ints
    indices: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def counts(self) -> Ints:
        """Length of every list, int64 [n]."""
        return np.diff(self.indptr)

    def row(self, i: int) -> NDArray[np.int32]:
        """The list of one row, a view."""
        return self.indices[self.indptr[i] : self.indptr[i + 1]]


@dataclass(frozen=True, eq=False)
class Relations:
    """Positives and non-negatives (positives and neutrals) of every query, as database rows."""

    positives: Csr
    nonnegatives: Csr

    @property
    def queries_without_positives(self) -> Ints:
        """Query rows that no view can answer, int64."""
        return np.flatnonzero(self.positives.counts == 0)


@dataclass(frozen=True)
class NegativeRule:
    """When a view may serve as a negative of a query.

    Args:
        distance: Metres; a view farther away (strictly) is a negative.
        heading: Degrees; a view nearer than that is a negative too when its heading differs by more, so that other
            headings of the query's own place are negatives. None: heading plays no role.
    """

    distance: float
    heading: float | None = None

    def allowed(self, queries: Catalog, query_rows: Ints, database: Catalog, database_rows: Ints) -> Bools:
        """Whether views may serve as negatives; row arrays broadcast: paired [n], [n], or a table [b, 1], [m]."""
        far = farther_than(queries, query_rows, database, database_rows, self.distance)
        if self.heading is None:
            return far
        apart = heading_difference(queries.yaw[query_rows], database.yaw[database_rows])
        return far | (apart > np.radians(self.heading))


def relate(
    queries: Catalog,
    database: Catalog,
    *,
    positive_distance: float = 20.0,
    positive_heading: float | None = 15.0,
    negative_distance: float = 2000.0,
) -> Relations:
    """Positives and non-negatives of every query.

    Args:
        queries: Catalog of queries.
        database: Catalog of views.
        positive_distance: Metres; views at most that far can be positives.
        positive_heading: Degrees by which the heading of a positive may differ; None: a quarter of the query's
            horizontal field of view.
        negative_distance: Metres; views at most that far are never negatives.

    Raises:
        ConfigError: When the positive distance exceeds the negative distance.
    """
    if not 0.0 <= positive_distance <= negative_distance:
        raise ConfigError(
            "dataset.positive_distance", positive_distance, f"from 0 to negative_distance={negative_distance:g} m"
        )
    positives, nonnegatives = [], []
    for pairs in _pairs(queries, database, negative_distance):
        heading = (
            queries.horizontal_fov[pairs.query] / 4.0 if positive_heading is None else np.radians(positive_heading)
        )
        keep = (pairs.metres <= positive_distance) & (_heading_apart(queries, database, pairs) <= heading)
        positives.append((pairs.query[keep], pairs.view[keep]))
        nonnegatives.append((pairs.query, pairs.view))
    return Relations(_compress(positives, len(queries)), _compress(nonnegatives, len(queries)))


def views_within(queries: Catalog, database: Catalog, distance: float, heading: float | None = None) -> Csr:
    """Views within a distance (metres) of every query and, if given, within a heading difference (degrees)."""
    blocks = []
    for pairs in _pairs(queries, database, distance):
        keep = slice(None) if heading is None else _heading_apart(queries, database, pairs) <= np.radians(heading)
        blocks.append((pairs.query[keep], pairs.view[keep]))
    return _compress(blocks, len(queries))


def farther_than(queries: Catalog, query_rows: Ints, database: Catalog, database_rows: Ints, distance: float) -> Bools:
    """Whether the geodesic distance exceeds ``distance`` metres; row arrays broadcast.

    The chord c between two points of the ellipsoid bounds the geodesic g, c <= g <= 2 R asin(c / 2R), where R is the
    smallest radius of curvature (Schur's comparison theorem); only pairs that this leaves open are solved exactly.
    """
    query_lon, query_lat = queries.longitude[query_rows], queries.latitude[query_rows]
    view_lon, view_lat = database.longitude[database_rows], database.latitude[database_rows]
    chord = np.sqrt(np.square(ecef(query_lon, query_lat) - ecef(view_lon, view_lat)).sum(-1))
    bound = 2.0 * _MIN_RADIUS * np.arcsin(np.minimum(chord / (2.0 * _MIN_RADIUS), 1.0))
    far = np.asarray(chord > distance + _SLACK)
    unsure = ~far & (bound >= distance - _SLACK)
    if unsure.any():
        positions = np.broadcast_arrays(query_lon, query_lat, view_lon, view_lat)
        far[unsure] = geodesic_distance(*(p[unsure] for p in positions)) > distance
    return far


class _Pairs(NamedTuple):
    """Pairs of query and view that lie near each other, sorted by query, then by view; arrays of one length."""

    query: Ints
    view: Ints
    metres: NDArray[np.float64]


def _heading_apart(queries: Catalog, database: Catalog, pairs: _Pairs) -> NDArray[np.float64]:
    return heading_difference(queries.yaw[pairs.query], database.yaw[pairs.view])


def _pairs(queries: Catalog, database: Catalog, distance: float) -> Iterator[_Pairs]:
    """All pairs within a geodesic distance (inclusive), in blocks of queries."""
    starts, sizes = _sites(database)
    longitude, latitude = database.longitude[starts], database.latitude[starts]
    tree = cKDTree(ecef(longitude, latitude).reshape(-1, 3))
    for first in range(0, len(queries), _BLOCK):
        block = np.arange(first, min(first + _BLOCK, len(queries)))
        points = cKDTree(ecef(queries.longitude[block], queries.latitude[block]))
        found = points.sparse_distance_matrix(tree, distance + _SLACK, output_type="ndarray")
        query, site = found["i"].astype(np.int64) + first, found["j"].astype(np.int64)
        metres = geodesic_distance(queries.longitude[query], queries.latitude[query], longitude[site], latitude[site])
        keep = np.flatnonzero(metres <= distance)
        keep = keep[np.lexsort((site[keep], query[keep]))]
        query, site, metres = query[keep], site[keep], metres[keep]
        counts = sizes[site]
        within_site = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        view = np.repeat(starts[site], counts) + within_site
        yield _Pairs(np.repeat(query, counts), view, np.repeat(metres, counts))


def _sites(database: Catalog) -> tuple[Ints, Ints]:
    """First row and length of every run of rows at one position, each int64 [sites]."""
    longitude, latitude = database.longitude, database.latitude
    changed = (np.diff(longitude) != 0) | (np.diff(latitude) != 0)
    starts = np.concatenate([np.zeros(min(len(database), 1), np.int64), np.flatnonzero(changed) + 1])
    return starts, np.diff(starts, append=len(database))


def _compress(blocks: list[tuple[Ints, Ints]], rows: int) -> Csr:
    """Lists of views by query, from blocks of (query, view) pairs that are sorted within and across blocks."""
    counts = np.zeros(rows, np.int64)
    for query, _ in blocks:
        counts += np.bincount(query, minlength=rows)
    indices = np.concatenate([np.empty(0, np.int32), *(view.astype(np.int32) for _, view in blocks)])
    return Csr(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), indices)
