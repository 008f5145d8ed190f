import numpy as np
import pytest
from synthetic_terrain import jacksboro, jacksboro_caster

from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.places import Strips, choose_places
from crosslocate.terrain.viewpoints.poses import PoseDistribution
from crosslocate.terrain.viewpoints.views import database_cameras, query_cameras

POSES = PoseDistribution()


@pytest.fixture(scope="module")
def places():
    return choose_places(
        Terrain.of(jacksboro()), Strips({"train": 9, "val": 3, "test": 4}, 1000.0, 1200.0, 400.0), POSES, seed=3
    )


def test_database_views_look_round_from_each_place(places):
    table = database_cameras(places, headings=12, horizontal_fov=1.0)
    assert len(table) == 12 * len(places)
    np.testing.assert_allclose(np.degrees(table.yaw[:12]), np.arange(12) * 30)
    assert list(table.name[:2]) == ["p0000_h000", "p0000_h030"]
    assert not table.pitch.any()
    assert not table.roll.any()
    table.check(jacksboro())


def test_names_stay_unique_when_headings_are_no_whole_degrees(places):
    table = database_cameras(places, headings=7, horizontal_fov=1.0)
    assert len(set(table.name)) == 7 * len(places)


def test_queries_stand_at_their_place_and_show_terrain_and_sky(places):
    per_place, share = {"train": 4, "val": 2, "test": 3}, (0.1, 0.9)
    table = query_cameras(
        jacksboro_caster(), places, per_place, POSES, terrain_share=share, aspect=4 / 3, seed=3, workers=2
    )
    assert len(table) == 4 * 9 + 2 * 3 + 3 * 4
    np.testing.assert_array_equal(table.longitude, places.longitude[table.place])
    np.testing.assert_array_equal(table.elevation, places.altitude[table.place])
    np.testing.assert_array_equal(table.split, places.split[table.place])
    seen = [(jacksboro_caster().cast(table.camera(row, 16, 12)).distance >= 0).mean() for row in range(len(table))]
    assert np.mean([share[0] <= s <= share[1] for s in seen]) > 0.95
    again = query_cameras(
        jacksboro_caster(), places, per_place, POSES, terrain_share=share, aspect=4 / 3, seed=3, workers=1
    )
    np.testing.assert_array_equal(again.yaw, table.yaw)
