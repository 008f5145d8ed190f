"""Positions in GPX files: the points of tracks, routes and waypoints, in the order of the file.

The files come from anywhere: they are read by `defusedxml`, which refuses entities and external references.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError

Floats = NDArray[np.float64]
POINTS = {"waypoints": "wpt", "routes": "rtept", "tracks": "trkpt"}
"""Elements of a GPX file that are points, by the kind of thing they belong to."""


def read_points(path: Path, kinds: tuple[str, ...]) -> Floats:
    """Longitude, latitude and elevation (degrees, metres; NaN where a point has none) of all points, [n, 3].

    Args:
        path: A GPX file, 1.0 or 1.1.
        kinds: Of `POINTS`.

    Raises:
        TerrainError: It is no GPX file, is hostile, holds no such points, or a point has no possible position.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    wanted = {POINTS[kind] for kind in kinds}
    points: list[tuple[float, float, float]] = []
    try:
        with path.open("rb") as file:
            root = None
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                tag = _local(element)
                if root is None:
                    root = element
                    if tag != "gpx":
                        raise TerrainError(f"{path}: the outermost element is {tag[:40]!r}; a GPX file has gpx")
                elif event == "end" and tag in POINTS.values():
                    if tag in wanted:
                        points.append(_point(element, path, len(points)))
                    element.clear()
    except DefusedXmlException as error:
        raise TerrainError(f"{path}: declares entities or a document type, which no GPX file needs: refused") from error
    except (OSError, ParseError, ValueError, LookupError) as error:
        raise TerrainError(f"{path}: cannot be read as a GPX file: {error}") from error
    if not points:
        raise TerrainError(f"{path}: holds no points of {', '.join(kinds)}")
    return np.array(points)


def _point(element: Any, path: Path, number: int) -> tuple[float, float, float]:
    elevation = next((child.text for child in element if _local(child) == "ele"), None)
    texts = {"lon": element.get("lon"), "lat": element.get("lat"), "ele": elevation}
    limits = {"lon": 180.0, "lat": 90.0, "ele": 20000.0}
    values = {}
    for key, text in texts.items():
        try:
            values[key] = float(text) if text is not None or key != "ele" else math.nan
        except (TypeError, ValueError):
            values[key] = math.inf
        if abs(values[key]) > limits[key] or (key != "ele" and math.isnan(values[key])):
            shown = None if text is None else text[:60]
            raise TerrainError(
                f"{path}: {_local(element)} number {number + 1}: {key}={shown!r} is not allowed; "
                f"allowed: -{limits[key]:g} to {limits[key]:g}"
            )
    return values["lon"], values["lat"], values["ele"]


def _local(element: Any) -> str:
    """Name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]
