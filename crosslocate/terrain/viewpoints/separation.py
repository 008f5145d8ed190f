"""The leak check of a survey: positions of different splits are the gap apart, or it is an error."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.leaks import closest_by_splits, closest_pairs
from crosslocate.errors import TerrainError

Floats = NDArray[np.float64]


class Located(Protocol):
    """Anything with these columns, degrees and names, [n] each."""

    @property
    def longitude(self) -> Floats: ...  # noqa: D102
    @property
    def latitude(self) -> Floats: ...  # noqa: D102
    @property
    def split(self) -> NDArray[np.str_]: ...  # noqa: D102


def require_apart(*parts: Located, gap: float, key: str) -> dict[str, float]:
    """Smallest geodesic distances in metres between positions of all parts together, by pair of splits.

    Args:
        parts: Places of the database, positions of queries.
        gap: Smallest distance that is allowed, metres.
        key: Of the gap in the configuration.

    Raises:
        TerrainError: Two positions of different splits are closer; names both.
    """
    longitude, latitude, split = (
        np.concatenate([getattr(part, column) for part in parts]) for column in ("longitude", "latitude", "split")
    )
    pairs = closest_pairs(longitude, latitude, split)
    if pairs and pairs[0].distance < gap:
        said = [
            f"({longitude[row]:.6f}, {latitude[row]:.6f}) of {name}"
            for row, name in zip(pairs[0].rows, pairs[0].splits, strict=True)
        ]
        raise TerrainError(
            f"the viewpoint at {said[0]} is {pairs[0].distance:.1f} m from that at {said[1]}; {key}={gap} m "
            "is asked for"
        )
    return closest_by_splits(pairs)
