"""Which of the candidate negatives to keep: pure functions of distances, vectorised over queries.

A strategy sees squared descriptor distances and names columns. It never sees images, places, or the network.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.mining.plan import NO_VIEW

Distances = NDArray[np.floating]
Columns = NDArray[np.int64]


class Strategy(Protocol):
    """Chooses negatives among candidates.

    One that needs descriptors draws nothing, and what it chooses among candidates is what it chooses among the rest and
    what it chose of a part of them: so a large sample is looked through in parts.
    """

    @property
    def needs_descriptors(self) -> bool:
        """Whether distances mean anything to this strategy; without need nothing is extracted."""

    def select(self, positive: Distances, candidates: Distances, count: int, rng: np.random.Generator) -> Columns:
        """Choose up to ``count`` candidates for every query.

        Args:
            positive: Squared distance to the positive, shape [queries].
            candidates: Squared distances to the candidates, shape [queries, candidates]; infinite where the candidate
                must not be used.
            count: Number of negatives wanted.
            rng: Source of randomness, for strategies that draw.

        Returns:
            Columns of ``candidates``, shape [queries, count], -1 where there are no more.
        """


def nearest(distances: Distances, count: int) -> Columns:
    """Columns of each row's ``count`` smallest finite distances, ascending; ties by column; -1 where none are left."""
    rows, columns = distances.shape
    width = min(count, columns)
    chosen = np.full((rows, count), NO_VIEW, np.int64)
    if rows == 0 or width == 0:
        return chosen
    if width < columns:
        bound = np.partition(distances, width - 1, axis=1)[:, width - 1 : width]
        distances = np.where(distances <= bound, distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :width]
    usable = np.isfinite(np.take_along_axis(distances, order, axis=1))
    chosen[:, :width] = np.where(usable, order, NO_VIEW)
    return chosen


@dataclass(frozen=True)
class RandomNegatives:
    """Any negatives, whatever their descriptors: the baseline, and the gentlest start."""

    @property
    def needs_descriptors(self) -> bool:
        """No: distances are not looked at."""
        return False

    def select(self, positive: Distances, candidates: Distances, count: int, rng: np.random.Generator) -> Columns:
        """See Strategy."""
        keys = rng.random(candidates.shape, dtype=np.float32)
        return nearest(np.where(np.isfinite(candidates), keys, np.float32(np.inf)), count)


@dataclass(frozen=True)
class HardestNegatives:
    """The nearest negatives, whether or not they violate a margin: for losses that weigh negatives themselves."""

    @property
    def needs_descriptors(self) -> bool:
        """Yes."""
        return True

    def select(self, positive: Distances, candidates: Distances, count: int, rng: np.random.Generator) -> Columns:
        """See Strategy."""
        return nearest(candidates, count)


@dataclass(frozen=True)
class SemiHardNegatives:
    """The nearest negatives that are farther than the positive, but by less than the margin (Schroff et al. 2015).

    Args:
        margin: Mining margin, in squared descriptor distance.
    """

    margin: float

    @property
    def needs_descriptors(self) -> bool:
        """Yes."""
        return True

    def select(self, positive: Distances, candidates: Distances, count: int, rng: np.random.Generator) -> Columns:
        """See Strategy."""
        floor = positive[:, None]
        kept = (candidates >= floor) & (candidates < floor + self.margin)
        return nearest(np.where(kept, candidates, np.float32(np.inf)), count)


@dataclass(frozen=True)
class SemiHardAndHardNegatives:
    """The nearest negatives that violate the margin, also those nearer than the positive.

    Args:
        margin: Mining margin, in squared descriptor distance.
    """

    margin: float

    @property
    def needs_descriptors(self) -> bool:
        """Yes."""
        return True

    def select(self, positive: Distances, candidates: Distances, count: int, rng: np.random.Generator) -> Columns:
        """See Strategy."""
        kept = candidates < positive[:, None] + self.margin
        return nearest(np.where(kept, candidates, np.float32(np.inf)), count)
