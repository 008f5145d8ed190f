import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import jacksboro
from tiny_survey import SMALL, TINY, changed, storage_of, tiny_plan

from crosslocate.data.catalog import read_catalog
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.job import coverage
from crosslocate.terrain.job.coverage import (
    coverage_map,
    extent_of,
    left_out,
    overview,
    relief,
    size_of,
    viewpoints,
    wrapped,
)
from crosslocate.terrain.job.live import Live
from crosslocate.terrain.job.manifest import read_manifest
from crosslocate.terrain.job.pictures import MAP, SHEET, draw_pictures
from crosslocate.terrain.job.rendering import render_dataset
from crosslocate.terrain.job.sheet import contact_sheet, nearest_view
from crosslocate.terrain.viewpoints.region import RegionSurvey
from crosslocate.terrain.viewpoints.schemes import Grid
from crosslocate.terrain.viewpoints.splits import OneSplit
from crosslocate.terrain.viewpoints.visibility import VisibleTerrain


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered") / "tiny"
    render_dataset(root, tiny_plan(storage_of("shards:7")), workers=1)
    return root


def test_the_contact_sheet_pairs_queries_with_the_view_that_looks_their_way(sample, tmp_path):
    queries, database = read_catalog(sample / "queries.parquet"), read_catalog(sample / "database.parquet")
    for row in range(len(queries)):
        view = nearest_view(queries, database, row)
        assert database.place[view] == queries.place[row]
        turned = np.angle(np.exp(1j * (database.yaw[view] - queries.yaw[row])))
        assert abs(turned) <= np.pi / 3 + 1e-9
    contact_sheet(sample, tmp_path / "sheet.png", count=5)
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture.shape[1] == 1440
    assert picture.std() > 20
    contact_sheet(sample, tmp_path / "again.png", count=5)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()


def test_a_query_of_no_place_of_the_database_is_shown_beside_the_nearest_one(sample):
    queries, database = read_catalog(sample / "queries.parquet"), read_catalog(sample / "database.parquet")
    others = database.take(np.flatnonzero(database.place != queries.place[0]))
    view = nearest_view(queries, others, 0)
    apart = np.hypot(
        (others.longitude - queries.longitude[0]) * np.cos(np.radians(36.3)), others.latitude - queries.latitude[0]
    )
    assert apart[view] == pytest.approx(apart.min(), rel=1e-3)
    assert nearest_view(queries, database.take([]), 0) is None


def test_pictures_of_views_alone(tmp_path):
    survey = changed(places={"test": 2}, queries_per_place={})
    images = replace(SMALL, database_modalities=("silhouettes", "axial_depth"))
    plan = replace(tiny_plan(storage_of("files:7")), survey=survey, images=images)
    render_dataset(tmp_path / "views", plan, workers=1)
    contact_sheet(tmp_path / "views", tmp_path / "sheet.png", count=30)
    assert cv2.imread(str(tmp_path / "sheet.png")).std() > 20
    coverage_map(tmp_path / "views", plan.world.caster.terrain, tmp_path / "map.png")
    assert cv2.imread(str(tmp_path / "map.png")).std() > 10


def test_the_map_shows_each_place_in_the_colour_of_its_split(sample, tmp_path):
    coverage_map(sample, Terrain.of(jacksboro()), tmp_path / "map.png")
    picture = cv2.imread(str(tmp_path / "map.png"))[..., ::-1].astype(int)
    for colour in ((0x1F, 0x6F, 0xB4), (0xD9, 0x8B, 0x0C), (0xB5, 0x24, 0x3A)):
        assert (np.abs(picture - colour).max(axis=-1) < 12).sum() > 10
    coverage_map(sample, Terrain.of(jacksboro()), tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "map.png").read_bytes()


def test_every_place_is_a_viewpoint_once(sample):
    database = read_catalog(sample / "database.parquet")
    lon, _, split = viewpoints(database)
    assert len(lon) == sum(TINY.places.values())
    assert {name: int((split == name).sum()) for name in TINY.places} == dict(TINY.places)
    assert len(viewpoints(read_catalog(sample / "queries.parquet"))[0]) == 9


def test_the_extent_goes_the_short_way_around():
    lon, lat = np.array([179.5, -179.6]), np.array([10.0, 10.5])
    west, south, east, north = extent_of([(lon, lat)])
    assert west < 179.5 < 180.4 < east < 182.0
    assert south < 10.0 < 10.5 < north
    np.testing.assert_allclose(wrapped(lon, west), [179.5, 180.4])
    width, height = size_of((6.0, 45.0, 7.0, 46.0))
    assert width == pytest.approx(78_100, rel=0.01)
    assert height == pytest.approx(111_150, rel=0.01)


def test_rounding_does_not_send_the_extent_around_the_earth():
    for lon in np.random.default_rng(0).uniform(-120.0, -60.0, (200, 3)):
        west, _, east, _ = extent_of([(lon, np.zeros(3))])
        assert -181.0 < west < east < 0.0


def test_what_was_left_out_is_counted_by_reason():
    findings = {
        "database": {
            "left_out": {"on_water": 0, "sees_too_little": 1200, "for_example": ["a"]},
            "splits": {"blocks": {"train": 3}, "in_gaps": 1300, "in_blocks_without_database": 0},
        },
        "queries": {"left_out": {"outside_region": 1, "on_water": 1}},
    }
    assert left_out(findings) == [
        "places left out: 2,500 (in gaps 1,300, sees too little 1,200)",
        "positions of queries left out: 2 (on water 1, outside region 1)",
    ]
    assert left_out({"database": {"left_out": {"on_water": 0}, "splits": {}}}) == []
    assert left_out({"places": {"train": 4}, "told": "what was found"}) == []


