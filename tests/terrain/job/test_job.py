import errno
import fcntl
import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_survey
from synthetic_terrain import jacksboro, jacksboro_caster
from tiny_survey import IMAGES, TINY, changed, tree

from crosslocate.data.catalog import read_catalog
from crosslocate.data.completeness import missing_images
from crosslocate.data.images import decode
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS
from crosslocate.terrain.job import rendering as job
from crosslocate.terrain.job.manifest import MANIFEST, read_manifest
from crosslocate.terrain.job.sample import ensure_sample
from crosslocate.terrain.job.scene import World
from crosslocate.terrain.job.sheet import contact_sheet, nearest_view
from crosslocate.terrain.job.survey import render_survey
from crosslocate.terrain.viewpoints.cameras import CameraTable


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return ensure_sample(tmp_path_factory.mktemp("rendered") / "tiny", TINY, workers=1)


@pytest.fixture(scope="module")
def complete(sample) -> dict[str, bytes]:
    return tree(sample)


def world() -> World:
    return World(jacksboro_caster(), depth_type="half")


def cameras(count: int = 6) -> CameraTable:
    still = np.zeros(count)
    return CameraTable(
        name=np.array([f"view{i}" for i in range(count)]),
        place=np.arange(count, dtype=np.int32),
        split=np.array(["train"] * count),
        longitude=np.full(count, -84.2),
        latitude=np.full(count, 36.3),
        elevation=np.full(count, 1200.0),
        yaw=np.linspace(0, 5, count),
        pitch=still,
        roll=still,
        horizontal_fov=np.full(count, 1.0),
    )


def plan(table: CameraTable, modalities: tuple[str, ...] = ("depth",)) -> job.RenderPlan:
    return job.RenderPlan((job.ImageSet("database", table, modalities),), 24, 16, {})


def test_the_data_set_is_what_the_catalogs_say(sample, complete):
    for role, rows in (("database", 6 * 3), ("queries", 3 * 2 + 1 + 2)):
        catalog = read_catalog(sample / f"{role}.parquet")
        assert len(catalog) == rows
        assert catalog.role == role
        assert list(missing_images(catalog, catalog.images)) == []
    assert len(complete) == IMAGES + 3
    assert read_manifest(sample)["counts"] == {"database": 18, "queries": 9}


def test_images_hold_what_the_camera_sees(sample):
    database = read_catalog(sample / "database.parquet")
    queries = read_catalog(sample / "queries.parquet")
    depth = decode(database.image_path("depth", 4), "depth")
    segments = decode(database.image_path("segments", 4), "segments")
    silhouettes = decode(database.image_path("silhouettes", 4), "silhouettes")
    assert depth.shape == silhouettes.shape == (24, 32)
    np.testing.assert_array_equal((segments == SEGMENT_COLOURS[0]).all(axis=-1), depth < 0)
    assert set(np.unique(silhouettes)) <= {0, 255}
    photo = decode(queries.image_path("photo", 0), "photo")
    seen = decode(queries.image_path("depth", 0), "depth") >= 0
    assert photo.shape == (24, 32, 3)
    assert 0.0 < seen.mean() < 1.0
    assert np.abs(photo[seen].mean(axis=0) - photo[~seen].mean(axis=0)).max() > 5


def test_a_complete_data_set_is_not_touched(sample, complete):
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    ensure_sample(sample, TINY)
    render_survey(sample, jacksboro(), TINY)
    assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before


def test_a_data_set_without_queries_is_one_too(tmp_path):
    root = ensure_sample(tmp_path / "views", changed(places={"train": 1}, queries_per_place={}), workers=1)
    assert read_manifest(root)["counts"] == {"database": 3, "queries": 0}
    assert len(read_catalog(root / "queries.parquet")) == 0


def test_threads_do_not_change_a_byte(tmp_path, complete):
    assert tree(ensure_sample(tmp_path / "again", TINY, workers=3)) == complete


# Image writes are counted from 1 in the order of the views (one thread); the manifest is the last write.
@pytest.mark.slow
@pytest.mark.parametrize("deaths", [(1, 20), (IMAGES,)])
def test_killed_often_and_started_again_gives_the_same_bytes(deaths, tmp_path, complete):
    kill_and_resume(deaths, tmp_path / "killed", complete, workers=2)


