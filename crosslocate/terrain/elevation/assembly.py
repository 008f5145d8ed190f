"""Posts of the layers of a terrain: copied from tiles, and what they lack from elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import TerrainError
from crosslocate.terrain.elevation.dem import print_of, row_blocks
from crosslocate.terrain.elevation.grid import Grid
from crosslocate.terrain.elevation.plan import Layer, Piece
from crosslocate.terrain.elevation.rectangle import Rectangle
from crosslocate.terrain.elevation.summary import LayerSummary
from crosslocate.terrain.elevation.voids import borrowed, fill_from_neighbours

Posts = NDArray[np.float32]

SEA_LEVEL = 0.0
"""Metres."""


class VoidLayersError(TerrainError):
    """Layers that have no elevation at all.

    Args:
        numbers: Their numbers.
        message: What was found.
    """

    def __init__(self, numbers: Sequence[int], message: str) -> None:
        self.numbers = frozenset(numbers)
        super().__init__(message)


@dataclass
class Counts:
    """What was met while the posts of a layer were made; see `LayerSummary`."""

    implausible: int = 0
    overlap: int = 0
    disagreement: float = 0.0
    disagreeing: str = ""
    voids: int = 0
    absent: int = 0
    from_layers: int = 0
    from_neighbours: int = 0
    sea: int = 0


def assemble(
    layers: Sequence[Layer],
    views: Sequence[Posts],
    *,
    plausible: tuple[float, float],
    fill_voids: float,
    sea: bool,
    release: Callable[[], None],
) -> list[LayerSummary]:
    """Fill the posts of all layers in place.

    Tiles are copied first; where several of a layer have an elevation, the first counts. Then, the coarsest layer
    first, posts without elevation get that of the other layers (the coarser ones, nearest first, then the finer ones),
    else of their neighbours, else, where there is no tile, that of the sea.

    Args:
        layers: The plan, finest first.
        views: An array [rows, columns] for each layer.
        plausible: Metres; elevations beyond are voids.
        fill_voids: Metres across which voids are filled from neighbours; 0 for none.
        sea: Whether posts without a tile are sea.
        release: Called now and then: mapped posts need not stay in memory.

    Raises:
        TerrainError: Tiles cannot be read; all are named.
        VoidLayersError: Layers have no elevation at all.
    """
    counts = [Counts() for _ in layers]
    _copy_all(layers, views, counts, plausible, release)
    for k in reversed(range(len(layers))):
        layer, posts, count = layers[k], views[k], counts[k]
        others = [(layers[m].grid, views[m]) for m in (*range(k + 1, len(layers)), *reversed(range(k)))]
        open_posts = _fill_from_layers(layer, posts, others, count, release)
        if open_posts and fill_voids > 0:
            count.from_neighbours = fill_from_neighbours(posts, fill_voids, layer.grid.spacing)
            open_posts -= count.from_neighbours
            release()
        if open_posts and sea:
            count.sea = _fill_sea(layer, posts)
            release()
    summaries = [_summary(*parts, release) for parts in zip(layers, views, counts, strict=True)]
    _require_elevations(layers, summaries)
    return summaries


def _require_elevations(layers: Sequence[Layer], summaries: Sequence[LayerSummary]) -> None:
    void = [k for k, summary in enumerate(summaries) if summary.left == summary.rows * summary.columns]
    if void:
        names = ", ".join(piece.tile.path.name for k in void for piece in layers[k].pieces)
        strange = sum(summaries[k].implausible for k in void)
        reason = f"; {strange} were beyond terrain.elevation.plausible" if strange else ""
        posts = sum(summaries[k].left for k in void)
        raise VoidLayersError(void, f"none of the {posts} posts of {names} has an elevation{reason}")


def _copy_all(
    layers: Sequence[Layer],
    views: Sequence[Posts],
    counts: Sequence[Counts],
    plausible: tuple[float, float],
    release: Callable[[], None],
) -> None:
    for posts in views:
        for block in row_blocks(posts):
            block[:] = np.nan
            release()
    problems = []
    work = [(k, n) for k, layer in enumerate(layers) for n in range(len(layer.pieces))]
    for k, n in track(work, "reading elevation tiles"):
        try:
            _copy(layers[k], n, views[k], counts[k], plausible, release)
        except TerrainError as error:
            problems.append(str(error))
    if problems:
        raise TerrainError("\n  ".join([f"{len(problems)} elevation tiles are damaged:", *problems]))


def _copy(
    layer: Layer, number: int, posts: Posts, counts: Counts, plausible: tuple[float, float], release: Callable[[], None]
) -> None:
    """Copy a tile to where no earlier one has an elevation, and compare it with those elsewhere."""
    piece = layer.pieces[number]
    top, left = piece.rectangle.top, piece.rectangle.left
    for part, values in piece.tile.read(piece.rectangle.clipped(layer.whole).moved(-top, -left)):
        with np.errstate(invalid="ignore"):
            wrong = (values < plausible[0]) | (values > plausible[1])
        counts.implausible += int(wrong.sum())
        values[wrong] = np.nan
        place = part.moved(top, left)
        target = posts[place.slices]
        known = np.isfinite(target)
        both = known & np.isfinite(values)
        if both.any():
            counts.overlap += int(both.sum())
            apart = np.where(both, np.abs(values - target), -1.0)
            row, column = np.unravel_index(int(np.argmax(apart)), apart.shape)
            if (metres := float(apart[row, column])) > counts.disagreement:
                at = (place.top + int(row), place.left + int(column))
                counts.disagreement, counts.disagreeing = metres, _pair(layer.pieces[:number], piece, at)
        np.copyto(target, values, where=~known)
        release()


def _pair(earlier: Sequence[Piece], piece: Piece, post: tuple[int, int]) -> str:
    """Names of a tile and of the earlier one that has the same post."""
    at = Rectangle(*post, post[0] + 1, post[1] + 1)
    names = [other.tile.path.name for other in earlier if other.rectangle.clipped(at).area]
    return f"{names[0]}, {piece.tile.path.name}"


def _fill_from_layers(
    layer: Layer,
    posts: Posts,
    others: Sequence[tuple[Grid, Posts]],
    counts: Counts,
    release: Callable[[], None],
) -> int:
    """Fill from other layers and count what was void; returns how many posts are without an elevation still."""
    left = 0
    for top, block in _numbered(posts):
        void = np.isnan(block)
        if not void.any():
            continue
        tiled = _tiled(layer, top, len(block))
        counts.voids += int((void & tiled).sum())
        counts.absent += int((void & ~tiled).sum())
        row, column = np.nonzero(void)
        values = borrowed(layer.grid, column, row + top, others)
        block[row, column] = values.astype(np.float32)
        found = int(np.isfinite(values).sum())
        counts.from_layers += found
        left += len(row) - found
        release()
    return left


def _fill_sea(layer: Layer, posts: Posts) -> int:
    filled = 0
    for top, block in _numbered(posts):
        sea = np.isnan(block) & ~_tiled(layer, top, len(block))
        block[sea] = SEA_LEVEL
        filled += int(sea.sum())
    return filled


def _tiled(layer: Layer, top: int, rows: int) -> NDArray[np.bool_]:
    """Which posts of some rows have a tile."""
    marked = np.zeros((rows, layer.grid.columns), bool)
    strip = Rectangle(top, 0, top + rows, layer.grid.columns)
    for piece in layer.pieces:
        part = piece.rectangle.clipped(strip)
        if part.area:
            marked[part.moved(-top, 0).slices] = True
    return marked


def _numbered(posts: Posts) -> Iterator[tuple[int, Posts]]:
    """Blocks of rows with the number of their first row."""
    top = 0
    for block in row_blocks(posts):
        yield top, block
        top += len(block)


def _summary(layer: Layer, posts: Posts, counts: Counts, release: Callable[[], None]) -> LayerSummary:
    """What a layer has become."""
    lowest, highest, left = np.inf, -np.inf, 0

    def blocks() -> Iterator[Posts]:
        nonlocal lowest, highest, left
        for block in row_blocks(posts):
            known = block[np.isfinite(block)]
            left += block.size - known.size
            if known.size:
                lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
            yield block
            release()

    fingerprint = print_of(blocks(), layer.grid.shape, layer.grid.transform, layer.grid.crs)
    along, down = layer.grid.spacing
    return LayerSummary(
        crs=layer.grid.crs,
        rows=layer.grid.rows,
        columns=layer.grid.columns,
        spacing=(along, down),
        bounds=layer.grid.bounds,
        units=tuple(sorted({piece.tile.unit for piece in layer.pieces})),
        tiles=len(layer.pieces),
        lowest=lowest,
        highest=highest,
        voids=counts.voids,
        implausible=counts.implausible,
        absent=counts.absent,
        filled_from_layers=counts.from_layers,
        filled_from_neighbours=counts.from_neighbours,
        sea=counts.sea,
        left=left,
        overlap=counts.overlap,
        disagreement=counts.disagreement,
        disagreeing=counts.disagreeing,
        fingerprint=fingerprint,
        operation=layer.grid.operation.name,
        accuracy=layer.grid.operation.accuracy,
    )
