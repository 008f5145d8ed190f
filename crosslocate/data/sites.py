"""Looking up the views near queries: rows at one position form a site, and a KD-tree over the sites finds candidates.

The tree's balls, in the space of a `PlaceDistance`, hold every site within a distance, with straight lines that bound
the true distance from both sides; the distance itself is computed only where those bounds leave a threshold open.
Blocks of queries are as large as a bound on their candidates allows, so that memory does not grow with queries x sites.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crosslocate.data.distance import Coordinates, PlaceDistance, Posed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PAIR_BLOCK = 1 << 16
"""Candidate pairs of query and site looked at together, 100 bytes each; more only for a query that has more."""
VIEW_BLOCK = 1 << 20
"""Views of such pairs listed together, 60 bytes each; more only for a query that has more."""


class Sites(NamedTuple):
    """Rows of a database by position.

    Args:
        starts: First place of every site in ``rows``, int64 [sites].
        sizes: Number of its rows, int64 [sites].
        rows: Database rows, ascending within a site, int64 [n]; None where they are 0, 1, 2, ... themselves.
    """

    starts: Ints
    sizes: Ints
    rows: Ints | None

    @classmethod
    def of(cls, x: Floats, y: Floats) -> "Sites":
        """Runs of rows at one position, or, where most positions have several runs, all rows of each position.

        Args:
            x: First coordinate of every row [n].
            y: The second.
        """
        starts, sizes = _runs(x, y)
        if not _recur(x[starts], y[starts]):
            return cls(starts, sizes, None)
        rows = np.lexsort((y, x))  # stable: rows of one position stay in order
        return cls(*_runs(x[rows], y[rows]), rows)

    @property
    def first_rows(self) -> Ints:
        """A database row of every site."""
        return self.starts if self.rows is None else self.rows[self.starts]

    def rows_of(self, chosen: NDArray[np.bool_]) -> Ints:
        """All rows of the chosen [sites], ascending."""
        places = np.flatnonzero(np.repeat(chosen, self.sizes))
        return places if self.rows is None else np.sort(self.rows[places])


class Pairs(NamedTuple):
    """Candidate pairs of query and site, sorted by query, then by site; arrays of one length."""

    query: Ints
    site: Ints
    straight: Floats


class SiteSearch:
    """Looks up sites near queries, in the space of a distance.

    Args:
        queries: Poses of the queries.
        database: Poses of the views.
        model: What distance means.
    """

    def __init__(self, queries: Posed, database: Posed, model: PlaceDistance) -> None:
        self.model = model
        self.queries, views = model.coordinates(queries), model.coordinates(database)
        self.sites = Sites.of(*views)
        first = self.sites.first_rows
        self.positions: Coordinates = (views[0][first], views[1][first])
        self.query_points, self.site_points = model.points(self.queries), model.points(self.positions)

    def pairs(self, distance: float, sites: Ints | None = None) -> Iterator[Pairs]:
        """All pairs that may lie within a distance, in blocks of queries; of all sites, or of some, ascending."""
        chosen = np.arange(len(self.sites.starts)) if sites is None else sites
        if not len(chosen) or not len(self.query_points):
            return
        reach, tree = self.model.reach(distance), cKDTree(self.site_points[chosen])
        counts = np.asarray(tree.query_ball_point(self.query_points, reach, return_length=True), np.int64)
        for first, last in _blocks(counts, PAIR_BLOCK):
            found = cKDTree(self.query_points[first:last]).sparse_distance_matrix(tree, reach, output_type="ndarray")
            order = np.argsort(found["i"] * np.int64(len(chosen)) + found["j"])
            yield Pairs(found["i"][order] + first, chosen[found["j"][order]], found["v"][order])

    def within(self, pairs: Pairs, distance: float) -> Pairs:
        """Those of the pairs that lie within a distance."""
        keep = self.model.within(pairs.straight, distance, self.queries, pairs.query, self.positions, pairs.site)
        return Pairs(pairs.query[keep], pairs.site[keep], pairs.straight[keep])

    def views(self, pairs: Pairs) -> Iterator[tuple[Ints, Ints]]:
        """Query and database row of every view of the pairs' sites, ascending, in blocks of whole queries."""
        if not len(pairs.query):
            return
        firsts = np.flatnonzero(np.diff(pairs.query, prepend=-1))
        views = np.add.reduceat(self.sites.sizes[pairs.site], firsts)
        ends = np.append(firsts, len(pairs.query))
        for first, last in _blocks(views, VIEW_BLOCK):
            part = slice(ends[first], ends[last])
            yield self._listed(pairs.query[part], pairs.site[part])

    def _listed(self, query: Ints, site: Ints) -> tuple[Ints, Ints]:
        counts = self.sites.sizes[site]
        shift = self.sites.starts[site] - (np.cumsum(counts) - counts)
        place, query = np.arange(counts.sum()) + np.repeat(shift, counts), np.repeat(query, counts)
        if self.sites.rows is None:
            return query, place
        width = np.int64(len(self.sites.rows))
        return np.divmod(np.sort(query * width + self.sites.rows[place]), width)


def _runs(x: Floats, y: Floats) -> tuple[Ints, Ints]:
    """First row and length of every run of rows at one position, each int64 [runs]."""
    changed = x[1:] != x[:-1]
    changed |= y[1:] != y[:-1]
    starts = np.concatenate([np.zeros(min(len(x), 1), np.int64), np.flatnonzero(changed) + 1])
    return starts, np.diff(starts, append=len(x))


def _recur(x: Floats, y: Floats) -> bool:
    """Whether less than half of the positions are distinct; a guess by hashes, which nothing but speed depends on."""
    bits = (np.ascontiguousarray(a, np.float64).view(np.uint64) for a in (x, y))
    hashes = np.sort(next(bits) * np.uint64(0x9E3779B97F4A7C15) ^ next(bits) * np.uint64(0xC2B2AE3D27D4EB4F))
    return 2 * int((hashes[1:] == hashes[:-1]).sum()) > len(hashes)


def _blocks(counts: Ints, limit: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of runs whose counts sum up to at most ``limit``, or that are single."""
    ends, first = np.cumsum(counts), 0
    while first < len(counts):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield first, last
        first = last
