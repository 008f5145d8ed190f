"""The terrain of a region: one elevation model, or a fine one with coarser ones around it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.sheets import Sheets, fill_levels, fill_tops, plan_sheets

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Terrain:
    """Elevation models that are seen as one, finest first, with levels of detail.

    Where several cover a place the first of them counts.

    Attributes:
        layers: The elevation models; their posts are views into ``posts``.
        posts: Flat float32 array of all sheets, which may be mapped from a file.
        tops: Flat float32 array of the tops of blocks.
        sheets: Where the sheets lie in both.
    """

    layers: tuple[Dem, ...]
    posts: NDArray[np.float32]
    tops: NDArray[np.float32]
    sheets: Sheets

    @classmethod
    def of(cls, *dems: Dem) -> "Terrain":
        """A terrain in memory of some elevation models, finest first.

        Raises:
            TerrainError: No model is given.
        """
        if not dems:
            raise TerrainError("a terrain needs at least one elevation model")
        sheets = plan_sheets([dem.shape for dem in dems])
        posts, tops = np.empty(sheets.posts, np.float32), np.empty(sheets.tops, np.float32)
        for layer, dem in enumerate(dems):
            sheets.view(int(np.flatnonzero(sheets.layer == layer)[0]), posts)[:] = dem.elevation
        fill_levels(posts, sheets)
        fill_tops(posts, tops, sheets)
        return cls.mapped([(dem.transform, dem.crs) for dem in dems], posts, tops, sheets)

    @classmethod
    def mapped(
        cls, places: Sequence[tuple[object, str]], posts: NDArray[np.float32], tops: NDArray[np.float32], sheets: Sheets
    ) -> "Terrain":
        """A terrain of filled arrays; ``places`` are the transform and the CRS of each layer."""
        first = [int(np.flatnonzero(sheets.layer == layer)[0]) for layer in range(len(places))]
        layers = tuple(Dem(sheets.view(s, posts), t, crs) for s, (t, crs) in zip(first, places, strict=True))  # type: ignore[arg-type]
        return cls(layers, posts, tops, sheets)

    def elevation_at(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Bilinear elevation in metres at WGS84 positions in degrees; NaN outside and in voids of all layers."""
        found = self.layers[0].elevation_at(longitude, latitude)
        for dem in self.layers[1:]:
            found = np.where(np.isnan(found), dem.elevation_at(longitude, latitude), found)
        return found

    def contains(self, longitude: ArrayLike, latitude: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions lie within the rectangle of posts of a layer (voids included)."""
        return np.logical_or.reduce([dem.contains(longitude, latitude) for dem in self.layers])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north limits of all layers in degrees; east > 180 across the antimeridian."""
        west, south, east, north = zip(*(dem.bounds for dem in self.layers), strict=True)
        return min(west), min(south), max(east), max(north)

    @cached_property
    def highest(self) -> float:
        """Highest elevation of all, in metres."""
        return float(np.max(self.tops))

    def fingerprint(self) -> str:
        """SHA-256 of what all layers hold; that of a single layer is the model's own."""
        prints = [dem.fingerprint() for dem in self.layers]
        return prints[0] if len(prints) == 1 else hashlib.sha256("\n".join(prints).encode()).hexdigest()


def as_terrain(elevation: Dem | Terrain) -> Terrain:
    """A terrain as it is, or one of a single elevation model."""
    return elevation if isinstance(elevation, Terrain) else Terrain.of(elevation)
