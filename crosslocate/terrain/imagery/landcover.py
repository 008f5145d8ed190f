"""Land cover where none is given: classes from elevation, slope, aspect and latitude, water from flat areas."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.imagery.relief import Ground
from crosslocate.terrain.imagery.water import WaterMap

SEGMENT_NAMES = ("sky", "water", "forest", "rock", "meadow", "ice and snow")
"""Names of the class ids 0 to 5."""

SEGMENT_COLOURS = np.array(
    [[135, 190, 235], [30, 80, 170], [35, 95, 45], [125, 115, 105], [150, 190, 85], [245, 248, 252]], np.uint8
)
"""Palette of segment images: RGB of class ids 0 to 5, ``[6, 3]``."""

SKY_CLASS, WATER, FOREST, ROCK, MEADOW, SNOW = range(6)


@dataclass(frozen=True)
class CoverRules:
    """Limits between the classes.

    The tree line and the snow line follow tables over the absolute latitude (degrees, metres), linear between entries.
    They are rounded to the usual heights of continental mountains (Alps at 46 degrees: 2,200 m and 2,950 m).

    Attributes:
        tree_line: Latitudes and heights of the upper limit of forest.
        snow_line: Latitudes and heights of the lower limit of lasting snow and ice.
        aspect_shift: Metres by which both lines rise on steep slopes that face the equator, and sink on the others.
        alpine_belt: Metres above the tree line up to which meadows grow; rock above.
        rock_slope: Tangent of the slope from which ground above the tree line is bare rock.
        cliff_slope: Tangent of the slope from which no trees hold on either.
        snow_slope: Tangent of the slope from which snow does not stay.
        field_slope: Tangent of the slope below which land under the tree line is open (fields, valley floors).
    """

    tree_line: tuple[tuple[float, ...], tuple[float, ...]] = ((0, 30, 46, 60, 70), (3900, 3900, 2200, 950, 0))
    snow_line: tuple[tuple[float, ...], tuple[float, ...]] = ((0, 28, 46, 60, 78), (4900, 5700, 2950, 1500, 300))
    aspect_shift: float = 150.0
    alpine_belt: float = 500.0
    rock_slope: float = 0.6
    cliff_slope: float = 0.85
    snow_slope: float = 1.2
    field_slope: float = 0.08


DEFAULT_RULES = CoverRules()


def segments(hits: Hits, ground: Ground, water: WaterMap, rules: CoverRules = DEFAULT_RULES) -> NDArray[np.uint8]:
    """Class id of every pixel, uint8 ``[H, W]`` (see ``SEGMENT_NAMES``)."""
    classes = np.full(hits.distance.shape, SKY_CLASS, np.uint8)
    trees, snow = np.array(rules.tree_line, np.float64), np.array(rules.snow_line, np.float64)
    limits = (
        rules.aspect_shift,
        rules.alpine_belt,
        rules.rock_slope,
        rules.cliff_slope,
        rules.snow_slope,
        rules.field_slope,
    )
    _classify(ground.layer, hits.elevation, hits.latitude, ground.east, ground.north, trees, snow, limits, classes)
    several = len(hits.terrain.layers) > 1
    for layer in np.unique(ground.layer[ground.layer >= 0]).tolist() if several else [0]:
        column = np.where(ground.layer == layer, ground.column, np.nan) if several else ground.column
        classes[water.at(layer, column.ravel(), ground.row.ravel()).reshape(classes.shape)] = WATER
    return classes


@njit(nogil=True, cache=True)
def _classify(
    layer: Any,
    elevation: Any,
    latitude: Any,
    east: Any,
    north: Any,
    tree_line: Any,
    snow_line: Any,
    limits: Any,
    classes: Any,
) -> None:
    """Classes of dry ground; ``limits`` are the last six of `CoverRules`."""
    aspect_shift, alpine_belt, rock_slope, cliff_slope, snow_slope, field_slope = limits
    height, width = layer.shape
    for v in range(height):
        for u in range(width):
            if layer[v, u] < 0:
                continue
            x, y, lat = np.float64(east[v, u]), np.float64(north[v, u]), latitude[v, u]
            slope = math.sqrt(x * x + y * y)
            # +1 where the ground faces the pole: it then falls toward the pole, by the full slope.
            poleward = -y * np.sign(lat) / max(slope, 1e-6)
            h = elevation[v, u] + aspect_shift * poleward * min(slope, 1.0)
            trees, snow = _line(tree_line, abs(lat)), _line(snow_line, abs(lat))
            below = h < trees
            if h >= snow and slope < snow_slope:
                classes[v, u] = SNOW
            elif slope >= (cliff_slope if below else rock_slope) or h >= trees + alpine_belt:
                classes[v, u] = ROCK
            elif below and slope >= field_slope:
                classes[v, u] = FOREST
            else:
                classes[v, u] = MEADOW


@njit(inline="always")
def _line(table: Any, latitude: float) -> float:
    """Height at a latitude, linear between the entries of a table [2, n], constant beyond them."""
    last = table.shape[1] - 1
    if latitude <= table[0, 0]:
        return float(table[1, 0])
    for k in range(last):
        if latitude < table[0, k + 1]:
            rise = (table[1, k + 1] - table[1, k]) / (table[0, k + 1] - table[0, k])
            return float(rise * (latitude - table[0, k]) + table[1, k])
    return float(table[1, last])
