"""Sectors of the surroundings of an eye, about as narrow as a pixel.

They are equal steps of the diamond angle, which orders directions like the azimuth but needs no trigonometry.
"""

import math

from crosslocate.terrain.casting.kernels.compiled import compiled


@compiled
def sector_of(east: float, north: float, sectors: int) -> int:
    """Number of the sector that holds a direction."""
    share = east / (abs(east) + abs(north) + 1e-300)
    diamond = 1.0 - share if north < 0.0 else (3.0 + share)
    return min(int(diamond * 0.25 * sectors), sectors - 1)


@compiled
def direction_of(diamond: float) -> tuple[float, float]:
    """Unit vector (east, north) of a diamond angle in [0, 4]: 0 is east, 1 south, 2 west, 3 north."""
    east = 1.0 - diamond if diamond <= 2.0 else diamond - 3.0
    north = abs(east) - 1.0 if diamond <= 2.0 else 1.0 - abs(east)
    norm = math.sqrt(east * east + north * north)
    return east / norm, north / norm
