"""Every option of conf/terrain gives a terrain and a caster."""

import pytest
from elevation_files import hills, write_tiff
from hydra import compose, initialize_config_dir

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.config.schema import register
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.terrain import as_terrain

OPTIONS = sorted(path.stem for path in (conf_dir() / "terrain").glob("*.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_gives_a_terrain_and_a_caster(option, tmp_path):
    write_tiff(tmp_path / "tiles/a.tif", hills((40, 50)), (7, 46), 0.001)
    more = [f"terrain.elevation.paths=[{tmp_path}/tiles]"] if option == "tiles" else []
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("render", [f"terrain={option}", "paths.run=.", f"paths.cache={tmp_path}/cache", *more])
    assert cfg.terrain.land_cover is None
    caster = build(cfg.terrain.caster)(build(cfg.terrain.elevation))
    assert isinstance(caster, RayCaster)
    assert caster.max_distance == {"sample": 60_000, "tiles": 100_000}[option]
    assert (caster.surface, caster.detail) == ("bilinear", {"sample": None, "tiles": 1.0}[option])
    shape = {"sample": (344, 403), "tiles": (40, 50)}[option]
    assert as_terrain(caster.terrain).layers[0].shape == shape
    assert (tmp_path / "cache/terrain").is_dir() == (option == "tiles")


def test_options_are_known():
    assert OPTIONS == ["sample", "tiles"]
