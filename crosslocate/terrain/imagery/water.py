"""Open water where no map says: flat areas of an elevation model that are large enough.

Elevation models are levelled over water, so water is where 3 x 3 posts are equal over a large enough area. In models of
whole metres the floor of a valley is made of such areas too; but on one of its sides the ground is lower, while water
lies lower than its shores.

Both are found block by block around what is seen, exactly: an area of N posts, or one that spans less than S posts,
lies within N or S posts of a block that it touches. So a block with a halo shows for every area in it either the whole
of it or enough to tell that it is larger. Areas that span S posts or more are water whatever lies around them.
"""

import math
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.imagery.relief import metres_per_post

BLOCK = 512
"""Posts along a side of a block."""

MOST_POSTS = 200
"""Fine layers are looked at in the finest level of detail in which the smallest lake has at most that many posts."""

SPAN = 64
"""Posts that an area spans along rows or columns from which on its shores are not looked at."""

LOWER_SHARE = 0.2
"""Share of lower posts among the neighbours of an area from which on it is no water."""

KEPT_BLOCKS = 256
"""Blocks that are remembered: 64 MiB."""

Blocks = NDArray[np.bool_]


class WaterMap:
    """Open water of a terrain, found where it is asked for. May be used from several threads. Picklable.

    Args:
        terrain: The terrain.
        flat_range: Metres by which 3 x 3 posts may differ to be flat.
        lake_area: Square metres below which a flat area is not water.
    """

    def __init__(self, terrain: Terrain, flat_range: float = 0.05, lake_area: float = 60_000.0) -> None:
        self.terrain, self.flat_range, self.lake_area = terrain, flat_range, lake_area
        self._sheets = [self._choose_sheet(number, dem) for number, dem in enumerate(terrain.layers)]
        self._kept: OrderedDict[tuple[int, int, int], Blocks] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["WaterMap"], tuple[Terrain, float, float]]:
        return WaterMap, (self.terrain, self.flat_range, self.lake_area)  # what was found is found again

    def at(self, layer: int, column: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether raster coordinates of a layer [n] lie on water: where at least half of the posts around do, by area.

        Args:
            layer: Number of the layer.
            column: Raster coordinates within the layer, [n]; NaN where the answer is no.
            row: See ``column``.
        """
        sheet, _ = self._sheets[layer]
        level = int(self.terrain.sheets.level[sheet])
        rows, columns = int(self.terrain.sheets.rows[sheet]), int(self.terrain.sheets.columns[sheet])
        down, across = (-(-(posts - 1) // BLOCK) for posts in (rows, columns))
        wet = np.zeros(len(column), np.bool_)
        block, count = _blocks_of(column, row, 1.0 / (1 << level), rows, columns, BLOCK, across, down * across)
        known = {number: self._block(layer, *divmod(number, across)) for number in np.flatnonzero(count).tolist()}
        known = {number: posts for number, posts in known.items() if posts.any()}
        if known:
            first = np.full(len(count), -1)
            numbers = list(known)
            first[numbers] = np.cumsum(count[numbers]) - count[numbers]
            order = _sorted_by(block, first, int(count[numbers].sum()))
            for number, posts in known.items():
                here = order[first[number] : first[number] + count[number]]
                top, left = number // across * BLOCK, number % across * BLOCK
                _fill_wet(posts, here, column, row, 1.0 / (1 << level), rows, columns, top, left, wet)
        return wet

    def _block(self, layer: int, down: int, right: int) -> Blocks:
        """Posts of a block that are water, with the first row and column of the next blocks."""
        key = layer, down, right
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._find(layer, down, right)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        return found

    def _find(self, layer: int, down: int, right: int) -> Blocks:
        sheet, least = self._sheets[layer]
        posts = self.terrain.sheets.view(sheet, self.terrain.posts)
        halo = (
            max(least, SPAN) + 3
        )  # an area grows by one post when it takes its shore in, and 3 x 3 posts reach one further
        top, left = down * BLOCK, right * BLOCK
        north, west = max(top - halo, 0), max(left - halo, 0)
        window = np.asarray(posts[north : top + BLOCK + 1 + halo, west : left + BLOCK + 1 + halo])
        rows, columns = (min(BLOCK + 1, posts.shape[axis] - start) for axis, start in ((0, top), (1, left)))
        inner = slice(top - north, top - north + rows), slice(left - west, left - west + columns)
        return large_flats(window, self.flat_range, least)[inner].copy()

    def _choose_sheet(self, number: int, dem: Dem) -> tuple[int, int]:
        """Sheet in which a layer is looked at, and posts of the smallest lake in it."""
        area = abs(float(np.linalg.det(metres_per_post(dem))))
        sheets = np.flatnonzero(self.terrain.sheets.layer == number)
        for sheet in sheets.tolist():
            least = int(np.ceil(self.lake_area / (area * 4 ** int(self.terrain.sheets.level[sheet]))))
            if least <= MOST_POSTS:
                break
        return sheet, max(least, 1)


def large_flats(posts: NDArray[np.float32], flat_range: float, least: int) -> NDArray[np.bool_]:
    """Posts in flat areas of at least ``least`` posts that lie lower than what is around them.

    Neighbours along rows and columns that differ by at most ``flat_range`` are connected.

    A post is flat where it and its neighbours (up to eight) differ by at most ``flat_range`` metres, or beside such a
    post. Voids are not flat, nor are their neighbours unless they lie beside a flat post.
    """
    flat = _flat_posts(posts, flat_range)
    if not flat.any():
        return flat
    flat = ndimage.binary_dilation(flat, np.ones((3, 3))) & np.isfinite(posts)
    labels, count = _areas(posts, flat, flat_range)
    size, span, beside, lower = _measure(posts, labels, count, flat_range)
    water = (size >= least) & ((span >= SPAN) | (lower < LOWER_SHARE * np.maximum(beside, 1)))
    water[0] = False
    return np.asarray(water[labels], np.bool_)


@njit(nogil=True, cache=True)
def _flat_posts(posts: Any, flat_range: float) -> Any:
    rows, columns = posts.shape
    flat = np.zeros((rows, columns), np.bool_)
    for i in range(rows):
        for j in range(columns):
            low, high, known = math.inf, -math.inf, True
            for a in range(max(i - 1, 0), min(i + 2, rows)):
                for b in range(max(j - 1, 0), min(j + 2, columns)):
                    z = posts[a, b]
                    known = known and not math.isnan(z)
                    low, high = min(low, z), max(high, z)
            flat[i, j] = known and high - low <= flat_range
    return flat


@njit(nogil=True, cache=True)
def _areas(posts: Any, flat: Any, flat_range: float) -> Any:
    """Number of the area of every flat post, from 1, and how many there are; 0 elsewhere."""
    rows, columns = posts.shape
    labels, count = np.zeros((rows, columns), np.int32), 0
    open_row, open_column = np.empty(rows * columns, np.int32), np.empty(rows * columns, np.int32)
    for i in range(rows):
        for j in range(columns):
            if not flat[i, j] or labels[i, j] > 0:
                continue
            count += 1
            labels[i, j], open_row[0], open_column[0], left = count, i, j, 1
            while left > 0:
                left -= 1
                r, c = open_row[left], open_column[left]
                for k in range(4):
                    a, b = r + (k == 0) - (k == 1), c + (k == 2) - (k == 3)
                    if a < 0 or b < 0 or a >= rows or b >= columns or not flat[a, b] or labels[a, b] > 0:
                        continue
                    if abs(posts[a, b] - posts[r, c]) <= flat_range:
                        labels[a, b], open_row[left], open_column[left] = count, a, b
                        left += 1
    return labels, count


@njit(nogil=True, cache=True)
def _measure(posts: Any, labels: Any, count: int, flat_range: float) -> Any:
    """By area: posts, span, pairs of a post and a neighbour (of eight) outside, and those of them that are lower."""
    rows, columns = posts.shape
    size, beside, lower = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    box = np.empty((count + 1, 4), np.int64)
    box[:, :2], box[:, 2:] = rows + columns, -1
    for i in range(rows):
        for j in range(columns):
            area = labels[i, j]
            if area == 0:
                continue
            size[area] += 1
            box[area, 0], box[area, 1] = min(box[area, 0], i), min(box[area, 1], j)
            box[area, 2], box[area, 3] = max(box[area, 2], i), max(box[area, 3], j)
            for a in range(max(i - 1, 0), min(i + 2, rows)):
                for b in range(max(j - 1, 0), min(j + 2, columns)):
                    if labels[a, b] != area and not math.isnan(posts[a, b]):
                        beside[area] += 1
                        lower[area] += posts[a, b] < posts[i, j] - flat_range
    return size, np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) + 1, beside, lower


@njit(nogil=True, cache=True, error_model="numpy")
def _blocks_of(
    column: Any, row: Any, scale: float, rows: int, columns: int, size: int, across: int, blocks: int
) -> Any:
    """Number of the block of each place, -1 for NaN, and how many places each block has.

    A place on the border of a block may be counted to either side: blocks hold the posts of their borders.
    """
    block, count = np.empty(len(column), np.int32), np.zeros(blocks, np.int64)
    last_j, last_i = (columns - 2) // size, (rows - 2) // size
    for n in range(len(column)):
        if math.isnan(column[n]):
            block[n] = -1
        else:
            number = min(int(row[n] * scale / size), last_i) * across + min(int(column[n] * scale / size), last_j)
            block[n] = number
            count[number] += 1
    return block, count


@njit(nogil=True, cache=True)
def _sorted_by(block: Any, first: Any, total: int) -> Any:
    """Numbers of the places of some blocks, those of block k from ``first[k]`` on; without those where it is -1."""
    free, order = first.copy(), np.empty(total, np.int64)
    for n in range(len(block)):
        number = block[n]
        if number >= 0 and free[number] >= 0:
            order[free[number]] = n
            free[number] += 1
    return order


@njit(nogil=True, cache=True)
def _fill_wet(
    known: Any, here: Any, column: Any, row: Any, scale: float, rows: int, columns: int, top: int, left: int, wet: Any
) -> None:
    """Whether at least half of the posts around the places ``here`` of a block are water, by area (bilinear)."""
    for n in here:
        c, r = min(column[n] * scale, columns - 1.0) - left, min(row[n] * scale, rows - 1.0) - top
        j, i = min(int(c), known.shape[1] - 2), min(int(r), known.shape[0] - 2)
        x, y = c - j, r - i
        north = known[i, j] * (1.0 - x) + known[i, j + 1] * x
        south = known[i + 1, j] * (1.0 - x) + known[i + 1, j + 1] * x
        wet[n] = north * (1.0 - y) + south * y >= 0.5
