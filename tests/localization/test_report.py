import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crosslocate.data.catalog import read_catalog
from crosslocate.geo import geodesic_distance
from crosslocate.localization.answer import Answer, describe_places
from crosslocate.localization.photo import Photo, Pose
from crosslocate.localization.picture import as_rgb, draw_answer
from crosslocate.localization.places import RankedPlace
from crosslocate.localization.report import as_geojson, as_json, as_table, heading_text, metres_text, write_answer
from crosslocate.terrain.elevation.dem import embedded_dem


@pytest.fixture
def database(tiny_dataset):
    return read_catalog(tiny_dataset / "database.parquet")


@pytest.fixture
def answer(tiny_dataset, database):
    """Two places, the first of them right: place 1 (3 km from place 0), looking about north-east."""
    truth = Pose(float(database.longitude[13]), float(database.latitude[13]), 1501.0, math.radians(40.0))
    photo = Photo(
        "p0001_q00", {"photo": tiny_dataset / "queries/photo/p0001_q00.jpg"}, math.radians(50), "data set", truth
    )
    places = [RankedPlace((13, 14), 0.625, math.radians(44.0), 0.5), RankedPlace((0,), 0.25, math.radians(359.0), 0.7)]
    candidates = describe_places(places, database, truth)
    return Answer(photo, candidates, str(database.path), len(database), 30, "run/checkpoints/best.ckpt")


def unknown(answer, database):
    """The same answer for a photograph of nobody knows where."""
    places = [
        RankedPlace((c.row,), c.share, c.pose.heading, c.descriptor_distance) for c in answer.candidates
    ]  # fmt: skip
    return replace(answer, photo=replace(answer.photo, truth=None), candidates=describe_places(places, database, None))


def test_json_says_everything_in_degrees_and_metres(answer, database, tmp_path):
    plain, _ = write_answer(answer, tmp_path / "run")
    content = json.loads(plain.read_text())
    first, second = content["candidates"]
    assert first["view"] == "p0001_h030"
    assert first["support"] == ["p0001_h030", "p0001_h060"]
    assert (first["rank"], first["place"], first["share"], first["descriptor_distance"]) == (1, 1, 0.625, 0.5)
    assert first["heading_deg"] == pytest.approx(44.0)
    assert first["heading_error_deg"] == pytest.approx(4.0)
    assert (first["view_heading_deg"], first["view_horizontal_fov_deg"]) == (pytest.approx(30), pytest.approx(60))
    assert first["metres_from_truth"] == pytest.approx(0.0, abs=1e-6)
    assert first["elevation_m"] == 1501.0
    apart = geodesic_distance(
        database.longitude[13], database.latitude[13], database.longitude[0], database.latitude[0]
    )
    assert second["metres_from_best"] == pytest.approx(apart)
    assert second["metres_from_truth"] == pytest.approx(apart)
    assert second["heading_error_deg"] == pytest.approx(41.0)
    assert content["photo"]["truth"]["heading_deg"] == pytest.approx(40.0)
    assert content["database"] == {"catalog": str(database.path), "views": 96, "retrieved": 30}
    assert content["checkpoint"] == "run/checkpoints/best.ckpt"


def test_without_truth_nothing_is_said_about_it(answer, database):
    content = as_json(unknown(answer, database))
    assert content["photo"]["truth"] is None
    assert [c["metres_from_truth"] for c in content["candidates"]] == [None, None]
    assert [c["heading_error_deg"] for c in content["candidates"]] == [None, None]
    assert len(as_geojson(unknown(answer, database))["features"]) == 2


def test_geojson_has_points_in_longitude_latitude_order(answer):
    best, _, truth = as_geojson(answer)["features"]
    pose = answer.best.pose
    assert best["geometry"] == {"type": "Point", "coordinates": [pose.longitude, pose.latitude, 1501.0]}
    assert best["properties"]["rank"] == 1
    assert truth["properties"] == {"truth": True, "heading_deg": pytest.approx(40.0)}


@pytest.mark.parametrize("known", [True, False])
def test_the_table_fits_80_columns_whole(answer, database, known):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(as_table(answer if known else unknown(answer, database)))
    text = capture.get()
    assert "…" not in text
    assert "p0001_h030" in text
    assert "62%" in text
    assert ("to truth" in text) is known
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("degrees", "text"), [(0, "000° N"), (359.7, "000° N"), (44, "044° NE"), (101.2, "101° E"), (348.8, "349° N")]
)
def test_headings_are_read_with_a_compass_point(degrees, text):
    assert heading_text(math.radians(degrees)) == text


@pytest.mark.parametrize(
    ("metres", "text"), [(0.4, "0 m"), (999.4, "999 m"), (999.6, "1.0 km"), (9949, "9.9 km"), (9951, "10 km")]
)
def test_distances_are_read_in_metres_or_kilometres(metres, text):
    assert metres_text(metres) == text


@pytest.mark.parametrize(("modality", "known"), [("depth", True), ("silhouettes", False), ("segments", True)])
def test_the_picture_is_drawn_for_every_modality(answer, database, tmp_path, modality, known):
    from matplotlib.image import imread

    path = draw_answer(
        tmp_path / "new" / "answer.png", answer if known else unknown(answer, database), database, modality, None
    )  # fmt: skip
    assert path == tmp_path / "new" / "answer.png"
    pixels = imread(path)
    assert min(pixels.shape[:2]) > 800
    assert pixels[..., :3].std() > 0.1


def test_the_relief_changes_only_the_map(answer, database, tmp_path):
    from matplotlib.image import imread

    dem = embedded_dem()
    moved = replace(
        answer, candidates=tuple(at(c, -84.2, 36.3) for c in answer.candidates), photo=no_truth(answer.photo)
    )
    plain = imread(draw_answer(tmp_path / "a.png", moved, database, "depth", None))
    relief = imread(draw_answer(tmp_path / "b.png", moved, database, "depth", dem))
    rows, columns = np.nonzero((plain != relief).any(axis=2))
    assert len(rows) > 100_000
    assert columns.min() > plain.shape[1] / 2
    assert rows.max() < 0.75 * plain.shape[0]


def at(candidate, longitude, latitude):
    return replace(candidate, pose=replace(candidate.pose, longitude=longitude, latitude=latitude))


def no_truth(photo: Photo) -> Photo:
    return replace(photo, truth=None, files={name: Path(path) for name, path in photo.files.items()})


def test_depth_is_white_in_the_sky_and_gets_paler_with_distance():
    colours = as_rgb(np.array([[-1.0, 30.0, 1000.0, 20_000.0]], np.float32), "depth")
    assert (colours[0, 0] == 1.0).all()
    brightness = colours[0, 1:].sum(axis=1)
    assert (np.diff(brightness) > 0.3).all()


def test_silhouettes_become_dark_lines_on_white():
    assert as_rgb(np.array([[0, 255]], np.uint8), "silhouettes").tolist() == [[[255] * 3, [0] * 3]]
