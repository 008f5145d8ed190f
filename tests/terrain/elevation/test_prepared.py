"""Prepared terrains: found again, made once, whole or not there."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from elevation_files import hills, write_tiff
from synthetic_terrain import jacksboro

from crosslocate.errors import TerrainError, UnwritableError
from crosslocate.terrain.elevation import prepared, tiles
from crosslocate.terrain.elevation.describe import describe_terrain
from crosslocate.terrain.elevation.prepared import HEADER, POSTS, TOPS, load_terrain, save_terrain
from crosslocate.terrain.elevation.summary import TerrainSummary
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.elevation.tiles import open_terrain


@pytest.fixture
def folder(tmp_path):
    """Tiles of two lattices, one with voids."""
    posts = hills((60, 80))
    posts[20:24, 30:40] = -9999
    write_tiff(tmp_path / "tiles/a.tif", posts[:, :50], (7, 46), 0.001)
    write_tiff(tmp_path / "tiles/b.tif", posts[:, 50:], (7.05, 46), 0.001)
    write_tiff(tmp_path / "tiles/c.tif", hills((30, 30), 1), (7, 46), 0.005)
    return tmp_path / "tiles"


def not_again(*_):
    raise AssertionError("prepared again")


def prepared_in(cache):
    return [path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(".")]


def test_a_prepared_terrain_is_the_one_in_memory(folder, tmp_path):
    plain, mapped = open_terrain(folder, [7.01, 45.97, 7.06, 45.99], 2000.0), None
    for _ in range(2):
        mapped = open_terrain(folder, [7.01, 45.97, 7.06, 45.99], 2000.0, cache=tmp_path / "cache")
        np.testing.assert_array_equal(mapped.posts, plain.posts)
        np.testing.assert_array_equal(mapped.tops, plain.tops)
        assert [(d.transform, d.crs, d.shape) for d in mapped.layers] == [
            (d.transform, d.crs, d.shape) for d in plain.layers
        ]
        assert mapped.fingerprint() == plain.fingerprint()
        assert mapped.highest == plain.highest == np.nanmax(plain.posts)
        assert replace(mapped, tops=mapped.tops[:0]).highest == plain.highest  # it is in the header
        assert mapped.summary.to_json() == plain.summary.to_json()
    assert mapped.summary.folder == str(mapped.folder)


def test_fingerprints_in_a_header_are_those_of_the_posts(folder, tmp_path):
    mapped = open_terrain(folder, cache=tmp_path / "cache")
    anew = Terrain.mapped([(d.transform, d.crs) for d in mapped.layers], mapped.posts, mapped.tops, mapped.sheets)
    assert anew.summary is None
    assert anew.fingerprint() == mapped.fingerprint()
    assert anew.highest == mapped.highest
    told, found = describe_terrain(mapped), describe_terrain(anew)
    for one, other in zip(told.layers, found.layers, strict=True):
        assert (one.lowest, one.highest, one.left) == (other.lowest, other.highest, other.left)
        assert (one.bounds, one.spacing, one.fingerprint) == (other.bounds, other.spacing, other.fingerprint)


def test_what_is_there_is_found_and_what_changed_is_prepared(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = open_terrain(folder, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(tiles, "describe_tiles", not_again)
        assert open_terrain(folder, cache=cache).fingerprint() == first.fingerprint()
        assert open_terrain(sorted(folder.iterdir()), cache=cache).fingerprint() == first.fingerprint()
        for prepared_one in (first.folder, [str(first.folder)]):  # a prepared terrain in place of tiles
            assert open_terrain(prepared_one).fingerprint() == first.fingerprint()
        for change in ({"fill_voids": 0.0}, {"units": "feet"}, {"missing": "sea"}, {"region": [7, 45.95, 7.01, 46]}):
            with pytest.raises(AssertionError, match="prepared again"):
                open_terrain(folder, cache=cache, **change)
        (folder / "a.tif.aux.xml").write_text("<PAMDataset/>")  # a file beside a tile may change what is read
        with pytest.raises(AssertionError, match="prepared again"):
            open_terrain(folder, cache=cache)
    write_tiff(folder / "a.tif", hills((60, 50), 5), (7, 46), 0.001)
    assert open_terrain(folder, cache=cache).fingerprint() != first.fingerprint()


@pytest.mark.parametrize("damage", ["posts", "tops", "header", "checksum", "gone", "format"])
def test_a_damaged_one_is_said_and_prepared_again(folder, tmp_path, damage, capfd):
    cache = tmp_path / "cache"
    terrain = open_terrain(folder, cache=cache)
    place, expected = terrain.folder, terrain.posts.copy()
    header = place / HEADER
    if damage in ("posts", "tops"):
        path = place / (POSTS if damage == "posts" else TOPS)
        os.truncate(path, path.stat().st_size - 8)
    elif damage == "header":
        header.write_text(header.read_text()[:-50])
    elif damage == "checksum":
        header.write_text(header.read_text().replace('"rows": 60', '"rows": 61'))
    elif damage == "gone":
        header.unlink()
    else:
        content = json.loads(header.read_text())["content"] | {"format": 99}
        header.write_text(json.dumps({"content": content, "sha256": prepared._digest(content)}))
    with pytest.raises(TerrainError, match="prepared terrain"):
        load_terrain(place)
    again = open_terrain(folder, cache=cache)
    assert again.folder == place
    np.testing.assert_array_equal(again.posts, expected)
    assert "it is prepared again" in capfd.readouterr().err


def test_terrains_are_saved_and_loaded_and_never_mixed_up(folder, tmp_path):
    in_memory = Terrain.of(jacksboro())
    save_terrain(in_memory, tmp_path / "one")
    loaded = load_terrain(tmp_path / "one")
    np.testing.assert_array_equal(loaded.posts, in_memory.posts)
    assert loaded.fingerprint() == jacksboro().fingerprint()
    save_terrain(loaded, tmp_path / "two")  # of a mapped one
    np.testing.assert_array_equal(load_terrain(tmp_path / "two").tops, in_memory.tops)
    save_terrain(in_memory, tmp_path / "two")
    with pytest.raises(UnwritableError, match="not the prepared form of this terrain"):
        save_terrain(open_terrain(folder), tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "tiles", "two"]


def test_a_mapped_terrain_is_pickled_by_its_place_and_cannot_be_written_through(folder, tmp_path):
    terrain = open_terrain(folder, cache=tmp_path / "cache")
    content = pickle.dumps(terrain)
    assert len(content) < 1000
    assert pickle.loads(content).fingerprint() == terrain.fingerprint()
    plain = pickle.loads(pickle.dumps(open_terrain(folder)))
    np.testing.assert_array_equal(plain.posts, terrain.posts)
    before = (terrain.folder / POSTS).read_bytes()
    terrain.posts[:] = 7  # private to this process
    assert (terrain.folder / POSTS).read_bytes() == before
    assert load_terrain(terrain.folder).posts[0] != 7


def test_a_disk_that_is_too_small_is_said_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UnwritableError, match=r"takes 0\.\d MiB.*left; give a smaller terrain\.elevation\.region"):
        open_terrain(folder, cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


PREPARE = """
import sys, time
from crosslocate.terrain.elevation import assembly, tiles
copy = assembly._copy
def slowly(*arguments):
    print("copying", flush=True)
    time.sleep(float(sys.argv[3]))
    copy(*arguments)
