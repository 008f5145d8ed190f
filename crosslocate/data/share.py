"""How a training batch is shared among processes: which of them reads and embeds which image.

Every process knows the whole of a batch but its images: rows, triplets, what may be a negative of what, and what is
mirrored. Images are read by their owners alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """What one process does of a batch.

    Args:
        rank: This process, from 0.
        owners: For ``query`` and ``database``, which process embeds each image of the whole batch, int64 [B] and [M].
    """

    rank: int
    owners: Mapping[str, Rows]

    @classmethod
    def of(cls, counts: Mapping[str, int], rank: int, world_size: int) -> "Share":
        """The share of a process where images are dealt out in turn; ``counts`` are those of the whole batch."""
        return cls(rank, {role: np.arange(count) % world_size for role, count in counts.items()})

    def positions(self, role: str) -> Rows:
        """Where the images that this process embeds stand in the whole batch, ascending.

        A process without an image of its own, in a batch of fewer images than processes, embeds the first one, so that
        all of them take the same steps; nothing is made of that.
        """
        own = np.flatnonzero(self.owners[role] == self.rank)
        return own if len(own) else np.zeros(1, np.int64)

    def of_views(self, views: Rows) -> "Share":
        """The share in a batch whose views are ``views`` of this one's, perhaps repeated: owners keep what they read.

        Args:
            views: Positions [M'] in this batch; the first one is its first.
        """
        return Share(self.rank, {**self.owners, "database": self.owners["database"][views]})
