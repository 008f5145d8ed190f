"""dataset=alps_mini on a stand-in for its source: the embedded tile as a raster, and a list of poses."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hydra import compose, initialize_config_dir
from rasterio.transform import from_origin
from synthetic_terrain import jacksboro
from tiny_survey import tree

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.data.catalog import read_catalog
from crosslocate.data.completeness import require_images
from crosslocate.errors import ConfigError, DataError, TerrainError
from crosslocate.geo import geodesic_distance
from crosslocate.terrain.job.alps_mini import ELEVATION, POSES, VARIABLE
from crosslocate.terrain.job.manifest import read_manifest
from crosslocate.terrain.viewpoints import schemes

HEADER = ("latitude", "longitude", "altitude_m", "heading_deg", "pitch_deg", "roll_deg", "hfov_deg")
POSE_COUNT = 40
SMALL = [
    "dataset.prepare.images.width=16", "dataset.prepare.images.height=12", "dataset.prepare.spacing=3000",
    "dataset.prepare.storage.views=50", "dataset.prepare.workers=1",
]  # fmt: skip
AT_CAMERAS = [override for override in SMALL if "spacing" not in override]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A folder as dataset.prepare.source names one; the first five cameras are 30 m below the ground."""
    folder, dem = tmp_path_factory.mktemp("source"), jacksboro()
    (folder / ELEVATION).parent.mkdir()
    (folder / POSES).parent.mkdir()
    west, north = (float(v) for v in dem.position_of(-0.5, -0.5))
    transform = from_origin(west, north, dem.transform.a, -dem.transform.e)
    shape = {"height": dem.shape[0], "width": dem.shape[1], "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(folder / ELEVATION, "w", driver="GTiff", transform=transform, **shape) as file:
        file.write(dem.elevation, 1)
    rng, (west, south, east, north) = np.random.default_rng(0), dem.bounds
    longitude = rng.uniform(west + 0.02, east - 0.02, POSE_COUNT)
    latitude = rng.uniform(south + 0.02, north - 0.02, POSE_COUNT)
    above = np.where(np.arange(POSE_COUNT) < 5, -30.0, 40.0)
    altitude = dem.elevation_at(longitude, latitude) + above
    with (folder / POSES).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for k in range(POSE_COUNT):
            heading, pitch, roll, fov = rng.uniform(0, 360), rng.uniform(-10, 10), rng.uniform(-4, 4), 30 + k
            rows.writerow(
                [f"{latitude[k]:.6f}", f"{longitude[k]:.6f}", f"{altitude[k]:.2f}", heading, pitch, roll, fov]
            )
    return folder


def prepare(name: str, *overrides: str):
    """``dataset.prepare`` of a data set's configuration, built."""
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"dataset={name}", *overrides])
    return build(cfg.dataset.prepare)


@pytest.fixture(scope="module")
def made(source, tmp_path_factory) -> dict[str, Path]:
    """Both data sets, small."""
    roots = {}
    for name, small in (("alps_mini", SMALL), ("alps_mini_at_cameras", AT_CAMERAS)):
        roots[name] = tmp_path_factory.mktemp("made") / name
        prepare(name, f"dataset.prepare.source={source}", *small)(roots[name])
    return roots


def poses(source):
    with (source / POSES).open() as file:
        return np.array([[float(row[key]) for key in HEADER] for row in csv.DictReader(file)])


@pytest.mark.parametrize("name", ["alps_mini", "alps_mini_at_cameras"])
def test_queries_are_the_real_cameras_and_none_is_below_the_ground(name, made, source):
    queries, real = read_catalog(made[name] / "queries.parquet"), poses(source)
    rows = np.array([int(view.removeprefix("c")) for view in queries.names(range(len(queries)))])
    assert 10 < len(queries) <= POSE_COUNT
    np.testing.assert_allclose(queries.latitude, real[rows, 0], atol=1e-9)
    np.testing.assert_allclose(queries.longitude, real[rows, 1], atol=1e-9)
    np.testing.assert_allclose(queries.horizontal_fov, np.radians(real[rows, 6]))
    np.testing.assert_allclose(queries.pitch, np.radians(real[rows, 4]))
    np.testing.assert_allclose(queries.roll, np.radians(real[rows, 5]))
    above = queries.elevation - jacksboro().elevation_at(queries.longitude, queries.latitude)
    np.testing.assert_allclose(above, np.where(rows < 5, 2.0, 40.0), atol=0.05)
    assert read_manifest(made[name])["survey"]["queries"]["lifted"] == 5
    require_images([(queries, ["photo", "depth"])])


