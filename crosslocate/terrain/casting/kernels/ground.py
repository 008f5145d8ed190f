"""What kernels take: a terrain as arrays, and the point rays start from."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ground(NamedTuple):
    """Arrays of a terrain as the kernels take them.

    ``table`` holds, for each sheet, its columns, its rows, the index of its first post, and for the blocks of each size
    the index of the first top and the number of blocks in a row, [S, 3 + 2 K]. ``first`` is the number of the first
    sheet of each layer and of the end, [L + 1].
    """

    posts: NDArray[np.float32]
    tops: NDArray[np.float32]
    table: NDArray[np.int64]
    first: NDArray[np.int64]
    highest: float
    triangles: bool


class Eye(NamedTuple):
    """The point rays start from.

    ``origin`` (column, row) and ``coefficients`` are those of the ``GroundTrack`` of each layer, [L, 2] and
    [L, 2, 20]; ``curvature`` holds the inverses of the effective radii along the meridian and across it; ``height`` is
    in metres above sea level. Level l > 0 of a layer is seen from ``unit[layer] * 2**l`` metres on. ``stride`` is the
    longest stretch in metres in which parabolas follow the tracks. No layer finer than the one at the eye comes nearer
    than ``alone`` metres.
    """

    origin: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    curvature: NDArray[np.float64]
    unit: NDArray[np.float64]
    height: float
    max_distance: float
    stride: float
    alone: float
