"""Which layers a set of tiles makes: tiles of one lattice belong together, and each layer is a rectangle of a lattice.

A lattice is a CRS, a spacing and an origin. Tiles whose posts fall on the posts of one lattice are copied post by post,
never resampled; a layer holds a rectangle of its lattice, and all tiles that reach into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine

from crosslocate.errors import TerrainError
from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.elevation.datum import WGS84_CRS
from crosslocate.terrain.elevation.grid import Bounds, Grid, outline
from crosslocate.terrain.elevation.rectangle import Rectangle, divide
from crosslocate.terrain.elevation.tile import Tile

ALIGNED = 0.02
"""How far, in posts, the corner posts of a tile may be from posts of its lattice."""

DATUM_SHIFT = 0.003
"""Degrees by which positions of other geographic systems may differ from WGS84."""

MOST_LAYERS = 100
"""More make a terrain slow, and are most often tiles that were resampled one by one."""

NEAR = 1e-3
"""Posts: positions so near to the border of a layer are on it."""


@dataclass(frozen=True)
class Piece:
    """A tile in a layer: its posts fill ``rectangle``, which may lie partly or wholly outside of the layer."""

    tile: Tile
    rectangle: Rectangle


@dataclass(frozen=True)
class Layer:
    """A layer that is to be made.

    Attributes:
        grid: Where its posts are.
        pieces: Tiles that reach into it; where several have an elevation, the first counts.
    """

    grid: Grid
    pieces: tuple[Piece, ...]

    @property
    def whole(self) -> Rectangle:
        """All of its posts."""
        return Rectangle(0, 0, self.grid.rows, self.grid.columns)


@dataclass(frozen=True)
class _Lattice:
    transform: Affine
    crs: str
    pieces: list[Piece]


def widened(area: Bounds, metres: float) -> Bounds:
    """Bounds in degrees with so many metres more on every side, at least."""
    west, south, east, north = area
    up = float(np.degrees(metres / radii_of_curvature(0.0)[0]))  # curved most, so most degrees, at the equator
    south, north = max(south - up, -90.0), min(north + up, 90.0)
    farthest = min(max(abs(south), abs(north)), 89.9)
    aside = float(np.degrees(metres / (radii_of_curvature(0.0)[1] * np.cos(np.radians(farthest)))))
    if east - west + 2 * aside >= 360.0:
        return west, south, west + 360.0, north
    return west - aside, south, east + aside, north


def within(tiles: Sequence[Tile], area: Bounds) -> list[Tile]:
    """The tiles that reach into bounds.

    Raises:
        TerrainError: None does; says what they cover.
    """
    found = [tile for tile in tiles if _overlap(tile.grid.bounds, area)]
    if not found:
        wests, souths, easts, norths = zip(*(tile.grid.bounds for tile in tiles), strict=True)
        raise TerrainError(
            f"none of the {len(tiles)} elevation tiles reaches into {bounds_text(area)} (the region and its halo); "
            f"they lie within {bounds_text((min(wests), min(souths), max(easts), max(norths)))}"
        )
    return found


def _overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two bounds have a place in common, whichever turn of the earth their longitudes are of."""
    turns = (one[0] + turn <= other[2] and one[2] + turn >= other[0] for turn in (-720.0, -360.0, 0.0, 360.0, 720.0))
    return one[1] <= other[3] and one[3] >= other[1] and any(turns)


