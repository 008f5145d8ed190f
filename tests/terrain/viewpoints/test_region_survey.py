import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic_terrain import jacksboro, jacksboro_caster

from crosslocate.data.leaks import closest_pairs
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.viewpoints.listed import Listed, Track
from crosslocate.terrain.viewpoints.photographs import Photographs
from crosslocate.terrain.viewpoints.region import RegionSurvey
from crosslocate.terrain.viewpoints.schemes import Grid, NearDatabase, Nowhere, Scattered
from crosslocate.terrain.viewpoints.splits import Blocks, ListedSplits, OneSplit
from crosslocate.terrain.viewpoints.visibility import VisibleTerrain

SPLITS = Blocks(5000.0, 1000.0, {"train": 2, "val": 1, "test": 1})
SURVEY = RegionSurvey(
    database=Grid(900.0), queries=Scattered(60), margin=800.0, visible=VisibleTerrain(0.5, 500.0, 5000.0), splits=SPLITS
)


def take(survey, seed=0, workers=1):
    return survey.cameras(jacksboro_caster(), aspect=4 / 3, seed=seed, workers=workers)


@pytest.fixture(scope="module")
def surveyed():
    return take(SURVEY)


def test_all_cameras_can_be_rendered_and_look_as_they_should(surveyed):
    for table in (surveyed.database, surveyed.queries):
        table.check(jacksboro())
    database = surveyed.database
    np.testing.assert_allclose(np.degrees(database.yaw[:13]), [*np.arange(0, 360, 30), 0], atol=1e-9)
    assert not database.pitch.any()
    assert not database.roll.any()
    np.testing.assert_allclose(np.degrees(database.horizontal_fov), 60.0)
    np.testing.assert_array_equal(database.place, np.repeat(np.arange(len(database) // 12), 12))
    height = database.elevation - jacksboro().elevation_at(database.longitude, database.latitude)
    np.testing.assert_allclose(height, 2.0)
    first = str(database.name[0])
    assert (first[0], first[-5:], len(first)) == ("g", "_h000", 17)
    assert (surveyed.queries.place >= len(database) // 12).all()


def test_what_was_left_out_and_why_adds_up(surveyed):
    for told, table in ((surveyed.findings["database"], surveyed.database), (surveyed.findings["queries"], None)):
        out = {key: value for key, value in told["left_out"].items() if key != "without_elevation"}
        gone = sum(out.values()) + told["splits"]["in_gaps"] + told["splits"]["in_blocks_without_database"]
        assert told["chosen"] - gone == sum(told["places"].values())
        if table is not None:
            assert told["places"] == {s: int((table.split == s).sum()) // 12 for s in ("train", "val", "test")}
    json.dumps(surveyed.findings, allow_nan=False)
    assert surveyed.findings["database"]["left_out"]["sees_too_little"] > 0


def test_the_splits_are_apart_over_database_and_queries(surveyed):
    both = [np.concatenate([getattr(t, c) for t in (surveyed.database, surveyed.queries)]) for c in (
        "longitude", "latitude", "split")]  # fmt: skip
    pairs = closest_pairs(*both)
    assert pairs[0].distance >= SPLITS.gap
    said = surveyed.findings["closest_between_splits_m"]
    assert min(said.values()) == pytest.approx(pairs[0].distance, abs=0.001)


def test_every_query_is_as_near_to_a_view_as_is_said(surveyed):
    told, queries, database = surveyed.findings["queries"]["nearest_view"], surveyed.queries, surveyed.database
    nearest = [
        geodesic_distance(
            lon, lat, *(c[database.split == split] for c in (database.longitude, database.latitude))
        ).min()
        for lon, lat, split in zip(queries.longitude, queries.latitude, queries.split, strict=True)
    ]
    assert told["largest_m"] == pytest.approx(max(nearest), abs=0.1)
    assert told["median_m"] == pytest.approx(np.median(nearest), abs=0.1)
    few = take(replace(SURVEY, near=500.0)).findings["queries"]["nearest_view"]
    assert few["farther"] == np.sum(np.array(nearest) > 500.0) > 0
    assert set(few["for_example"]) <= {str(name).removesuffix("_q00") for name in queries.name}


def test_it_depends_on_the_seed_and_not_on_the_workers(surveyed):
    again, other = take(SURVEY, workers=3), take(SURVEY, seed=5)
    assert again.findings == surveyed.findings
    for one, two in ((surveyed.database, again.database), (surveyed.queries, again.queries)):
        for column, values in one.columns().items():
            np.testing.assert_array_equal(values, two.columns()[column])
    assert not np.isin(other.queries.longitude, surveyed.queries.longitude).any()


def test_queries_at_the_cameras_of_the_views_have_their_places():
    found = take(replace(SURVEY, queries=NearDatabase(30), photographs=Photographs(count=3)))
    queries, database = found.queries, found.database
    assert len(queries) == 3 * 30  # none at places that the gaps left out
    assert found.findings["database"]["splits"]["in_gaps"] > 30
    views = database.take(np.searchsorted(database.place, queries.place))
    np.testing.assert_array_equal(views.place, queries.place)
    for column in ("longitude", "latitude", "elevation", "split"):
        np.testing.assert_array_equal(getattr(views, column), getattr(queries, column))
    assert found.findings["queries"]["nearest_view"]["largest_m"] == 0.0
    assert len(set(queries.name.tolist())) == len(queries)


def write(path, text):
    path.write_text(text)
    return str(path)


LIST = (
    "name,lat,lon,altitude_m,height_m,heading,pitch,roll,fov,split\n"
    "peak,36.25,-84.25,5000,,350,-10,2,40,train\n"
    "low,36.26,-84.26,1,,20,,,,train\n"
    "open,36.35,-84.20,,30,,,,,test\n"
    "sea,10,10,,,,,,,test\n"
)


def test_a_list_gives_poses_or_only_positions(tmp_path):
    path = write(tmp_path / "poses.csv", LIST)
    survey = replace(SURVEY, region=None, margin=0.0, visible=None, splits=ListedSplits(5000.0), headings=4)
    found = take(replace(survey, database=Listed(path), queries=Listed(path)))
    assert found.database.name.tolist() == ["peak", "low", "open_h000", "open_h090", "open_h180", "open_h270"]
    assert found.queries.name.tolist() == ["peak", "low", "open_q00"]
    np.testing.assert_allclose(np.degrees([found.database.yaw[0], found.database.pitch[0]]), [350, -10])
    np.testing.assert_allclose(np.degrees(found.database.horizontal_fov), [40, 60, 60, 60, 60, 60])
    ground = jacksboro().elevation_at(found.database.longitude, found.database.latitude)
    np.testing.assert_allclose((found.database.elevation - ground)[[1, 2]], [2.0, 30.0])
    assert found.database.elevation[0] == 5000.0
    told = found.findings["queries"]
    assert (told["left_out"]["outside_region"], told["lifted"], told["for_example"]) == (1, 1, ["low"])
    assert told["most_lifted_m"] == pytest.approx(ground[1] + 1.0, abs=0.01)
    assert found.queries.place.tolist() == [0, 1, 2]
    around = take(replace(survey, database=Listed(path, poses=False), queries=Nowhere()))
    assert len(around.database) == 12
    assert around.queries is None
    with pytest.raises(TerrainError, match=r"viewpoint low at .*survey\.lift"):
        take(replace(survey, database=Listed(path), lift=False))


EXACT = RegionSurvey(database=Grid(), queries=Nowhere(), sea=None, visible=None, splits=OneSplit())
"""As conf/survey/list.yaml, see test_survey_options.py."""


def test_poses_of_a_list_are_never_left_out_for_what_they_see(tmp_path):
    rows = "".join(f"z{9 - k},{36.2 + 0.02 * k},-84.25,,{10 * k}\n" for k in range(8))
    path = write(tmp_path / "p.csv", "name,lat,lon,alt,heading\n" + rows + "free,36.3,-84.3,,\n")
    blind = replace(EXACT, database=Listed(path), visible=VisibleTerrain(1e6))
    found = take(blind)
    assert found.database.name.tolist() == [f"z{9 - k}" for k in range(8)]
    assert found.findings["database"]["left_out"]["sees_too_little"] == 1
    exact = take(replace(EXACT, database=Listed(path))).database
    assert exact.name.tolist()[:8] == found.database.name.tolist()
    np.testing.assert_allclose(np.degrees(exact.yaw[:8]), np.arange(8) * 10.0)
    assert len(exact) == 8 + 12
    assert set(exact.split.tolist()) == {"test"}


def test_rows_that_cannot_be_rendered_are_told_by_name_and_others_keep_their_numbers(tmp_path):
    path = write(tmp_path / "p.csv", "lat,lon,heading\n10,10,0\n36.3,-84.3,0\n20,20,0\n36.25,-84.2,0\n")
    found = take(replace(EXACT, database=Listed(path)))
    assert found.database.name.tolist() == ["c000001", "c000003"]
    told = found.findings["database"]["left_out"]
    assert (told["outside_region"], told["for_example"]) == (2, ["c000000", "c000002"])


def test_pitch_roll_and_field_of_view_count_without_a_heading(tmp_path):
    path = write(tmp_path / "p.csv", "lat,lon,pitch,roll,vfov\n36.3,-84.3,-7,3,40\n36.25,-84.2,,,\n")
    found = take(replace(EXACT, database=Listed(path), queries=Listed(path), headings=3))
    wide = np.degrees(2 * np.arctan(4 / 3 * np.tan(np.radians(20))))
    for column, given, otherwise in (("pitch", -7, 0), ("roll", 3, 0), ("horizontal_fov", wide, 60)):
        got = np.degrees(getattr(found.database, column))
        np.testing.assert_allclose(got, 3 * [given] + 3 * [otherwise])
        simulated = np.degrees(getattr(found.queries, column))
        assert simulated[0] == pytest.approx(given)
        assert simulated[1] != pytest.approx(otherwise)
    np.testing.assert_allclose(np.degrees(found.database.yaw), [0, 120, 240, 0, 120, 240])
    plain = take(replace(EXACT, database=Listed(path, poses=False), headings=3)).database
    assert not plain.pitch.any()


def test_cameras_above_water_stay_where_a_list_says_how_high_they_are(tmp_path):
    from affine import Affine

    from crosslocate.terrain.casting.raycast import RayCaster
    from crosslocate.terrain.elevation.dem import Dem

    posts = np.zeros((100, 100), np.float32)
    posts[:, 50:] = 300.0
    caster = RayCaster(Dem(posts, Affine(0.001, 0, 6, 0, -0.001, 46), "EPSG:4326"))
    path = write(tmp_path / "p.csv", "lat,lon,alt,height\n45.95,6.02,,\n45.95,6.02,50,\n45.95,6.03,,9\n45.95,6.07,,\n")
    survey = replace(EXACT, sea=0.0, database=Listed(path), headings=1)
    found = survey.cameras(caster, aspect=1.0, seed=0, workers=1)
    np.testing.assert_allclose(found.database.elevation, [50.0, 9.0, 302.0])
    told = found.findings["database"]["left_out"]
    assert (told["on_water"], told["without_elevation"], told["for_example"]) == (1, 0, ["c000000"])
    assert len(replace(survey, sea=None).cameras(caster, aspect=1.0, seed=0, workers=1).database) == 4


def test_a_database_is_required():
    with pytest.raises(ConfigError, match=r"survey\.database='none'.*grid, random, list or track.*needs a database"):
        RegionSurvey(database=Nowhere())


def test_splits_of_a_list_that_leak_are_refused(tmp_path):
    path = write(tmp_path / "p.csv", "lat,lon,split\n36.25,-84.25,train\n36.251,-84.25,test\n")
    survey = replace(SURVEY, database=Listed(path), queries=Nowhere(), visible=None)
    with pytest.raises(TerrainError, match=r"36\.251000\) of test is 11\d\.\d m from .* of train; .*gap=500"):
        take(replace(survey, splits=ListedSplits(500.0)))
    assert take(replace(survey, splits=ListedSplits(100.0))).findings["closest_between_splits_m"]


def test_a_track_is_thinned_and_stands_at_eye_height(tmp_path):
    points = "".join(f'<trkpt lat="{36.25 + k * 1e-4}" lon="-84.25"><ele>9</ele></trkpt>' for k in range(200))
    path = write(tmp_path / "tour.gpx", f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>")
    survey = replace(SURVEY, database=Track(path, 200.0), queries=Nowhere(), visible=None, splits=OneSplit())
    found = take(survey)
    assert found.findings["database"]["left_out"]["nearer_than_spacing"] == 200 - len(found.database) // 12 > 150
    ground = jacksboro().elevation_at(found.database.longitude, found.database.latitude)
    np.testing.assert_allclose(found.database.elevation, ground + 2.0)
    high = take(replace(survey, database=Track(path, 200.0, altitudes=True)))
    assert high.findings["database"]["lifted"] == len(high.database) // 12


def test_headings_may_be_any_number_from_any_first():
    found = take(replace(SURVEY, headings=7, first_heading=-10.0, queries=Nowhere(), splits=OneSplit()))
    np.testing.assert_allclose(np.degrees(found.database.yaw[:7]), (-10.0 + np.arange(7) * 360 / 7) % 360)
    assert len(set(found.database.name.tolist())) == len(found.database)


def test_a_survey_without_a_place_tells_why():
    with pytest.raises(TerrainError, match=r"no place of the database is left.*'sees_too_little': \d"):
        take(replace(SURVEY, visible=VisibleTerrain(1e6)))
    with pytest.raises(TerrainError, match=r"no place.*'without_elevation': \d"):
        take(replace(SURVEY, region=[0.0, 0.0, 0.1, 0.1]))


def test_a_split_that_the_gaps_leave_empty_is_an_error():
    narrow = Blocks(2000.0, 1000.0, {"train": 1.0, "test": 1e-6})
    survey = replace(SURVEY, database=Grid(1900.0), visible=None, splits=narrow, queries=Nowhere())
    with pytest.raises(TerrainError, match=r"the gaps leave no place of test: .*'in_gaps'"):
        take(survey)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"headings": 0}, "headings"), ({"field_of_view": 180.0}, "field_of_view"), ({"eye_height": 0.0}, "eye_height"),
        ({"margin": -1.0}, "margin"), ({"near": np.inf}, "near"), ({"first_heading": np.nan}, "first_heading"),
    ],
)  # fmt: skip
def test_impossible_values_are_refused(values, key):
    with pytest.raises(ConfigError, match=rf"survey\.{key}="):
        replace(SURVEY, **values)


def test_the_parameters_are_json_and_change_with_a_file(tmp_path):
    path = write(tmp_path / "poses.csv", LIST)
    survey = replace(SURVEY, queries=Listed(path))
    before = survey.parameters()
    assert json.loads(json.dumps(before)) == before
    assert before["kinds"] == {"database": "Grid", "queries": "Listed", "splits": "Blocks"}
    (tmp_path / "copy").mkdir()
    elsewhere = replace(SURVEY, queries=Listed(write(tmp_path / "copy" / "poses.csv", LIST)))
    assert elsewhere.parameters() == before
    write(tmp_path / "poses.csv", LIST.replace("350", "351"))
    assert survey.parameters() != before


@pytest.mark.slow
def test_a_million_places_take_minutes_and_less_than_three_gigabytes():
    import subprocess
    import sys

    code = """
import resource
import numpy as np
from affine import Affine
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.region import RegionSurvey
from crosslocate.terrain.viewpoints.schemes import Grid

x = np.linspace(0, 60, 1401)
posts = (1500 + 900 * np.sin(x)[None] * np.cos(1.3 * x)[:, None]).astype(np.float32)
terrain = Terrain.of(Dem(posts, Affine(4 / 1400, 0, 6, 0, -4 / 1400, 48), "EPSG:4326"))
survey = RegionSurvey(database=Grid(370.0), visible=None)
database = survey.cameras(RayCaster(terrain), aspect=1.0, seed=0, workers=2).database
database.check(terrain)
print(len(database), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=900)
    views, kilobytes = map(int, done.stdout.split())
    assert views > 9_000_000
    assert kilobytes < 3_000_000
