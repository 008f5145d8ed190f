"""Land cover where none is given: classes from elevation, slope, aspect and latitude, water from flat areas."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crosslocate.geo import geodesic_distance
from crosslocate.terrain.casting.raycast import Hits
from crosslocate.terrain.elevation.dem import Dem, interpolate
from crosslocate.terrain.imagery.surface import slopes

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
        rock_slope: Tangent of the slope from which ground is bare rock.
        snow_slope: Tangent of the slope from which snow does not stay.
        field_slope: Tangent of the slope below which land under the tree line is open (fields, valley floors).
        flat_range: Metres by which 3 x 3 posts may differ to be water.
        lake_area: Square metres below which a flat area is not water.
    """

    tree_line: tuple[tuple[float, ...], tuple[float, ...]] = ((0, 30, 46, 60, 70), (3900, 3900, 2200, 950, 0))
    snow_line: tuple[tuple[float, ...], tuple[float, ...]] = ((0, 28, 46, 60, 78), (4900, 5700, 2950, 1500, 300))
    aspect_shift: float = 150.0
    alpine_belt: float = 500.0
    rock_slope: float = 0.6
    snow_slope: float = 1.2
    field_slope: float = 0.08
    flat_range: float = 0.05
    lake_area: float = 60_000.0


DEFAULT_RULES = CoverRules()


@lru_cache(maxsize=4)
def water_posts(dem: Dem, rules: CoverRules = DEFAULT_RULES) -> NDArray[np.float32]:
    """Posts on open water: 1, else 0, float32 ``[rows, columns]``. Kept for the last few models.

    Elevation models are levelled over water, so water is where 3 x 3 posts are equal over a large enough area.
    """
    filled = np.nan_to_num(dem.elevation, nan=-1e6)
    spread = ndimage.maximum_filter(filled, 3) - ndimage.minimum_filter(filled, 3)
    flat = (spread <= rules.flat_range) & np.isfinite(dem.elevation)
    flat = ndimage.binary_dilation(flat, np.ones((3, 3))) & np.isfinite(dem.elevation)
    labels, count = ndimage.label(flat)
    posts = np.bincount(labels.ravel(), minlength=count + 1)
    large = posts * _post_area(dem) >= rules.lake_area
    large[0] = False
    return large[labels].astype(np.float32)


def segments(dem: Dem, hits: Hits, rules: CoverRules = DEFAULT_RULES) -> NDArray[np.uint8]:
    """Class id of every pixel, uint8 ``[H, W]`` (see ``SEGMENT_NAMES``)."""
    classes = np.full(hits.distance.shape, SKY_CLASS, np.uint8)
    seen = ~hits.sky
    column, row = (axis[seen] for axis in hits.pixel())
    east, north = (interpolate(slope, column, row) for slope in slopes(dem))
    _, latitude = dem.position_of(column, row)
    water = interpolate(water_posts(dem, rules), column, row) >= 0.5
    classes[seen] = _classify(hits.elevation[seen], np.hypot(east, north), north, latitude, water, rules)
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
    wooded = (height < trees) & (slope >= rules.field_slope)
    classes = np.where(wooded, FOREST, MEADOW)
    classes = np.where((slope >= rules.rock_slope) | (height >= trees + rules.alpine_belt), ROCK, classes)
    classes = np.where((height >= snow) & (slope < rules.snow_slope), SNOW, classes)
    return np.where(water, WATER, classes).astype(np.uint8)


def _post_area(dem: Dem) -> float:
    """Square metres per post at the centre of the model."""
    rows, columns = dem.shape
    c, r = (columns - 1) / 2, (rows - 1) / 2
    origin, beside, below = (dem.position_of(c + dc, r + dr) for dc, dr in ((0, 0), (1, 0), (0, 1)))
    return float(geodesic_distance(*origin, *beside)) * float(geodesic_distance(*origin, *below))
