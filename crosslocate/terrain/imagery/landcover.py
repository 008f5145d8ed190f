"""Land cover where none is given: classes from elevation, slope, aspect and latitude, water from flat areas."""

from dataclasses import dataclass

import numpy as np
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
    for layer in range(len(hits.terrain.layers)):
        here = ground.layer == layer
        if here.any():
            east, north = (axis[here].astype(np.float64) for axis in (ground.east, ground.north))
            wet = water.at(layer, ground.column[here], ground.row[here])
            classes[here] = _classify(
                hits.elevation[here], np.hypot(east, north), north, hits.latitude[here], wet, rules
            )
    return classes


def segment_colours(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Segment image in palette colours, RGB ``[H, W, 3]``."""
    return SEGMENT_COLOURS[classes]


def _classify(
    elevation: NDArray[np.float64],
    slope: NDArray[np.float64],
    north: NDArray[np.float64],
    latitude: NDArray[np.float64],
    water: NDArray[np.bool_],
    rules: CoverRules,
) -> NDArray[np.uint8]:
    # +1 where the ground faces the pole: it then falls toward the pole, by the full slope.
    poleward = -north * np.sign(latitude) / np.maximum(slope, 1e-6)
    height = elevation + rules.aspect_shift * poleward * np.minimum(slope, 1.0)
    trees, snow = (np.interp(np.abs(latitude), *line) for line in (rules.tree_line, rules.snow_line))
    below = height < trees
    classes = np.where(below & (slope >= rules.field_slope), FOREST, MEADOW)
    steep = slope >= np.where(below, rules.cliff_slope, rules.rock_slope)
    classes = np.where(steep | (height >= trees + rules.alpine_belt), ROCK, classes)
    classes = np.where((height >= snow) & (slope < rules.snow_slope), SNOW, classes)
    return np.where(water, WATER, classes).astype(np.uint8)
