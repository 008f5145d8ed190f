"""Room for the envelopes that let rays of pitched and rolled cameras start far out (see ``kernels.envelopes``)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ENTRIES = 320
"""Entries of an envelope; where they do not suffice the rest of the sector is not surveyed."""

SECTORS_PER_PIXEL = 1.5
"""Sectors in a pixel of the image centre."""

MOST_SECTORS = 8192
"""They limit the room; wider sectors are surveyed less far."""


class Envelopes(NamedTuple):
    """The envelopes around one position; N sectors (see ``kernels.envelopes.survey``).

    Attributes:
        counts: Entries of each sector, int64 ``[N]``; -1 where it is not yet surveyed.
        starts: Ground distances of the entries ``[N, ENTRIES]``.
        slopes: Slopes that no terrain before the next entry exceeds ``[N, ENTRIES]``.
    """

    counts: NDArray[np.int64]
    starts: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @classmethod
    def empty(cls, focal_length: float, room: "Envelopes | None" = None) -> "Envelopes":
        """Envelopes of which nothing is known, in the ``room`` of others if it fits."""
        sectors = sector_count(focal_length)
        if room is not None and len(room.counts) == sectors:
            room.counts[:] = -1
            return room
        size = (sectors, ENTRIES)
        counts = np.full(sectors, -1, np.int64)
        return cls(counts, np.empty(size), np.empty(size))


def sector_count(focal_length: float) -> int:
    """Sectors of the full circle for cameras of a focal length in pixels."""
    return int(np.clip(2 * np.pi * SECTORS_PER_PIXEL * focal_length, 256, MOST_SECTORS))
