"""Recall@N at a distance: how many queries find a view near enough among their first N neighbours, and by chance.

A query is localized at D metres by its first N neighbours when the nearest of them stands at most D metres away
(geodesic; inclusive, at every threshold). With orientation, only neighbours whose heading differs from the query's by
at most a limit count (inclusive too). The CrossLocate reference counts strictly nearer views, except at the last
threshold of its curve, and takes 1 mm for zero; a view at exactly 20 m is a hit at 20 m here and a miss there.

Everything works on arrays: any object with ``longitude``, ``latitude`` (degrees) and ``yaw`` (radians) has poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.geo import geodesic_distance, heading_difference

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIR_BLOCK = 1 << 20
"""Pairs of query and view whose distance is computed at a time."""


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


@dataclass(frozen=True)
class RecallCriteria:
    """What is counted.

    Args:
        numbers: N of recall@N, ascending.
        distances: Thresholds in metres at which recalls are reported, ascending.
        heading: Largest heading difference in degrees of a hit with orientation.
        curve_step: Step of the recall-over-distance curve in metres.
        curve_limit: Last distance of the curve in metres.

    Raises:
        ConfigError: A value that cannot be counted with.
    """

    numbers: Sequence[int]
    distances: Sequence[float]
    heading: float
    curve_step: float
    curve_limit: float

    def __post_init__(self) -> None:
        _require_ascending("evaluation.numbers", self.numbers, 1)
        _require_ascending("evaluation.distances", self.distances, 0)
        if not 0 <= self.heading <= 180:
            raise ConfigError("evaluation.heading", self.heading, "from 0 to 180 degrees")
        if not 0 < self.curve_step <= self.curve_limit:
            raise ConfigError(
                "evaluation.curve_step", self.curve_step, f"above 0, to curve_limit={self.curve_limit:g} m"
            )

    @cached_property
    def curve(self) -> Floats:
        """Distances of the curve: 0, step, 2 steps, ... up to the limit."""
        steps = int(self.curve_limit / self.curve_step + 1e-9)
        return np.arange(steps + 1, dtype=np.float64) * self.curve_step

    @cached_property
    def thresholds(self) -> Floats:
        """All distances in play, ascending: those reported and those of the curve."""
        return np.union1d(self.curve, np.asarray(self.distances, np.float64))


class QueryErrors(NamedTuple):
    """How near each query came, in metres.

    ``position`` and ``oriented`` are [q, numbers]: the distance of the nearest view among the first N, of any heading
    and of a fitting one (inf where there is none). ``first`` [q] is the distance of the first neighbour.
    """

    position: Floats
    oriented: Floats
    first: Floats


class ViewCounts(NamedTuple):
    """How many database views lie within every threshold of each query, int64 [q, thresholds].

    ``oriented`` counts views with a fitting heading only.
    """

    position: Ints
    oriented: Ints


def measure_errors(
    neighbours: Ints, query_rows: Ints, queries: Posed, database: Posed, criteria: RecallCriteria
) -> QueryErrors:
    """Distances between queries and the places that their neighbours show.

    Args:
        neighbours: Database rows by rank [q, k]; where k is below some N, all k count for it.
        query_rows: Rows of the q queries in ``queries``.
        queries: Poses of the queries.
        database: Poses of the database views.
        criteria: The numbers N and the heading limit.
    """
    ranks = np.minimum(criteria.numbers, neighbours.shape[1]) - 1
    position = np.empty((len(neighbours), len(ranks)))
    oriented, first = np.empty_like(position), np.empty(len(neighbours))
    step = max(1, PAIR_BLOCK // neighbours.shape[1])
    for start in range(0, len(neighbours), step):
        part = slice(start, start + step)
        metres, fits = _compare(queries, query_rows[part, None], database, neighbours[part], criteria.heading)
        position[part] = np.minimum.accumulate(metres, axis=1)[:, ranks]
        oriented[part] = np.minimum.accumulate(np.where(fits, metres, np.inf), axis=1)[:, ranks]
        first[part] = metres[:, 0]
    return QueryErrors(position, oriented, first)


def count_views(
    indptr: Ints, indices: NDArray[np.integer], queries: Posed, database: Posed, criteria: RecallCriteria
) -> ViewCounts:
    """Count the views within every threshold of every query.

    Args:
        indptr: Compressed rows [q + 1] into ``indices``.
        indices: For every query, the database rows within at least the largest threshold (more do no harm).
        queries: Poses of the q queries.
        database: Poses of the database views.
        criteria: The thresholds and the heading limit.
    """
    thresholds = criteria.thresholds
    shape = (len(indptr) - 1, len(thresholds) + 1)  # the last column takes the views beyond every threshold
    position, oriented = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    query_rows = np.repeat(np.arange(shape[0]), np.diff(indptr))
    for start in range(0, len(indices), PAIR_BLOCK):
        rows, views = query_rows[start : start + PAIR_BLOCK], indices[start : start + PAIR_BLOCK]
        metres, fits = _compare(queries, rows, database, views, criteria.heading)
        column = np.searchsorted(thresholds, metres)
        np.add.at(position, (rows, column), 1)
        np.add.at(oriented, (rows[fits], column[fits]), 1)
    return ViewCounts(position.cumsum(axis=1)[:, :-1], oriented.cumsum(axis=1)[:, :-1])


def count_hits(errors: Floats, thresholds: Floats) -> Ints:
    """Queries within every threshold (inclusive): int64 [numbers, thresholds] from errors [q, numbers]."""
    ordered = np.sort(errors, axis=0)
    return np.stack([np.searchsorted(column, thresholds, side="right") for column in ordered.T])


def chance(views: Ints, database_size: int, number: int) -> Floats:
    """Probability that ``number`` views drawn without replacement hit one of ``views`` good ones, elementwise.

    1 - C(n - P, N) / C(n, N), as the product of (n - P - i) / (n - i) over i < N in logarithms: no factorials, no loss
    of small probabilities in large databases.

    Args:
        views: P, number of good views, any shape.
        database_size: n.
        number: N; all of the database when larger.
    """
    counts, where = np.unique(views, return_inverse=True)
    miss = np.zeros(len(counts))
    with np.errstate(divide="ignore"):
        for drawn in range(min(number, database_size)):
            miss += np.log1p(-np.minimum(counts / (database_size - drawn), 1.0))
    return -np.expm1(miss)[where].reshape(np.shape(views))


def _compare(
    queries: Posed, query_rows: Ints, database: Posed, views: NDArray[np.integer], heading: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Distance in metres, and whether the headings fit, of pairs of rows that broadcast."""
    metres = geodesic_distance(
        queries.longitude[query_rows], queries.latitude[query_rows], database.longitude[views], database.latitude[views]
    )
    return metres, heading_difference(queries.yaw[query_rows], database.yaw[views]) <= np.radians(heading)


def _require_ascending(key: str, values: Sequence[float], least: float) -> None:
    ascending = all(a < b for a, b in pairwise(values))
    if not values or not ascending or values[0] < least or not np.isfinite(values[-1]):
        raise ConfigError(key, list(values), f"one or more values of at least {least}, ascending")