def bounds_text(area: Bounds) -> str:
    """Bounds in degrees in words."""
    west, south, east, north = area
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def plan_layers(tiles: Sequence[Tile], area: Bounds | None, *, whole_area: bool = False) -> list[Layer]:
    """The layers of tiles, finest first.

    Args:
        tiles: Where several of a lattice have an elevation, the first counts.
        area: No posts are taken beyond these bounds (but those that complete a cell); None for all.
        whole_area: Whether the coarsest lattice's layer has all of the area, tiles or none: for the sea.

    Raises:
        TerrainError: There are too many layers.
    """
    lattices = _lattices(tiles)
    coarsest = max(lattices, key=lambda lattice: _size(lattice.pieces[0].tile.grid))
    layers = []
    for lattice in lattices:
        clip = None if area is None else _clip(lattice, area)
        pieces = [p for p in lattice.pieces if clip is None or p.rectangle.clipped(clip).area]
        if whole_area and clip is not None and lattice is coarsest:
            boxes = [clip]
        elif not pieces:
            continue
        else:
            parts = [p.rectangle if clip is None else p.rectangle.clipped(clip) for p in pieces]
            boxes = _joined(divide(parts), parts)
        layers += [_layer(lattice, box) for box in boxes]
    layers.sort(key=lambda layer: _size(layer.grid))  # stable: equal ones in the order of their tiles
    if len(layers) > MOST_LAYERS:
        raise TerrainError(
            f"the {len(tiles)} elevation tiles make {len(layers)} layers; allowed: {MOST_LAYERS}. Tiles of one layer "
            f"have the same CRS and spacing, lie on common posts (to {ALIGNED} of the spacing) and near each other"
        )
    return _bridged(layers)


def _size(grid: Grid) -> float:
    """Metres between posts: the geometric mean of both directions."""
    along, down = grid.spacing
    return float(np.sqrt(along * down))


def _lattices(tiles: Sequence[Tile]) -> list[_Lattice]:
    middle = _middle_longitude([float(np.mean(tile.grid.bounds[::2])) for tile in tiles])
    lattices: list[_Lattice] = []
    for tile in tiles:
        transform = _unwrapped(tile.grid, middle)
        for lattice in lattices:
            if lattice.crs == tile.grid.crs and (piece := _fitted(tile, transform, lattice)) is not None:
                lattice.pieces.append(piece)
                break
        else:
            first = Piece(tile, Rectangle(0, 0, tile.grid.rows, tile.grid.columns))
            lattices.append(_Lattice(transform, tile.grid.crs, [first]))
    return lattices


def _middle_longitude(longitudes: Sequence[float]) -> float:
    """The middle of the shortest arc that holds all longitudes; the arc begins between -180 and 180 degrees."""
    around = np.unique(np.mod(longitudes, 360.0))
    gaps = np.diff(around, append=around[0] + 360.0)
    widest = int(np.argmax(gaps))
    begin = np.mod(around[(widest + 1) % len(around)] + 180.0, 360.0) - 180.0
    return float(begin + (360.0 - gaps[widest]) / 2)


def _unwrapped(grid: Grid, middle: float) -> Affine:
    """The transform of a grid; longitudes are brought within half a turn of ``middle``."""
    t = grid.transform
    if not grid.is_geographic:
        return t
    centre = t.a * (grid.columns - 1) / 2 + t.b * (grid.rows - 1) / 2 + t.c
    turns = round((middle - centre) / 360.0)
    return Affine(t.a, t.b, t.c + 360.0 * turns, t.d, t.e, t.f)


def _fitted(tile: Tile, transform: Affine, lattice: _Lattice) -> Piece | None:
    """A tile in a lattice; None when its posts are not posts of the lattice."""
    rows, columns = tile.grid.shape
    column, row = np.array([0, columns - 1, 0, columns - 1]), np.array([0, 0, rows - 1, rows - 1])
    t, inverse = transform, ~lattice.transform
    x, y = t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f
    found = np.stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f])
    first = np.rint(found[:, 0])
    if np.abs(found - first[:, None] - np.stack([column, row])).max() > ALIGNED:
        return None
    left, top = int(first[0]), int(first[1])
    return Piece(tile, Rectangle(top, left, top + rows, left + columns))


def _clip(lattice: _Lattice, area: Bounds) -> Rectangle:
    """The posts of a lattice whose cells reach into bounds; all that tiles have where its CRS does not reach there."""
    everything = Rectangle.around([piece.rectangle for piece in lattice.pieces])
    grid = _grid(lattice, everything)
    west, south, east, north = area
    if grid.is_geographic:
        margin = 0.0 if grid.crs == WGS84_CRS else DATUM_SHIFT
        centre_x = float(np.mean([grid.transform.c, grid.transform.c + grid.transform.a * (grid.columns - 1)]))
        turn = 360.0 * round((centre_x - (west + east) / 2) / 360.0)
        x = np.array([west - margin, east + margin, west - margin, east + margin]) + turn
        y = np.array([south - margin, south - margin, north + margin, north + margin])
        inverse = ~grid.transform
        column, row = inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f
    else:
        across, down = outline(2, 2)
        column, row = grid.pixel_of(west + (east - west) * across, south + (north - south) * down)
    if not (np.isfinite(column).all() and np.isfinite(row).all()):
        return everything
    low = np.floor([row.min() + NEAR, column.min() + NEAR])
    high = np.ceil([row.max() - NEAR, column.max() - NEAR])
    return Rectangle(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1).moved(
        everything.top, everything.left
    )


