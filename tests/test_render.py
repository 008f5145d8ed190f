import pytest

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.render_schema import validate_render
from crosslocate.config.schema import register
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.render import render
from crosslocate.terrain.job.specification import Specification

SMALL = [
    "terrain.specification.places={train:1,val:1,test:1}",
    "terrain.specification.queries_per_place={train:2,val:1,test:1}",
    "terrain.specification.headings=2",
    "terrain.specification.width=24",
    "terrain.specification.height=18",
]


def composed(*overrides):
    from hydra import compose, initialize_config_dir

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("render", overrides=["paths.run=.", *overrides])


def test_the_sample_of_the_configuration_is_the_embedded_sample():
    assert build(composed("output=unused").terrain.specification) == Specification()


def test_a_configured_rendering_leaves_a_data_set_and_a_contact_sheet(tmp_path):
    cfg = composed(*SMALL, f"output={tmp_path}/views", "workers=1", "sheet=3")
    validate_render(cfg)
    manifest = render(cfg)
    assert manifest["counts"] == {"database": 6, "queries": 4}
    assert (tmp_path / "views/contact_sheet.png").read_bytes().startswith(b"\x89PNG")
    assert render(cfg) == manifest


def test_a_terrain_of_ones_own_needs_a_path(tmp_path):
    with pytest.raises(ConfigError, match=r"terrain\.elevation\.paths"):
        validate_render(composed("terrain=tiles", f"output={tmp_path}"))
    cfg = composed("terrain=tiles", f"terrain.elevation.paths={tmp_path}/none.tif", f"output={tmp_path}/views")
    validate_render(cfg)
    with pytest.raises(TerrainError, match=r"none\.tif does not exist"):
        render(cfg)


@pytest.mark.parametrize(("key", "value"), [("workers", 0), ("sheet", -1)])
def test_impossible_numbers_are_refused(key, value, tmp_path):
    with pytest.raises(ConfigError, match=f"{key}={value}"):
        validate_render(composed(f"output={tmp_path}", f"{key}={value}"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("places={train:-1}", r"terrain\.places\.train=-1"),
        ("places={dev:3}", "terrain.places='dev'"),
        ("headings=0", "terrain.headings=0"),
        ("field_of_view=180.0", "terrain.field_of_view=180.0"),
        ("terrain_share=[0.9,0.1]", "terrain.terrain_share"),
        ("max_distance=100000.0", r"max_distance=100000\.0 .*65000 m with depth_type=half"),
        ("gap=-1.0", r"terrain\.gap=-1\.0"),
        ("poses.pitch=[1.0,0.0,0.0,0.0,0.0]", "poses.pitch"),
    ],
)
def test_impossible_specifications_are_refused_with_key_and_value(override, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        build(composed(f"output={tmp_path}", f"++terrain.specification.{override}").terrain.specification)
