"""What lies beside the catalogs of a set without image files is verified, and mended by the command that made it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from live_pair import land_cover, world, write_live
from tiny_survey import changed, tiny_plan, tree

from crosslocate.data.catalog import read_catalog
from crosslocate.data.reader import ImageReader
from crosslocate.errors import ConfigError, DataError, TerrainError
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.prepared import load_terrain, save_terrain
from crosslocate.terrain.job.live import Live
from crosslocate.terrain.job.manifest import MANIFEST, RENDERER, read_manifest
from crosslocate.terrain.job.rendering import render_dataset

SURVEY = changed(places={"train": 2, "test": 1}, queries_per_place={"train": 1, "test": 1})
FILES = ["live.json", "terrain/header.json", "terrain/posts.f32", "terrain/tops.f32"]


def live_plan(**world):
    plan = tiny_plan(Live())
    return replace(plan, survey=SURVEY, world=replace(plan.world, **world))


@pytest.fixture
def root(tmp_path):
    render_dataset(tmp_path / "live", live_plan(), workers=1)
    return tmp_path / "live"


def read(root):
    return ImageReader(read_catalog(root / "database.parquet"), ["segments"], (12, 16)).read([0])["segments"]


@pytest.mark.parametrize("name", FILES)
def test_verifying_finds_damage_beside_the_catalogs_and_mends_it(root, name, capsys):
    whole, path = tree(root), root / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    render_dataset(root, live_plan(), workers=1, verify=True)
    assert f"{name} is missing or has other content than was written" in capsys.readouterr().err
    assert tree(root) == whole
    render_dataset(root, live_plan(), workers=1, verify=True)
    assert "every file is as its checksum says" in capsys.readouterr().err


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_beside_the_catalogs_is_written_again(root, name, capsys):
    whole = tree(root)
    (root / name).unlink()
    with pytest.raises(DataError):
        read(root)
    render_dataset(root, live_plan(), workers=1)
    assert tree(root) == whole
    assert "written anew" in capsys.readouterr().err


def test_a_set_of_another_revision_is_written_anew_by_the_advice_of_its_error(root):
    whole = tree(root)
    for name, entry in (("live.json", ()), (MANIFEST, ("rendering",))):
        content = json.loads((root / name).read_text())
        place = content
        for key in entry:
            place = place[key]
        place["renderer"] = RENDERER - 1
        (root / name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"start the command that made .* again"):
        read(root)
    render_dataset(root, live_plan(), workers=1)
    assert tree(root) == whole
    assert read(root).shape == (1, 12, 16, 3)


def test_a_set_that_is_whole_is_not_touched(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    render_dataset(root, live_plan(), workers=1)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert sorted(read_manifest(root)["files"]) == FILES


def test_a_damaged_terrain_that_a_set_would_be_made_of_is_told(tmp_path):
    caster = live_plan().world.caster
    place = save_terrain(caster.terrain, tmp_path / "prepared")
    path = place / "posts.f32"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    plan = live_plan(caster=RayCaster(load_terrain(place), max_distance=caster.max_distance))
    with pytest.raises(TerrainError, match=r"prepared is damaged: posts\.f32 has other content .* remove it"):
        render_dataset(tmp_path / "set", plan, workers=1, verify=True)
    assert not (tmp_path / "set").exists()


def test_another_caster_is_refused_before_anything_is_done():
    class Other(RayCaster):
        pass

    caster = live_plan().world.caster
    with pytest.raises(ConfigError, match=r"terrain\.caster='Other'.*RayCaster with container=live"):
        live_plan(caster=Other(caster.terrain))


def test_a_land_cover_map_inside_of_the_set_moves_with_it(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    write_live(folder, world(land_cover(folder / "cover.tif")))
    assert json.loads((folder / "live.json").read_text())["land_cover"]["paths"] == ["cover.tif"]
    before = read(folder)
    folder.rename(tmp_path / "there")
    np.testing.assert_array_equal(read(tmp_path / "there"), before)
    (tmp_path / "there/cover.tif").unlink()
    header = tmp_path / "there/live.json"
    header.write_text(header.read_text() + "\n")  # opened anew
    with pytest.raises(DataError, match=r"there/cover\.tif .* is not there; put it back"):
        read(tmp_path / "there")