def _joined(boxes: list[Rectangle], parts: Sequence[Rectangle]) -> list[Rectangle]:
    """Rectangles of one lattice that share the posts where they meet, so that no cell between them is missing."""
    if len(boxes) == 1:
        return boxes
    grown = []
    for box in boxes:
        below = Rectangle(box.bottom, box.left, box.bottom + 1, box.right)
        beside = Rectangle(box.top, box.right, box.bottom, box.right + 1)
        grown.append(
            Rectangle(
                box.top,
                box.left,
                box.bottom + any(p.clipped(below).area for p in parts),
                box.right + any(p.clipped(beside).area for p in parts),
            )
        )
    return grown


def _grid(lattice: _Lattice, box: Rectangle) -> Grid:
    t = lattice.transform
    origin = (t.a * box.left + t.b * box.top + t.c, t.d * box.left + t.e * box.top + t.f)
    moved = Affine(t.a, t.b, origin[0], t.d, t.e, origin[1])
    return Grid(moved, lattice.crs, box.bottom - box.top, box.right - box.left)


def _layer(lattice: _Lattice, box: Rectangle) -> Layer:
    """The layer of a rectangle of a lattice, which has at least two rows and columns."""
    box = Rectangle(box.top, box.left, max(box.bottom, box.top + 2), max(box.right, box.left + 2))
    pieces = [p for p in lattice.pieces if p.rectangle.clipped(box).area]
    return Layer(_grid(lattice, box), tuple(Piece(p.tile, p.rectangle.moved(-box.top, -box.left)) for p in pieces))


def _bridged(layers: list[Layer]) -> list[Layer]:
    """Layers that reach each other where their tiles are neighbours.

    The last post of a tile of pixels and the first post of the next tile are a cell apart. Where the two are of
    different layers, nothing covers that cell; so the coarser one gets one more row or column of posts.
    """
    layers = list(layers)
    for k in reversed(range(len(layers))):
        for side in range(4):
            others = [layer.grid for m, layer in enumerate(layers) if m != k]
            if _ends_before(layers[k].grid, side, others):
                layers[k] = _extended(layers[k], side)
    return layers


def _ends_before(grid: Grid, side: int, others: Sequence[Grid]) -> bool:
    """Whether somewhere along a side (0 to 3: first row, last row, first column, last column) a cell is missing."""
    rows, columns = grid.shape
    end = (-1.0, 1.0)[side % 2]

    def covered(distance: float) -> np.ndarray:
        along = np.linspace(0.0, 1.0, 257)
        if side < 2:
            column, row = along * (columns - 1), np.full(257, (0.0, rows - 1.0)[side] + end * distance)
        else:
            column, row = np.full(257, (0.0, columns - 1.0)[side - 2] + end * distance), along * (rows - 1)
        lon, lat = grid.position_of(column, row)
        return np.logical_or.reduce([other.contains(lon, lat, NEAR) for other in others])

    return bool(others) and bool((covered(1.0) & ~covered(0.5)).any())


def _extended(layer: Layer, side: int) -> Layer:
    grid, down, across = layer.grid, int(side == 0), int(side == 2)
    t = grid.transform
    moved = Affine(t.a, t.b, t.c - t.a * across - t.b * down, t.d, t.e, t.f - t.d * across - t.e * down)
    pieces = tuple(replace(piece, rectangle=piece.rectangle.moved(down, across)) for piece in layer.pieces)
    return Layer(Grid(moved, grid.crs, grid.rows + (side < 2), grid.columns + (side >= 2)), pieces)