def test_the_map_tells_what_was_left_out_and_numbers_meridians_up_to_180(tmp_path, monkeypatch):
    plan = tiny_plan(Live())
    survey = RegionSurvey(Grid(1500.0), margin=1500.0, visible=VisibleTerrain(1.0, 3000.0, 5000.0), splits=OneSplit())
    render_dataset(tmp_path / "set", replace(plan, survey=survey), workers=1)
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
    monkeypatch.setattr(coverage, "extent_of", lambda points: tuple(np.add(extent_of(points), (360.0, 0, 360.0, 0))))
    coverage_map(tmp_path / "set", plan.world.caster.terrain, tmp_path / "map.png")
    (ax,) = figures[0].axes
    figures[0].draw_without_rendering()
    found = read_manifest(tmp_path / "set")["survey"]["database"]["left_out"]
    assert found["sees_only_its_foot"] > 0
    title = ax.get_legend().get_title()
    assert f"sees only its foot {found['sees_only_its_foot']}" in title.get_text()
    assert title.get_window_extent().x1 <= figures[0].bbox.x1
    labels = [float(label.get_text().replace("\N{MINUS SIGN}", "-")) for label in ax.get_xticklabels()]
    assert len(labels) > 2
    np.testing.assert_allclose(labels, ax.get_xticks() - 360.0, atol=1e-6)


def test_many_reasons_stay_on_the_map(tmp_path, monkeypatch):
    plan = tiny_plan(Live())
    render_dataset(tmp_path / "set", plan, workers=1)
    reasons = {f"reason_number_{k}_of_several": 1_000_000 + k for k in range(9)}
    found = {"survey": {"database": {"left_out": reasons}, "queries": {"left_out": reasons}}}
    monkeypatch.setattr(coverage, "read_manifest", lambda root: found)
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
    coverage_map(tmp_path / "set", plan.world.caster.terrain, tmp_path / "map.png")
    figures[0].draw_without_rendering()
    title = figures[0].axes[0].get_legend().get_title()
    assert title.get_text().replace("\n", " ").count("reason number") == 18
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figures[0].bbox.x1


def test_an_overview_is_a_level_that_is_fine_enough_and_lies_where_the_layer_lies():
    rows, columns = np.mgrid[0:257, 0:257]
    dem = Dem((1000 + columns - 2.0 * rows).astype(np.float32), Affine(30, 0, 350_000, 0, -30, 5_100_000), "EPSG:32632")
    terrain = Terrain.of(dem)
    for metres, step in ((20, 1), (30, 1), (59, 1), (61, 2), (130, 4), (1e6, 32)):
        coarse = overview(terrain, 0, metres)
        assert coarse.shape == (256 // step + 1, 256 // step + 1)
        lon, lat = dem.position_of(np.array([64.0, 96.0, 160.0]), np.array([96.0, 96.0, 128.0]))
        np.testing.assert_allclose(coarse.elevation_at(lon, lat), dem.elevation_at(lon, lat), atol=0.5)
    west, south, east, north = dem.bounds
    shaded = relief(terrain, (west - 0.05, south, east, north))
    assert shaded.shape[2] == 4
    np.testing.assert_array_equal(shaded[10, 2], 1.0)
    assert shaded[:, -20:, :3].std() > 0.0


def test_what_cannot_be_drawn_is_left_out_and_said(tmp_path, capsys):
    survey = changed(places={"test": 1}, queries_per_place={})
    images = replace(SMALL, database_modalities=("coordinates",))
    plan = replace(tiny_plan(storage_of("files:7")), survey=survey, images=images)
    root = tmp_path / "views"
    render_dataset(root, plan, workers=1)
    draw_pictures(root, plan, sheet=4, coverage=True, fresh=True)
    assert not (root / SHEET).exists()
    assert (root / MAP).exists()
    assert "contact_sheet.png is not drawn" in capsys.readouterr().err


def test_pictures_appear_whole_and_are_drawn_again_only_for_a_new_set(sample, tmp_path, monkeypatch, capsys):
    plan = tiny_plan(storage_of("shards:7"))
    root = Path(shutil.copytree(sample, tmp_path / "set"))
    before = {path.name for path in root.iterdir()}
    draw_pictures(root, plan, sheet=4, coverage=True, fresh=True)
    assert {path.name for path in root.iterdir()} == before | {SHEET, MAP}
    (root / SHEET).write_bytes(b"old")
    (root / MAP).unlink()
    draw_pictures(root, plan, sheet=4, coverage=True, fresh=False)
    assert (root / SHEET).read_bytes() == b"old"
    assert (root / MAP).exists()
    draw_pictures(root, plan, sheet=4, coverage=False, fresh=True)
    assert (root / SHEET).read_bytes() != b"old"
    (root / SHEET).unlink()

    def refuse(*_, **__):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", refuse)
    draw_pictures(root, plan, sheet=4, coverage=False, fresh=False)
    assert "contact_sheet.png cannot be written: Read-only file system" in capsys.readouterr().err
    assert {path.name for path in root.iterdir()} == before | {MAP}


def test_the_scale_bar_hides_no_viewpoint(sample, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
    coverage_map(sample, Terrain.of(jacksboro()), tmp_path / "map.png")
    (ax,) = figures[0].axes
    ax.figure.draw_without_rendering()
    bar = next(line for line in ax.lines if line.get_color() == "black").get_window_extent()
    assert bar.y0 >= ax.get_window_extent().y1
    assert ax.get_window_extent().x0 <= bar.x0 < bar.x1 <= ax.get_window_extent().x1
