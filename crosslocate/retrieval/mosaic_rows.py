"""What mosaics show: training batches with their views, queries with what they found."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.colours import as_bytes
from crosslocate.data.distance import PlaceDistance, Posed
from crosslocate.data.images import modality as kind_of
from crosslocate.data.reader import ImageReader
from crosslocate.retrieval.matches import Matches
from crosslocate.retrieval.mosaics import Tile
from crosslocate.retrieval.recall import Ints, compare

FIRST = ("photo", "segments", "silhouettes", "depth", "edges", "normals", "axial_depth")
"""Files of which modality are shown where there are several."""


def match_rows(
    matches: Matches,
    positions: Ints,
    queries: ImageReader,
    database: ImageReader,
    model: PlaceDistance,
    *,
    distance: float,
    heading: float,
    nearest: bool,
) -> Iterator[list[Tile]]:
    """Rows of a mosaic: a query and the first views that it found, those that localize it framed.

    Args:
        matches: First neighbours of queries.
        positions: Which of them to show.
        queries: Reads the queries.
        database: Reads the views.
        model: What distance means; used for the nearest view.
        distance: Metres within which a view is right, inclusive.
        heading: Degrees by which its heading may differ, inclusive.
        nearest: Put the truly nearest view last.
    """
    for position in positions.tolist():
        row = matches.query_rows[position : position + 1]
        views, metres, turns = matches.neighbours[position], matches.metres[position], matches.heading[position]
        if nearest:
            view = nearest_view(queries.catalog, int(row[0]), database.catalog)
            found = compare(queries.catalog, row, database.catalog, np.array([[view]]), model)
            views, metres = np.append(views, view), np.append(metres, found.metres[0])
            turns = np.append(turns, found.heading[0])
        degrees = np.degrees(turns)
        right = (metres <= distance) & (turns <= np.radians(heading))
        tiles = read_tiles(database, views, [apart(m, d) for m, d in zip(metres, degrees, strict=True)], right)
        yield [*read_tiles(queries, row, [view_text(queries, int(row[0]))]), *tiles]


def batch_rows(
    query_rows: Ints,
    positives: Ints,
    negatives: Ints,
    queries: ImageReader,
    database: ImageReader,
    model: PlaceDistance,
) -> Iterator[list[Tile]]:
    """Rows of a mosaic: every query of a training batch, its positive and its negatives; the positive is framed.

    Args:
        query_rows: Rows of the queries [B].
        positives: Rows of their positives [B].
        negatives: Rows of their negatives [B, N], -1 for none.
        queries: Reads the queries.
        database: Reads the views.
        model: What distance means.
    """
    for row, positive, others in zip(query_rows, positives, negatives, strict=True):
        views = np.concatenate([[positive], others[others >= 0]])
        found = compare(queries.catalog, np.array([row]), database.catalog, views[None], model)
        notes = [apart(m, d) for m, d in zip(found.metres[0], np.degrees(found.heading[0]), strict=True)]
        seen: set[int] = set()
        for i, view in enumerate(views.tolist()):
            notes[i] = "repeat" if view in seen else notes[i]
            seen.add(view)
        tiles = read_tiles(database, views, notes, np.arange(len(views)) == 0)
        yield [*read_tiles(queries, np.array([row]), [view_text(queries, int(row))]), *tiles]


def read_tiles(
    reader: ImageReader, rows: Ints, notes: Sequence[str], right: NDArray[np.bool_] | None = None
) -> list[Tile]:
    """Tiles of some catalog rows."""
    modality = min(reader.modalities, key=lambda name: FIRST.index(kind_of(name).files))
    images, names = reader.read(rows)[modality], reader.catalog.names(rows)
    flags = np.zeros(len(names), bool) if right is None else right
    return [
        Tile(as_bytes(image, modality), name, note, bool(flag))
        for image, name, note, flag in zip(images, names, notes, flags, strict=True)
    ]


def nearest_view(queries: Posed, query: int, database: Posed) -> int:
    """The view at the place nearest to a query, of the views there that of the most similar heading."""
    east = (database.longitude - queries.longitude[query] + 180.0) % 360.0 - 180.0
    squared = np.square(east * np.cos(np.radians(queries.latitude[query])))
    squared += np.square(database.latitude - queries.latitude[query])
    there = np.flatnonzero(squared <= squared.min() + 1e-12)  # within a decimetre of the nearest
    turns = np.abs((database.yaw[there] - queries.yaw[query] + np.pi) % (2 * np.pi) - np.pi)
    return int(there[turns.argmin()])


def apart(metres: float, degrees: float) -> str:
    """Distance and difference of heading for reading, such as ``12 m, 4°`` or ``3.2 km, 120°``."""
    far = (
        f"{metres:.0f} m"
        if metres < 999.5
        else f"{metres / 1000:.1f} km"
        if metres < 9950
        else f"{metres / 1000:,.0f} km"
    )
    return f"{far}, {degrees:.0f}°"


def view_text(reader: ImageReader, row: int) -> str:
    """Which way an image looks, and how wide it is."""
    heading, width = np.degrees(reader.catalog.yaw[row]) % 360, np.degrees(reader.catalog.horizontal_fov[row])
    return f"to {heading:.0f}°, {width:.0f}° wide"