def test_killed_and_started_again_gives_the_same_bytes(tmp_path, complete):
    kill_and_resume((IMAGES // 2, IMAGES + 1 - 3 * (IMAGES // 6 - 1)), tmp_path / "killed", complete, workers=1)


def kill_and_resume(deaths, root, complete, workers):
    script = Path(tiny_survey.__file__)
    for death in deaths:
        command = [sys.executable, str(script), str(root), str(death), str(workers)]
        ended = subprocess.run(command, capture_output=True, timeout=120)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        assert not (root / MANIFEST).exists()
        assert list((root / ".render").glob("*.part"))
    ensure_sample(root, TINY, workers=workers)
    assert tree(root) == complete


def test_a_second_start_renders_only_what_is_missing_or_damaged(tmp_path, complete, monkeypatch):
    root = tmp_path / "half"
    stop_after(20, monkeypatch)
    with pytest.raises(TerrainError, match="disk is full"):
        ensure_sample(root, TINY, workers=1)
    monkeypatch.undo()
    journal = [json.loads(line) for line in (root / ".render/journal.jsonl").read_text().splitlines()[1:]]
    assert len(journal) == 6  # of three files each; the seventh was not finished
    (root / "database/depth/p0000_h120.exr").write_bytes(b"spoiled")
    (root / "database/segments/p0001_h000.png").unlink()
    written = []

    def note(path, data, scratch):
        written.append(path.name)
        return whole(path, data, scratch)

    whole = job.write_whole
    monkeypatch.setattr(job, "write_whole", note)
    ensure_sample(root, TINY, workers=1)
    assert len(written) == IMAGES + 1 - 3 * (6 - 2)
    assert tree(root) == complete


def stop_after(count, monkeypatch):
    """Make the disk full after ``count`` files."""
    whole, calls = Path.write_bytes, iter(range(1 << 30))

    def write(self, data):
        if next(calls) >= count:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)


def test_a_full_disk_names_the_view_and_keeps_the_rest(tmp_path, monkeypatch):
    stop_after(4, monkeypatch)
    with pytest.raises(TerrainError, match=r"database row 4 \(view4\): cannot write .*view4.exr: the disk is full"):
        job.render_dataset(tmp_path / "full", world(), plan(cameras()), workers=1)
    assert len(list((tmp_path / "full/database/depth").glob("*.exr"))) == 4
    assert not (tmp_path / "full" / MANIFEST).exists()


def test_a_disk_full_while_the_catalog_is_written_is_said_too(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job, "write_catalog", fail)
    with pytest.raises(TerrainError, match=r"cannot write .*full: the disk is full"):
        job.render_dataset(tmp_path / "full", world(), plan(cameras()), workers=1)


def test_a_bad_camera_is_named_before_anything_is_written(tmp_path):
    table = cameras()
    elevation = table.elevation.copy()
    elevation[3] = 10.0
    with pytest.raises(TerrainError, match=r"database cameras, row 3 \(view3\): .* not above the terrain"):
        job.render_dataset(tmp_path / "bad", world(), plan(replace(table, elevation=elevation)), workers=1)
    assert not (tmp_path / "bad").exists()


def test_an_unknown_modality_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"database_modalities='thermal'.*photo, depth"):
        job.render_dataset(tmp_path / "bad", world(), plan(cameras(), ("depth", "thermal")), workers=1)


def test_an_unknown_depth_type_is_refused():
    with pytest.raises(ConfigError, match=r"depth_type='double' .*half, float"):
        World(jacksboro_caster(), depth_type="double")


def test_another_specification_is_refused_in_a_complete_folder(sample):
    with pytest.raises(TerrainError, match=r"parameters\.width is 32, now asked for is 40"):
        ensure_sample(sample, changed(width=40))


def test_another_specification_is_refused_in_a_half_finished_folder(tmp_path, monkeypatch):
    stop_after(5, monkeypatch)
    with pytest.raises(TerrainError):
        ensure_sample(tmp_path / "half", TINY, workers=1)
    monkeypatch.undo()
    with pytest.raises(TerrainError, match=r"parameters\.seed is 0, now asked for is 1"):
        ensure_sample(tmp_path / "half", changed(seed=1), workers=1)


def test_the_first_error_ends_the_job_and_later_views_are_not_started(tmp_path, monkeypatch):
    started = []
    scene = job.Scene

    def note(world_, camera, name):
        started.append(name)
        if name == "view2":
            raise TerrainError("no such view")
        return scene(world_, camera, name)

    monkeypatch.setattr(job, "Scene", note)
    with pytest.raises(TerrainError, match="no such view"):
        job.render_dataset(tmp_path / "bad", world(), plan(cameras(60)), workers=2)
    assert len(started) < 25


def test_a_second_process_waits_for_the_first(tmp_path):
    root = tmp_path / "shared"
    with (tmp_path / ".shared.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threading.Thread(target=job.render_dataset, args=(root, world(), plan(cameras(2))), daemon=True)
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not root.exists()
    second.join(20)
    assert read_manifest(root)["counts"] == {"database": 2}


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
    assert nearest_view(queries, database.split("val"), 0) is None
