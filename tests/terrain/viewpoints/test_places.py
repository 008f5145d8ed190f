from itertools import combinations

import numpy as np
import pytest
from synthetic_terrain import jacksboro

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.places import Strips, choose_places
from crosslocate.terrain.viewpoints.poses import PoseDistribution
from crosslocate.terrain.viewpoints.separation import require_apart

COUNTS = {"train": 9, "val": 3, "test": 4}
STRIPS = Strips(COUNTS, gap=1000.0, margin=1200.0, spacing=400.0)
POSES = PoseDistribution()


@pytest.fixture(scope="module")
def places():
    return choose_places(Terrain.of(jacksboro()), STRIPS, POSES, seed=3)


def test_every_split_has_its_places(places):
    assert {split: int((places.split == split).sum()) for split in COUNTS} == COUNTS


def test_places_keep_their_distance(places):
    lon, lat = places.longitude, places.latitude
    for a, b in combinations(range(len(places)), 2):
        apart = float(geodesic_distance(lon[a], lat[a], lon[b], lat[b]))
        assert apart > (STRIPS.spacing if places.split[a] == places.split[b] else STRIPS.gap) * 0.999
    oracle = min(
        float(geodesic_distance(lon[a], lat[a], lon[b], lat[b]))
        for a, b in combinations(range(len(places)), 2)
        if places.split[a] != places.split[b]
    )
    assert min(require_apart(places, gap=oracle - 0.01, key="survey.gap").values()) == pytest.approx(oracle, abs=0.001)
    with pytest.raises(TerrainError, match=r"survey\.gap=\d+\.\d+ m is asked for"):
        require_apart(places, gap=oracle + 0.01, key="survey.gap")


def test_places_keep_away_from_the_edge(places):
    west, south, east, north = jacksboro().bounds
    lon, lat = places.longitude, places.latitude
    for edge in (
        geodesic_distance(west, lat, lon, lat),
        geodesic_distance(east, lat, lon, lat),
        geodesic_distance(lon, south, lon, lat),
        geodesic_distance(lon, north, lon, lat),
    ):
        assert edge.min() > STRIPS.margin * 0.99


def test_cameras_stand_above_the_ground(places):
    height = places.altitude - jacksboro().elevation_at(places.longitude, places.latitude)
    assert height.min() >= POSES.eye_height - 1e-6
    assert height.max() <= POSES.height[-1] + 1e-6


def test_the_seed_decides_the_choice(places):
    again, other = (choose_places(Terrain.of(jacksboro()), STRIPS, POSES, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(again.longitude, places.longitude)
    assert not np.array_equal(other.longitude, places.longitude)


def test_heights_keep_their_distribution_although_high_cameras_see_more():
    many = Strips({"train": 120}, gap=0.0, margin=1200.0, spacing=100.0)
    chosen = choose_places(Terrain.of(jacksboro()), many, POSES, seed=0, oversampling=3)
    height = chosen.altitude - jacksboro().elevation_at(chosen.longitude, chosen.latitude)
    drawn = POSES.draw_heights(np.random.default_rng(0), 20_000)
    for share in (25, 50, 75):
        assert abs((height <= np.percentile(drawn, share)).mean() - share / 100) < 0.15


def test_too_many_places_are_refused_with_the_number_that_fits():
    crowded = Strips({"train": 50}, gap=0.0, margin=1000.0, spacing=9000.0)
    with pytest.raises(TerrainError, match=r"train strip holds only \d+ of 50 places at a spacing of 9000 m"):
        choose_places(Terrain.of(jacksboro()), crowded, POSES, seed=0, oversampling=2)


@pytest.mark.parametrize(("gap", "margin"), [(20_000.0, 0.0), (0.0, 16_000.0)])
def test_a_terrain_without_room_for_the_strips_is_refused(gap, margin):
    with pytest.raises(TerrainError, match="no room for 3 strips"):
        Strips(COUNTS, gap, margin, 100.0).bounds(Terrain.of(jacksboro()))


def test_no_places_at_all_are_refused():
    with pytest.raises(ConfigError, match=r"survey\.places="):
        Strips({"train": 0}, 0.0, 0.0, 1.0).bounds(Terrain.of(jacksboro()))


def test_a_split_without_places_has_no_strip():
    assert set(Strips({"train": 3, "val": 0, "test": 1}, 100.0, 100.0, 1.0).bounds(Terrain.of(jacksboro()))) == {
        "train",
        "test",
    }
