"""Clustered descriptors for the places of `synthetic_scale`, made block by block, so that no size needs much memory.

A view's descriptor is a point of 28 dimensions, taken into the space of descriptors by one random linear map, plus a
little noise in all of its dimensions, of unit length. The point is a sum: one for the region (a cell of about 9 km),
half as large one for the place, another half for the heading. So views of a place resemble each other, those of a
region less, and a whole database has far fewer dimensions than its descriptors, as those of networks do. A photograph
is the point of the nearest view, moved by an error that is small for some photographs and large for others, so that
recalls lie between 0 and 1. Blocks are drawn from seeds of their own: any of them can be made by itself.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from synthetic_scale import HEADINGS, alpine_places

from crosslocate.geo import ecef

Floats = NDArray[np.float64]
Descriptors = NDArray[np.float32]
Rows = NDArray[np.int64]

LATENT = 28
REGION = (0.12, 0.08)
"""Degrees of longitude and latitude of a region."""
PLACE, HEADING = 0.5, 0.5
"""How far places and headings lie from the middle of their region, in every latent dimension; regions lie 1 apart."""
NOISE, QUERY_NOISE = 0.2, 0.35
"""Length of the noise of a view and of a photograph, beside descriptors of length 1."""
QUERY_ERROR = (0.2, 1.5)
"""Error of photographs in every latent dimension, drawn evenly between these."""
BLOCK = 4096 * HEADINGS
"""Rows that are drawn together: whole places."""


@dataclass(frozen=True)
class SyntheticDescriptors:
    """Descriptors of the first ``views`` rows of `alpine_batches`.

    Args:
        views: Rows of the database.
        size: Numbers in one descriptor.
        seed: Of everything that is drawn; places have the seed 0.
    """

    views: int
    size: int = 512
    seed: int = 0

    @property
    def starts(self) -> range:
        """First rows of the blocks."""
        return range(0, self.views, BLOCK)

    def block(self, start: int) -> Descriptors:
        """Descriptors [<= BLOCK, size] of the block that begins with a row."""
        return self._descriptors(self._latents(start), NOISE, self._generator(2, start))

    def queries(self, longitude: Floats, latitude: Floats, yaw: Floats) -> Descriptors:
        """Descriptors [q, size] of photographs, each that of the nearest view but for its error.

        Args:
            longitude: Degrees [q].
            latitude: Degrees [q].
            yaw: Radians [q].
        """
        nearest = self._nearest_views(longitude, latitude, yaw)
        latent = np.empty((len(nearest), LATENT), np.float32)
        order = np.argsort(nearest)
        for start in np.unique(nearest // BLOCK) * BLOCK:
            chosen = order[slice(*np.searchsorted(nearest[order], (start, start + BLOCK)))]
            latent[chosen] = self._latents(int(start))[nearest[chosen] - start]
        rng = self._generator(3, len(nearest))
        error = rng.uniform(*QUERY_ERROR, (len(nearest), 1)).astype(np.float32)
        latent += error * rng.standard_normal(latent.shape, np.float32)
        return self._descriptors(latent, QUERY_NOISE, rng)

    def _nearest_views(self, longitude: Floats, latitude: Floats, yaw: Floats) -> Rows:
        places = cKDTree(ecef(*self._positions))
        _, place = places.query(ecef(longitude, latitude))
        heading = np.rint(yaw / (2 * np.pi / HEADINGS)).astype(np.int64) % HEADINGS
        return np.minimum(place * HEADINGS + heading, self.views - 1)

    def _latents(self, start: int) -> Descriptors:
        """Points of the views of one block [<= BLOCK, LATENT]."""
        count = min(BLOCK, self.views - start)
        places = -(-count // HEADINGS)
        rng = self._generator(1, start)
        here = slice(start // HEADINGS, start // HEADINGS + places)
        cells = [
            np.floor(axis[here] / size).astype(np.int64) for axis, size in zip(self._positions, REGION, strict=True)
        ]
        place = self._regions[cells[0] % 512, cells[1] % 512]
        place = place + PLACE * rng.standard_normal((places, LATENT), np.float32)
        noise = rng.standard_normal((places * HEADINGS, LATENT), np.float32)
        latent: Descriptors = (np.repeat(place, HEADINGS, axis=0) + HEADING * noise)[:count]
        return latent

    def _descriptors(self, latent: Descriptors, noise: float, rng: np.random.Generator) -> Descriptors:
        found = latent @ self._map
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        drawn = rng.standard_normal(found.shape, np.float32)
        drawn *= np.float32(noise / np.sqrt(self.size))
        found += drawn
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    @cached_property
    def _map(self) -> Descriptors:
        return self._generator(4, 0).standard_normal((LATENT, self.size), np.float32)

    @cached_property
    def _regions(self) -> Descriptors:
        return self._generator(5, 0).standard_normal((512, 512, LATENT), np.float32)

    @cached_property
    def _positions(self) -> tuple[Floats, Floats]:
        return alpine_places(-(-self.views // HEADINGS), 0)[:2]

    def _generator(self, *part: int) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64([self.seed, *part]))
