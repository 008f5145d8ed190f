import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from omegaconf import OmegaConf

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.render_schema import validate_render
from crosslocate.config.schema import register
from crosslocate.data.catalog import read_catalog
from crosslocate.data.images import decode
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.render import plan_of, render
from crosslocate.terrain.job.manifest import MANIFEST
from crosslocate.terrain.job.plan import describe
from crosslocate.terrain.job.sample import sample_plan
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.viewpoints.strips import StripSurvey

SMALL = [
    "survey.places={train:1,val:1,test:1}",
    "survey.queries_per_place={train:2,val:1,test:1}",
    "survey.headings=2",
    "images.width=24",
    "images.height=18",
]
REGION = [
    "survey=region", "survey.database.spacing=3000", "survey.splits.size=6000", "survey.splits.gap=1000",
    "survey.visible=null", "survey.headings=3", "viewpoints@survey.queries=near", "survey.queries.count=8",
    "images.width=24", "images.height=18", "container.views=10",
]  # fmt: skip


def composed(*overrides):
    from hydra import compose, initialize_config_dir

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("render", overrides=["paths.run=.", *overrides])


@pytest.fixture
def tile(tmp_path) -> Path:
    """Hills in posts of 100 m, 16 by 12 km, as a GeoTIFF in UTM 32N."""
    rows, columns = np.mgrid[0:120, 0:160]
    heights = 900 + 250 * np.sin(columns / 9.0) * np.cos(rows / 7.0) + 120 * np.sin(columns / 4.0 + rows / 5.0)
    (tmp_path / "tiles").mkdir()
    profile = {"driver": "GTiff", "height": 120, "width": 160, "count": 1, "dtype": "float32", "crs": "EPSG:32632"}
    with rasterio.open(
        tmp_path / "tiles/a.tif", "w", transform=rasterio.Affine(100, 0, 350_000, 0, -100, 5_100_000), **profile
    ) as raster:
        raster.write(heights.astype(np.float32), 1)
    return tmp_path / "tiles"


def test_the_sample_of_the_configuration_is_the_embedded_sample():
    cfg = composed("output=unused")
    assert build(cfg.survey) == StripSurvey()
    assert build(cfg.images) == Images()
    assert describe(plan_of(cfg)) == describe(sample_plan(StripSurvey(), Images()))


def test_a_configured_rendering_leaves_a_data_set_and_pictures(tmp_path):
    cfg = composed(*SMALL, f"output={tmp_path}/views", "workers=1", "sheet=3")
    validate_render(cfg)
    manifest = render(cfg)
    assert manifest is not None
    assert manifest["counts"] == {"database": 6, "queries": 4}
    for picture in ("contact_sheet.png", "coverage.png"):
        assert (tmp_path / "views" / picture).read_bytes().startswith(b"\x89PNG")
    assert render(cfg) == manifest


@pytest.mark.parametrize("storage", ["files", "shards"])
def test_tiles_become_a_data_set(storage, tile, tmp_path, capsys):
    given = [
        "terrain=tiles",
        f"terrain.elevation.paths=[{tile}]",
        f"paths.cache={tmp_path}/cache",
        f"output={tmp_path}/set",
    ]
    cfg = composed(*given, *REGION, f"container={storage}", "workers=2", "sheet=4")
    validate_render(cfg)
    manifest = render(cfg)
    said = capsys.readouterr().err
    assert "EPSG:32632" in said
    assert "To be made" in said
    assert manifest is not None
    assert manifest["counts"]["database"] % 3 == 0
    assert manifest["counts"]["database"] > 30
    assert manifest["terrain"]["layers"][0]["crs"] == "EPSG:32632"
    assert min(manifest["survey"]["closest_between_splits_m"].values()) > 1000.0
    database = read_catalog(tmp_path / "set/database.parquet")
    depth = decode(database.image_path("depth", len(database) - 1), "depth")
    assert depth.shape == (18, 24)
    assert {"contact_sheet.png", "coverage.png"} < {path.name for path in (tmp_path / "set").iterdir()}


def test_explaining_makes_nothing(tile, tmp_path, capsys):
    given = ["terrain=tiles", f"terrain.elevation.paths=[{tile}]", f"paths.cache={tmp_path}/cache"]
    cfg = composed(*given, *REGION, f"output={tmp_path}/set", "workers=1", "explain=true")
    validate_render(cfg)
    assert render(cfg) is None
    said = capsys.readouterr().err
    for word in ("EPSG:32632", "closest between splits", "silhouettes", "on 1 cores"):
        assert word in said
    assert not (tmp_path / "set").exists()


def test_shares_leave_the_data_set_to_the_last(tmp_path):
    given = [*SMALL, f"output={tmp_path}/views", "workers=1", "sheet=0", "coverage=false", "container.views=2"]
    assert render(composed(*given, "share=2/2")) is None
    manifest = render(composed(*given, "share=1/2"))
    assert manifest == json.loads((tmp_path / "views" / MANIFEST).read_text())


def test_tiles_need_paths(tmp_path):
    with pytest.raises(ConfigError, match=r"terrain\.elevation\.paths"):
        validate_render(composed("terrain=tiles", f"output={tmp_path}"))
    cfg = composed("terrain=tiles", f"terrain.elevation.paths=[{tmp_path}/none.tif]", f"output={tmp_path}/views")
    validate_render(cfg)
    with pytest.raises(TerrainError, match=r"none\.tif"):
        render(cfg)


@pytest.mark.parametrize(("key", "value"), [("workers", "0"), ("sheet", "-1"), ("seed", "-1"), ("share", "17/16")])
def test_impossible_numbers_are_refused(key, value, tmp_path):
    with pytest.raises(ConfigError, match=f"{key}='?{value}"):
        validate_render(composed(f"output={tmp_path}", f"{key}={value}"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("survey.places={train:-1}", r"survey\.places\.train=-1"),
        ("survey.places={dev:3}", "survey.places='dev'"),
        ("survey.headings=0", "survey.headings=0"),
        ("survey.field_of_view=180.0", "survey.field_of_view=180.0"),
        ("survey.terrain_share=[0.9,0.1]", "survey.terrain_share"),
        ("survey.gap=-1.0", r"survey\.gap=-1\.0"),
        ("survey.poses.pitch=[1.0,0.0,0.0,0.0,0.0]", "survey.poses.pitch"),
        ("images.width=0", "images.width=0"),
        ("images.depth_type=double", "images.depth_type='double'.*half, float"),
        ("container.views=0", "container.views=0"),
    ],
)
def test_impossible_values_are_refused_with_key_and_value(override, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        plan_of(composed(f"output={tmp_path}", f"++{override}"))


GROUPS = {
    "terrain": ["terrain.elevation.paths=[tiles]"],
    "survey": [],
    "container": [],
    "images": [],
    "viewpoints": ["survey=region"],
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_every_group_composes(group):
    options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert options
    for option in options:
        overrides = [override for override in GROUPS[group] if option != "sample"]
        choice = "viewpoints@survey.database" if group == "viewpoints" else group
        cfg = composed(*overrides, f"{choice}={option}", "output=unused")
        node = cfg.survey.database if group == "viewpoints" else cfg[group]
        if group == "terrain":
            assert node.elevation._target_.startswith("crosslocate.terrain.")
        else:
            for key in OmegaConf.missing_keys(node):  # of a list, a track
                assert key == "survey.database.path"
                OmegaConf.update(cfg, key, "list.csv")
            build(node)
