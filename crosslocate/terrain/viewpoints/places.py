"""Where to stand: places with a view, in strips of land that keep the splits apart.

A place is one camera position. Its database views and its queries share that position exactly, so that the positives
of a query at any small distance are the views of its own place, and positional error is a matter of retrieval alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import ecef, geodesic_distance
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.panorama import view_scores
from crosslocate.terrain.viewpoints.poses import PoseDistribution

Floats = NDArray[np.float64]
_STREAM = 1  # of random numbers


@dataclass(frozen=True)
class Strips:
    """Disjoint strips of the terrain from west to east, one for each split that has places.

    Attributes:
        counts: Number of places by split; the strips' widths are in proportion.
        gap: Width in metres of the land between two strips, where no place may be.
        margin: Distance in metres kept from the edge of the terrain, behind which nothing is known.
        spacing: Smallest distance in metres between two places.
    """

    counts: Mapping[str, int]
    gap: float
    margin: float
    spacing: float

    def bounds(self, terrain: Terrain) -> dict[str, tuple[float, float, float, float]]:
        """West, south, east, north of every strip in degrees.

        Raises:
            TerrainError: The terrain is too small for the gaps and margins.
        """
        west, south, east, north = terrain.bounds
        middle = 0.5 * (south + north)
        height = float(geodesic_distance(west, south, west, north))
        width = float(geodesic_distance(west, middle, east, middle))
        used = {split: count for split, count in self.counts.items() if count > 0}
        free = width - 2.0 * self.margin - self.gap * (len(used) - 1)
        if not used:
            raise ConfigError("survey.places", dict(self.counts), "at least one place in one split")
        if free <= 0.0 or height <= 2.0 * self.margin:
            raise TerrainError(
                f"a terrain of {width:.0f} x {height:.0f} m has no room for {len(used)} strips with gaps of "
                f"{self.gap:.0f} m and a margin of {self.margin:.0f} m"
            )
        degrees, rim = (east - west) / width, self.margin * (north - south) / height
        left, strips = west + self.margin * degrees, {}
        for split, count in used.items():
            right = left + free * degrees * count / sum(used.values())
            strips[split] = (left, south + rim, right, north - rim)
            left = right + self.gap * degrees
        return strips


@dataclass(frozen=True)
class Places:
    """Chosen camera positions: degrees, metres above sea level, and the split of each."""

    longitude: Floats
    latitude: Floats
    altitude: Floats
    split: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.longitude)


def choose_places(
    terrain: Terrain, strips: Strips, poses: PoseDistribution, *, seed: int, oversampling: int = 12
) -> Places:
    """Choose places where one sees something: those with the best ``view_scores``, never closer than the spacing.

    Args:
        terrain: The terrain.
        strips: Where the places of each split may be, and how many.
        poses: Heights above the ground are drawn from it.
        seed: Seed of all draws.
        oversampling: Candidates looked at for each place.

    Raises:
        TerrainError: A strip has no room for its places.
    """
    chosen: list[Places] = []
    for index, (split, bounds) in enumerate(strips.bounds(terrain).items()):
        rng = default_rng([seed, _STREAM, index])
        lon, lat, height = _candidates(terrain, bounds, poses, rng, oversampling * strips.counts[split])
        altitude = terrain.elevation_at(lon, lat) + height
        scores = _rank_among_equals(view_scores(terrain, lon, lat, altitude), height)
        rows = _spread(ecef(lon, lat), scores, strips.spacing)[: strips.counts[split]]
        if len(rows) < strips.counts[split]:
            raise TerrainError(
                f"the {split} strip holds only {len(rows)} of {strips.counts[split]} places at a spacing of "
                f"{strips.spacing:.0f} m; ask for fewer places, a smaller spacing, or use a larger terrain"
            )
        rows = np.sort(rows)
        chosen.append(Places(lon[rows], lat[rows], altitude[rows], np.full(len(rows), split)))
    names = ("longitude", "latitude", "altitude", "split")
    return Places(*(np.concatenate([getattr(part, name) for part in chosen]) for name in names))


def _candidates(
    terrain: Terrain, bounds: tuple[float, float, float, float], poses: PoseDistribution, rng: Generator, count: int
) -> tuple[Floats, Floats, Floats]:
    """Random positions inside the bounds and their heights above ground; those over a void are left out."""
    west, south, east, north = bounds
    lon, lat = rng.uniform(west, east, count), rng.uniform(south, north, count)
    height = poses.draw_heights(rng, count)
    known = np.isfinite(terrain.elevation_at(lon, lat))
    return lon[known], lat[known], height[known]


def _rank_among_equals(scores: Floats, height: Floats, group_size: int = 30) -> Floats:
    """Rank of each score, 0 to 1, among the candidates of about the same height above ground.

    High cameras see more: compared with all others they would crowd out the low ones, and the heights would lose their
    distribution.
    """
    ranks = np.empty(len(scores))
    for group in np.array_split(np.argsort(height, kind="stable"), max(1, len(scores) // group_size)):
        ranks[group[np.argsort(scores[group], kind="stable")]] = (np.arange(len(group)) + 1) / len(group)
    return ranks


def _spread(points: Floats, scores: Floats, spacing: float) -> NDArray[np.int64]:
    """Rows in descending order of score, leaving out each that is closer than ``spacing`` to one taken before."""
    near = cKDTree(points).query_ball_point(points, spacing)
    free = np.ones(len(points), bool)
    taken = []
    for row in np.argsort(-scores, kind="stable"):
        if free[row]:
            taken.append(row)
            free[near[row]] = False
    return np.array(taken, np.int64)
