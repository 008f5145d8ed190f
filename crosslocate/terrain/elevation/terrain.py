"""The terrain of a region: one elevation model, or a fine one with coarser ones around it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.grid import Bounds
from crosslocate.terrain.elevation.sheets import Sheets, fill_levels, fill_tops, plan_sheets
from crosslocate.terrain.elevation.summary import TerrainSummary, united
from crosslocate.terrain.elevation.voids import fill_from_coarser

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
        summary: What was found when it was prepared; see `describe.describe_terrain`, which has an answer for all.
        folder: The prepared terrain that it is mapped from; pickles hold this path instead of the arrays.
    """

    layers: tuple[Dem, ...]
    posts: NDArray[np.float32]
    tops: NDArray[np.float32]
    sheets: Sheets
    summary: TerrainSummary | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, *dems: Dem) -> "Terrain":
        """A terrain in memory of some elevation models, finest first; their voids are filled from coarser ones.

        Raises:
            TerrainError: No model is given.
        """
        if not dems:
            raise TerrainError("a terrain needs at least one elevation model")
        sheets = plan_sheets([dem.shape for dem in dems])
        posts, tops = np.empty(sheets.posts, np.float32), np.empty(sheets.tops, np.float32)
        views = [sheets.view(int(sheet), posts) for sheet in np.flatnonzero(sheets.level == 0)]
        for view, dem in zip(views, dems, strict=True):
            view[:] = dem.elevation
        fill_from_coarser(dems, views)
        fill_levels(posts, sheets)
        fill_tops(posts, tops, sheets)
        return cls.mapped([(dem.transform, dem.crs) for dem in dems], posts, tops, sheets)

    @classmethod
    def mapped(
        cls,
        places: Sequence[tuple[Affine, str]],
        posts: NDArray[np.float32],
        tops: NDArray[np.float32],
        sheets: Sheets,
        summary: TerrainSummary | None = None,
        folder: Path | None = None,
    ) -> "Terrain":
        """A terrain of filled arrays; ``places`` are the transform and the CRS of each layer."""
        prints = [None] * len(places) if summary is None else [layer.fingerprint for layer in summary.layers]
        first = [int(np.flatnonzero(sheets.layer == layer)[0]) for layer in range(len(places))]
        layers = tuple(
            Dem(sheets.view(sheet, posts), transform, crs, known)
            for sheet, (transform, crs), known in zip(first, places, prints, strict=True)
        )
        return cls(layers, posts, tops, sheets, summary, folder)

    def __reduce__(self) -> Any:
        if self.folder is None:
            return super().__reduce__()
        from crosslocate.terrain.elevation.prepared import load_terrain

        return load_terrain, (self.folder,)

    def elevation_at(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Bilinear elevation in metres at WGS84 positions in degrees, of the first layer that covers them.

        NaN outside, and in voids of that layer: rays pass through these too.
        """
        found = self.layers[0].elevation_at(longitude, latitude)
        covered = self.layers[0].contains(longitude, latitude)
        for dem in self.layers[1:]:
            if covered.all():
                break
            found = np.where(covered, found, dem.elevation_at(longitude, latitude))
            covered |= dem.contains(longitude, latitude)
        return found

    def contains(self, longitude: ArrayLike, latitude: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions lie within the rectangle of posts of a layer (voids included)."""
        return np.logical_or.reduce([dem.contains(longitude, latitude) for dem in self.layers])

    @property
    def bounds(self) -> Bounds:
        """West, south, east and north limits of all layers in degrees; east > 180 across the antimeridian."""
        return united([dem.bounds for dem in self.layers])

    @cached_property
    def highest(self) -> float:
        """Highest elevation of all, in metres."""
        return float(np.max(self.tops)) if self.summary is None else self.summary.highest

    def fingerprint(self) -> str:
        """SHA-256 of what all layers hold; that of a single layer is the model's own."""
        prints = [dem.fingerprint() for dem in self.layers]
        return prints[0] if len(prints) == 1 else hashlib.sha256("\n".join(prints).encode()).hexdigest()


Elevation = Dem | Terrain
"""Either of them: both have bounds, and elevations at places."""


def as_terrain(elevation: Elevation) -> Terrain:
    """A terrain as it is, or one of a single elevation model."""
    return elevation if isinstance(elevation, Terrain) else Terrain.of(elevation)
