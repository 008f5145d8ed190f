"""A synthetic data set of the size and shape of CrossLocate's Uniform one: places all over the Alps, twelve views each.

Places lie on a grid of 500 m, half of whose cells hold one, jittered within their cells. A smaller set covers a smaller
part of the box, equally densely; a larger one all of the box on a finer grid. Everything is drawn from seeds, and no
batch depends on how large batches are.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

UNIFORM_PLACES = 893_333
UNIFORM_VIEWS = 12 * UNIFORM_PLACES
HEADINGS = 12
"""Views of a place, equally far apart, the first to the north."""
BOX = (5.0, 43.5, 16.5, 48.0)
"""West, south, east and north in degrees."""
DEGREES = (500.0 / 77_800.0, 500.0 / 111_150.0)
"""500 m in degrees of longitude and latitude, at the middle of the box."""
GRID = (round((BOX[2] - BOX[0]) / DEGREES[0]), round((BOX[3] - BOX[1]) / DEGREES[1]))
NEAR = 0.6
"""Share of the queries that stand near a place."""
RADIUS, OFF_HEADING = 20.0, math.radians(15.0)
"""How far at most such a query stands from the place, in metres, and how far it looks past one of its views."""

Columns = dict[str, NDArray[Any] | pa.Array]
Floats = NDArray[np.float64]


def alpine_batches(views: int, seed: int = 0, batch: int = 1 << 20) -> Iterator[Columns]:
    """The columns of a database in batches of rows; consecutive rows of one place share its position.

    Args:
        views: Rows in all.
        seed: What the places are drawn from.
        batch: Rows of a batch.
    """
    longitude, latitude, elevation = alpine_places(-(-views // HEADINGS), seed)
    for start in range(0, views, batch):
        rows = np.arange(start, min(start + batch, views))
        place = (rows // HEADINGS).astype(np.int32)
        yaw = np.asarray(rows % HEADINGS * (2 * np.pi / HEADINGS), np.float64)
        yield _columns(rows, place, longitude[place], latitude[place], elevation[place], yaw)


def alpine_queries(queries: int, seed: int = 1, views: int = UNIFORM_VIEWS, database_seed: int = 0) -> Columns:
    """The columns of photographs: 60 % stand up to 20 m from a place and look about as a view does, others anywhere.

    Args:
        queries: Rows.
        seed: What they are drawn from.
        views: Rows of the database that they belong to.
        database_seed: What its places were drawn from.
    """
    places = alpine_places(-(-views // HEADINGS), database_seed)
    rng = np.random.default_rng([seed, queries])
    near = rng.random(queries) < NEAR
    place = rng.integers(0, len(places[0]), queries)
    distance, angle = RADIUS * np.sqrt(rng.random(queries)), rng.uniform(0, 2 * np.pi, queries)
    north = distance * np.cos(angle) / 111_150.0
    east = distance * np.sin(angle) / (111_320.0 * np.cos(np.radians(places[1][place])))
    heading = rng.integers(0, HEADINGS, queries) * (2 * np.pi / HEADINGS) + rng.uniform(-1, 1, queries) * OFF_HEADING
    box = (places[0].min(), places[0].max()), (places[1].min(), places[1].max())
    longitude = np.where(near, places[0][place] + east, rng.uniform(*box[0], queries))
    latitude = np.where(near, places[1][place] + north, rng.uniform(*box[1], queries))
    elevation = np.where(near, places[2][place], rng.uniform(300.0, 3500.0, queries))
    yaw = np.where(near, heading, rng.uniform(0, 2 * np.pi, queries)) % (2 * np.pi)
    rows = np.arange(queries)
    return _columns(rows, rows.astype(np.int32), longitude, latitude, elevation, yaw)


def alpine_places(places: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Longitude and latitude in degrees and elevation in metres of every place, each float64 [places], west to east."""
    rng = np.random.default_rng([seed, places])
    side = math.sqrt(places / UNIFORM_PLACES)
    across, along = (max(2, math.ceil(cells * side)) for cells in GRID)
    finer = max(side, 1.0)
    cells = np.sort(rng.choice(across * along, places, replace=False, shuffle=False))
    column, row = cells // along + rng.random(places), cells % along + rng.random(places)
    longitude = BOX[0] + column * DEGREES[0] / finer
    latitude = BOX[1] + row * DEGREES[1] / finer
    relief = np.sin(longitude * 23.0) + np.cos(latitude * 31.0) + np.sin(longitude * 71.0 + latitude * 59.0)
    elevation = 1900.0 + 500.0 * relief + rng.normal(0, 30.0, places)
    return np.minimum(longitude, BOX[2]), np.minimum(latitude, BOX[3]), elevation


def _columns(
    rows: NDArray[np.int64],
    place: NDArray[np.int32],
    longitude: Floats,
    latitude: Floats,
    elevation: Floats,
    yaw: Floats,
) -> Columns:
    count = len(rows)
    return {
        "name": _names(rows),
        "place": place,
        "split": pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array(["test"])),
        "longitude": longitude,
        "latitude": latitude,
        "elevation": elevation,
        "yaw": yaw,
        "pitch": np.zeros(count),
        "roll": np.zeros(count),
        "horizontal_fov": np.full(count, math.radians(60.0)),
    }


def _names(rows: NDArray[np.int64]) -> pa.Array:
    """Eight digits for every row, without a Python string for each."""
    if len(rows) and rows[-1] >= 10**8:
        raise ValueError(f"{rows[-1] + 1} rows; at most {10**8} have names of eight digits")
    digits = (rows[:, None] // 10 ** np.arange(7, -1, -1) % 10 + ord("0")).astype(np.uint8)
    ends = np.arange(0, 8 * len(rows) + 1, 8, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(rows), [None, pa.py_buffer(ends), pa.py_buffer(digits)])