assembly._copy = slowly
print(tiles.open_terrain(sys.argv[1], cache=sys.argv[2]).fingerprint(), flush=True)
"""


def preparing(folder, cache, seconds):
    command = [sys.executable, "-c", PREPARE, str(folder), str(cache), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_of_two_processes_prepares_and_the_other_waits(folder, tmp_path):
    processes = [preparing(folder, tmp_path / "cache", 0.3) for _ in range(2)]
    lines = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(len(line) for line in lines) == [1, 4]  # one copied three tiles
    assert lines[0][-1] == lines[1][-1] == open_terrain(folder).fingerprint()
    assert len(prepared_in(tmp_path / "cache")) == 1


def test_a_killed_preparation_leaves_nothing_that_is_taken_for_a_terrain(folder, tmp_path):
    cache = tmp_path / "cache"
    process = preparing(folder, cache, 30)
    assert process.stdout.readline() == "copying\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert prepared_in(cache) == []
    assert [path for path in cache.iterdir() if path.name.endswith(".tmp")]
    terrain = open_terrain(folder, cache=cache)
    assert terrain.fingerprint() == open_terrain(folder).fingerprint()
    assert prepared_in(cache) == [terrain.folder]
    assert not [path for path in cache.iterdir() if path.name.endswith(".tmp")]


def test_a_summary_goes_through_json_and_is_told(folder, capfd):
    summary = open_terrain(folder, [6.9, 45.9, 7.05, 46.05], 5000.0).summary
    assert TerrainSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary
    summary.print()
    told = capfd.readouterr().err
    for part in ("EPSG:4326", "7.0000 to", "80 x 60", "5 km", "of the region has no elevation", "halo of"):
        assert part in told, part
    describe_terrain(Terrain.of(jacksboro())).print()
    assert "403 x 344" in capfd.readouterr().err


@pytest.mark.parametrize("name", [POSTS, TOPS])
def test_verifying_reads_all_of_a_terrain_and_no_copy_hides_the_damage(tmp_path, name):
    save_terrain(Terrain.of(jacksboro()), tmp_path / "one")
    load_terrain(tmp_path / "one", verify=True)
    path = tmp_path / "one" / name
    content = bytearray(path.read_bytes())
    content[4321] ^= 1
    path.write_bytes(content)
    loaded = load_terrain(tmp_path / "one")  # its size is right
    with pytest.raises(TerrainError, match=f"{name} has other content than was written; remove it"):
        load_terrain(tmp_path / "one", verify=True)
    with pytest.raises(TerrainError, match=f"{name} has other content than was written"):
        save_terrain(loaded, tmp_path / "two")
    assert not (tmp_path / "two").exists()
