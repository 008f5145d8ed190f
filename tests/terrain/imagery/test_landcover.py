import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import NO_CURVATURE, camera_at_home, grid_dem, jacksboro_caster

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem
from crosslocate.terrain.imagery.landcover import (
    FOREST,
    MEADOW,
    ROCK,
    SEGMENT_COLOURS,
    SEGMENT_NAMES,
    SKY_CLASS,
    SNOW,
    WATER,
    segments,
)
from crosslocate.terrain.imagery.relief import Relief
from crosslocate.terrain.imagery.water import WaterMap


def classes_of(hits):
    return segments(hits, Relief(hits.terrain).at(hits), WaterMap(hits.terrain))


def classes_of_plane(height, slope_east, slope_north=0.0):
    """Classes that a camera over a tilted plane at 47.2 degrees north sees below it."""
    dem = grid_dem(lambda e, n: height + slope_east * e + slope_north * n)
    hits = RayCaster(dem, NO_CURVATURE).cast(
        camera_at_home(height + 60.0, pitch=-1.3, horizontal_fov=0.5, width=9, height=9)
    )
    assert not hits.sky.any()
    return set(np.unique(classes_of(hits)).tolist())


@pytest.mark.parametrize(
    ("height", "slope", "expected"),
    [
        (800.0, 0.3, FOREST),
        (800.0, 0.03, MEADOW),
        (800.0, 0.7, FOREST),
        (800.0, 0.9, ROCK),
        (2350.0, 0.7, ROCK),
        (2350.0, 0.3, MEADOW),
        (2750.0, 0.3, ROCK),
        (3200.0, 0.3, SNOW),
        (3200.0, 1.5, ROCK),
    ],
)
def test_classes_follow_height_and_slope(height, slope, expected):
    assert classes_of_plane(height, slope) == {expected}


def test_forest_climbs_higher_on_the_sunny_side():
    sunny, shady = classes_of_plane(2110.0, 0.0, 0.5), classes_of_plane(2110.0, 0.0, -0.5)
    assert sunny == {FOREST}  # falls to the south
    assert shady == {MEADOW}


def lake(area_posts):
    rng = np.random.default_rng(0)
    posts = rng.uniform(500, 510, (60, 60)).astype(np.float32)
    posts[10 : 10 + area_posts, 10 : 10 + area_posts] = 480.0
    return Dem(posts, Affine(1 / 1200, 0, 11.0, 0, -1 / 1200, 47.0), WGS84_CRS)


def test_water_comes_before_every_other_class():
    dem = lake(20)
    caster = RayCaster(dem)
    lon, lat = (float(a) for a in dem.position_of(19.5, 19.5))
    hits = caster.cast(Camera(lon, lat, 600.0, 0.0, -1.2, 0.0, 0.5, 9, 9))
    assert (classes_of(hits) == WATER).all()


def test_segments_of_real_terrain():
    hits = jacksboro_caster().cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, 0.0, 0.1, 1.0, 60, 45))
    classes = classes_of(hits)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes == SKY_CLASS, hits.sky)
    assert (classes == FOREST).mean() > 0.1
    assert not (classes == SNOW).any()


def test_palette_is_distinct_and_named():
    assert len(SEGMENT_NAMES) == len(SEGMENT_COLOURS) == len({tuple(c) for c in SEGMENT_COLOURS.tolist()}) == 6