def test_splits_are_apart(made):
    for root in made.values():
        catalogs = [read_catalog(root / f"{role}.parquet") for role in ("database", "queries")]
        place = np.concatenate([np.stack([c.longitude, c.latitude], axis=1) for c in catalogs])
        split = np.concatenate([np.array(c.table["split"].to_pylist()) for c in catalogs])
        assert set(split) == {"train", "val", "test"}
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            a, b = place[split == one], place[split == other]
            assert geodesic_distance(*a[:, None].T, *b[None].T).min() >= 1000.0


def test_one_database_is_a_grid_and_the_other_stands_where_the_cameras_stood(made):
    grid = read_catalog(made["alps_mini"] / "database.parquet")
    require_images([(grid, ["depth", "silhouettes", "segments"])])
    places = np.unique(np.stack([grid.longitude, grid.latitude], axis=1), axis=0)
    assert len(grid) == 12 * len(places)
    apart = geodesic_distance(*places[:, None].T, *places[None].T)
    np.fill_diagonal(apart, np.inf)
    assert 2900.0 < apart.min() < 3100.0
    database, queries = (read_catalog(made["alps_mini_at_cameras"] / f"{r}.parquet") for r in ("database", "queries"))
    assert len(database) == 12 * len(queries)
    assert set(database.place) == set(queries.place)
    for column in ("longitude", "latitude", "elevation"):
        np.testing.assert_array_equal(database.column(column)[::12], queries.column(column))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("spacing=0.5", r"spacing=0\.5 .*metres"),
        ("size=1.0", r"size=1\.0 .*metres"),
        ("gap=-1.0", r"gap=-1\.0 .*metres"),
        ("shares.val=-1.0", r"shares\.val=-1\.0"),
    ],
)
def test_impossible_values_are_named_by_the_key_that_was_typed(given, says, source, tmp_path):
    with pytest.raises(ConfigError, match=rf"^dataset\.prepare\.{says}"):
        prepare("alps_mini", f"dataset.prepare.source={source}", f"dataset.prepare.{given}")(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_value_that_only_the_region_forbids_is_named_too(source, tmp_path, monkeypatch):
    monkeypatch.setattr(schemes, "MOST_POSITIONS", 10)
    with pytest.raises(ConfigError, match=r"^dataset\.prepare\.spacing=2000 .*at most 10 positions"):
        prepare("alps_mini", f"dataset.prepare.source={source}", "dataset.prepare.spacing=2000")(tmp_path / "set")


def test_a_complete_set_stays_as_it_is_wherever_its_source_went(made, source, tmp_path):
    before = tree(made["alps_mini"])
    moved = shutil.copytree(source, tmp_path / "moved")
    for where in (source, moved, "null"):
        prepare("alps_mini", f"dataset.prepare.source={where}", *SMALL)(made["alps_mini"])
    assert tree(made["alps_mini"]) == before


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("dataset.prepare.spacing=2500", "survey.database.spacing"),
        ("dataset.prepare.seed=4", "seed"),
        ("dataset.prepare.images.width=20", "images.width"),
        ("dataset.prepare.gap=1200", "survey.splits.gap"),
    ],
)
def test_another_set_in_the_same_folder_is_refused_by_what_differs(change, key, made):
    with pytest.raises(TerrainError, match=f"belongs to another rendering: its {key} is"):
        prepare("alps_mini", "dataset.prepare.source=null", *SMALL, change)(made["alps_mini"])


def test_other_poses_in_the_source_are_refused(made, source, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    lines = (other / POSES).read_text().splitlines()
    (other / POSES).write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(TerrainError, match="its poses is"):
        prepare("alps_mini", f"dataset.prepare.source={other}", *SMALL)(made["alps_mini"])


def test_a_missing_source_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DataError, match=rf"{VARIABLE}=<folder> in the environment, or dataset\.prepare\.source"):
        prepare("alps_mini")(tmp_path / "root")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=r"alps_montblanc_srtm3\.tif: no such file; dataset=alps_mini is made from"):
        prepare("alps_mini_at_cameras")(tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.slow
def test_the_real_source_gives_the_numbers_that_the_documentation_has():
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} does not name the folder of the raster and the poses")
    from crosslocate.terrain.elevation.tiles import open_terrain

    of = prepare("alps_mini")
    plan = of.plan(open_terrain(Path(of.source) / ELEVATION), Path(of.source) / POSES)
    found = plan.survey.cameras(plan.world.caster, aspect=plan.images.aspect, seed=of.seed, workers=1).findings
    text = (Path(__file__).parents[3] / "docs" / "alps.md").read_text()
    assert found["queries"]["lifted"] == 650
    for part, unit in (("database", "places"), ("queries", "photographs")):
        for count in found[part][unit].values():
            assert f"{count:,}" in text, json.dumps(found)
