"""Which database views belong to which query, found without ever building a queries x database matrix.

A *positive* of a query lies within a distance and a heading difference of it. A *negative* lies farther than another,
larger distance, whatever its heading. A *neutral* is neither. Relations are kept as compressed rows (`Csr`): the
positives, and everything that is not a negative. All thresholds are inclusive; distances are those of a
`PlaceDistance`, geodesics by default.

Candidates come from `SiteSearch`, block by block; memory is that of the result and of one block.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crosslocate.data.distance import GEODESIC, PlaceDistance, Posed
from crosslocate.data.sites import SiteSearch
from crosslocate.errors import ConfigError
from crosslocate.geo import heading_difference

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SMALLEST, _LARGEST = 1 << 16, 1 << 24
"""Views in a piece of a list that is still growing. Large pieces leave the process as soon as they are freed."""


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


@dataclass(frozen=True)
class NegativeRule:
    """When a view may serve as a negative of a query.

    Args:
        distance: Metres; a view farther away (strictly) is a negative.
        heading: Degrees; a view nearer than that is a negative too when its heading differs by more, so that other
            headings of the query's own place are negatives. None: heading plays no role.
        model: What distance means.
    """

    distance: float
    heading: float | None = None
    model: PlaceDistance = GEODESIC

    def allowed(self, queries: Posed, query_rows: Ints, database: Posed, database_rows: Ints) -> Bools:
        """Whether views may serve as negatives; row arrays broadcast: paired [n], [n], or a table [b, 1], [m]."""
        far = farther_than(queries, query_rows, database, database_rows, self.distance, self.model)
        if self.heading is None:
            return far
        apart = heading_difference(queries.yaw[query_rows], database.yaw[database_rows])
        return far | (apart > np.radians(self.heading))


def relate(
    queries: Posed,
    database: Posed,
    *,
    positive_distance: float = 20.0,
    positive_heading: float | None = 15.0,
    negative_distance: float = 2000.0,
    model: PlaceDistance = GEODESIC,
) -> Relations:
    """Positives and non-negatives of every query.

    Args:
        queries: Posed of queries.
        database: Posed of views.
        positive_distance: Metres; views at most that far can be positives.
        positive_heading: Degrees by which the heading of a positive may differ; None: a quarter of the query's
            horizontal field of view.
        negative_distance: Metres; views at most that far are never negatives.
        model: What distance means.

    Raises:
        ConfigError: When the positive distance exceeds the negative distance.
    """
    if not 0.0 <= positive_distance <= negative_distance:
        raise ConfigError(
            "dataset.positive_distance", positive_distance, f"from 0 to negative_distance={negative_distance:g} m"
        )
    limits = (
        queries.horizontal_fov / 4.0
        if positive_heading is None
        else np.broadcast_to(np.radians(positive_heading), len(queries))
    )
    search = SiteSearch(queries, database, model)
    positives, nonnegatives = _Rows(len(queries)), _Rows(len(queries))
    for pairs in search.pairs(negative_distance):
        for query, view in search.views(search.within(pairs, positive_distance)):
            fits = heading_difference(queries.yaw[query], database.yaw[view]) <= limits[query]
            positives.add(query[fits], view[fits])
        for query, view in search.views(search.within(pairs, negative_distance)):
            nonnegatives.add(query, view)
    return Relations(positives.compressed(), nonnegatives.compressed())


def views_within(
    queries: Posed,
    database: Posed,
    distance: float,
    heading: float | None = None,
    model: PlaceDistance = GEODESIC,
) -> Csr:
    """Views within a distance (metres) of every query and, if given, within a heading difference (degrees)."""
    search, rows = SiteSearch(queries, database, model), _Rows(len(queries))
    for pairs in search.pairs(distance):
        for query, view in search.views(search.within(pairs, distance)):
            if heading is not None:
                fits = heading_difference(queries.yaw[query], database.yaw[view]) <= np.radians(heading)
                query, view = query[fits], view[fits]
            rows.add(query, view)
    return rows.compressed()


def views_near_queries(queries: Posed, database: Posed, distance: float, model: PlaceDistance = GEODESIC) -> Ints:
    """Database rows within a distance (metres, inclusive) of at least one query, ascending.

    Every site looks up its nearest query; only where the distance to that one leaves the threshold open are the
    others looked at. Memory grows with queries + views, whatever the distance.
    """
    search = SiteSearch(queries, database, model)
    if not len(queries) or not len(database):
        return np.empty(0, np.int64)
    straight, _ = cKDTree(search.query_points).query(search.site_points)
    low, high = model.bounds(straight)
    near = high <= distance
    unsure = np.flatnonzero(~near & (low <= distance))
    for pairs in search.pairs(distance, unsure):
        near[search.within(pairs, distance).site] = True
    return search.sites.rows_of(near)


def farther_than(
    queries: Posed,
    query_rows: Ints,
    database: Posed,
    database_rows: Ints,
    distance: float,
    model: PlaceDistance = GEODESIC,
) -> Bools:
    """Whether the distance exceeds ``distance`` metres; row arrays broadcast.

    Straight lines bound the distance (`PlaceDistance.bounds`); only pairs that this leaves open are solved exactly.
    """
    query, view = (
        (x[rows], y[rows])
        for (x, y), rows in (
            (model.coordinates(queries), np.asarray(query_rows)),
            (model.coordinates(database), np.asarray(database_rows)),
        )
    )
    straight = np.sqrt(np.square(model.points(query) - model.points(view)).sum(-1))
    low, high = model.bounds(straight)
    far = np.asarray(low > distance)
    unsure = ~far & (high > distance)
    if unsure.any():
        x, y, to_x, to_y = (a[unsure] for a in np.broadcast_arrays(*query, *view))
        far[unsure] = model.metres((x, y), (to_x, to_y)) > distance
    return far


class _Rows:
    """Collects lists of views by query, out of pairs that come sorted, in pieces that are given back one by one."""

    def __init__(self, queries: int) -> None:
        self.counts = np.zeros(queries, np.int64)
        self.pieces: list[NDArray[np.int32]] = []
        self.free = 0
        """Places left at the end of the last piece."""

    def add(self, query: Ints, view: Ints) -> None:
        self.counts += np.bincount(query, minlength=len(self.counts))
        while len(view):
            if not self.free:
                self.free = min(_LARGEST, max(_SMALLEST, sum(map(len, self.pieces))))
                self.pieces.append(np.empty(self.free, np.int32))
            part, view = view[: self.free], view[self.free :]
            start = len(self.pieces[-1]) - self.free
            self.pieces[-1][start : start + len(part)] = part
            self.free -= len(part)

    def compressed(self) -> Csr:
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        indices, filled = np.empty(int(indptr[-1]), np.int32), 0
        self.pieces.reverse()
        while self.pieces:
            part = self.pieces.pop()[: len(indices) - filled]
            indices[filled : filled + len(part)] = part
            filled += len(part)
        return Csr(indptr, indices)
