import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_terrain import jacksboro_caster
from tiny_survey import IMAGES, SMALL, TINY, VIEWS, changed, storage_of, tiny_plan, tree

from crosslocate.data.catalog import read_catalog
from crosslocate.data.completeness import missing_images
from crosslocate.data.images import decode
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS
from crosslocate.terrain.imagery.photo_settings import PhotoSettings
from crosslocate.terrain.job import processes
from crosslocate.terrain.job import rendering as job
from crosslocate.terrain.job.manifest import MANIFEST, read_manifest
from crosslocate.terrain.job.opening import WORK, check_light
from crosslocate.terrain.job.plan import RenderPlan
from crosslocate.terrain.job.sample import ensure_sample
from crosslocate.terrain.job.scene import PRODUCTS, World
from crosslocate.terrain.job.specification import MODALITIES, Images
from crosslocate.terrain.viewpoints.cameras import CameraTable
from crosslocate.terrain.viewpoints.survey import Surveyed


@dataclass(frozen=True)
class Given:
    """A survey that was made already."""

    table: CameraTable

    def parameters(self):
        return {"views": len(self.table)}

    def cameras(self, caster, *, aspect, seed, workers):
        return Surveyed(self.table, None, {"told": "what was found"})


def cameras(count: int = 6) -> CameraTable:
    still = np.zeros(count)
    return CameraTable(
        name=np.array([f"view{i:03d}" for i in range(count)]),
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


def plan(table: CameraTable, storage: str = "files:2", modalities: tuple[str, ...] = ("depth",)) -> RenderPlan:
    images = Images(24, 16, database_modalities=modalities)
    return RenderPlan(World(jacksboro_caster()), Given(table), images, storage_of(storage))


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return ensure_sample(tmp_path_factory.mktemp("rendered") / "tiny", TINY, SMALL, workers=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("shards") / "tiny"
    job.render_dataset(root, tiny_plan(storage_of("shards:5")), workers=1)
    return root


def test_the_data_set_is_what_the_catalogs_say(sample):
    for role, rows in VIEWS.items():
        catalog = read_catalog(sample / f"{role}.parquet")
        assert len(catalog) == rows
        assert catalog.role == role
        assert list(missing_images(catalog, catalog.images)) == []
    assert len(tree(sample)) == IMAGES + 5  # two catalogs, two records, the manifest
    assert read_manifest(sample)["counts"] == VIEWS
    assert not (sample / WORK).exists()


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


def test_shards_hold_the_same_images(sample, shards):
    for role in VIEWS:
        plain, packed = (read_catalog(root / f"{role}.parquet") for root in (sample, shards))
        assert packed.fingerprint() == plain.fingerprint()
        assert list(missing_images(packed, packed.images)) == []
        for modality in plain.images:
            for row in range(len(plain)):
                there = packed.image_path(modality, row)
                assert f"{role}/{modality}/{row // 5:05d}.tar/" in str(there)
                image = decode(plain.image_path(modality, row), modality)
                np.testing.assert_array_equal(decode(there, modality), image)


def test_a_complete_data_set_is_not_touched(sample):
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    ensure_sample(sample, TINY, SMALL)
    job.render_dataset(sample, tiny_plan(storage_of("files:120")))
    job.render_dataset(sample, tiny_plan(storage_of("files:120")), verify=True)
    assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before


def test_a_data_set_without_queries_is_one_too(tmp_path):
    survey = changed(places={"train": 1}, queries_per_place={})
    root = ensure_sample(tmp_path / "views", survey, SMALL, workers=1)
    assert read_manifest(root)["counts"] == {"database": 3}
    assert not (root / "queries.parquet").exists()


def test_processes_do_not_change_a_byte(tmp_path, shards):
    job.render_dataset(tmp_path / "again", tiny_plan(storage_of("shards:5")), workers=3)
    assert tree(tmp_path / "again") == tree(shards)


def test_shares_together_make_the_data_set_and_the_last_one_completes_it(tmp_path, shards):
    root, whole = tmp_path / "shared", tiny_plan(storage_of("shards:5"))
    for part in (3, 1):
        assert job.render_dataset(root, whole, share=f"{part}/3", workers=1) is None
        assert not (root / MANIFEST).exists()
    manifest = job.render_dataset(root, whole, share="2/3", workers=1)
    assert manifest == read_manifest(root)
    assert tree(root) == tree(shards)
    assert job.render_dataset(root, whole, share="1/3") == manifest
    with pytest.raises(ConfigError, match=r"share='4/3'"):
        job.render_dataset(root, whole, share="4/3")


def render_at_once(root: Path, count: int) -> None:
    """Render TINY by several processes that know nothing of each other."""
    given = {"target": job.render_dataset, "args": (root, tiny_plan(storage_of("shards:5"))), "kwargs": {"workers": 1}}
    together = [multiprocessing.get_context("fork").Process(**given) for _ in range(count)]
    for process in together:
        process.start()
    for process in together:
        process.join(60)
    assert [process.exitcode for process in together] == [0] * count


def test_processes_at_once_share_the_work(tmp_path, shards):
    root = tmp_path / "shared"
    render_at_once(root, 3)
    assert tree(root) == tree(shards)


def test_two_of_the_same_share_without_a_lock_between_them_do_no_harm(tmp_path, shards, monkeypatch):
    """As on two machines whose disk they share, but no locks: both render every chunk."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    root = tmp_path / "shared"
    render_at_once(root, 3)
    assert tree(root) == tree(shards)


def test_a_second_start_renders_only_what_is_missing_or_damaged(tmp_path, monkeypatch, capsys):
    root, table = tmp_path / "half", cameras(10)
    stop_after(7, monkeypatch)
    with pytest.raises(TerrainError, match="disk is full"):
        job.render_dataset(root, plan(table), workers=1)
    monkeypatch.undo()
    assert sorted(path.name for path in (root / "checksums/database").iterdir()) == [f"0000{k}.json" for k in range(3)]
    assert [path.name for path in (root / WORK / "drafts").iterdir()] == []
    (root / "database/depth/view002.exr").write_bytes(b"spoiled")
    done = note_views(monkeypatch)
    job.render_dataset(root, plan(table), workers=1)
    assert done == [f"view00{k}" for k in (2, 3, 6, 7, 8, 9)]
    job.render_dataset(tmp_path / "whole", plan(table), workers=1)
    assert tree(root) == tree(tmp_path / "whole")
    assert "view002.exr has 7 bytes, not" in capsys.readouterr().err


def test_verifying_finds_content_that_changed_and_mends_it(tmp_path, monkeypatch, capsys):
    root = tmp_path / "set"
    job.render_dataset(root, plan(cameras()), workers=1)
    whole = tree(root)
    path = root / "database/depth/view003.exr"
    path.write_bytes(path.read_bytes()[::-1])
    (root / "database.parquet").write_bytes(b"PAR1")
    job.render_dataset(root, plan(cameras()), workers=1)
    assert tree(root) != whole
    done = note_views(monkeypatch)
    job.render_dataset(root, plan(cameras()), workers=1, verify=True)
    assert tree(root) == whole
    assert done == ["view002", "view003"]
    said = capsys.readouterr().err
    assert "view003.exr has other content than was written" in said
    assert "database.parquet is missing or has other content" in said


def test_records_that_are_not_those_of_the_manifest_are_not_believed(tmp_path, monkeypatch):
    root = tmp_path / "set"
    job.render_dataset(root, plan(cameras()), workers=1)
    whole = tree(root)
    path, record = root / "database/depth/view003.exr", root / "checksums/database/00001.json"
    path.write_bytes(b"")
    told = json.loads(record.read_text())
    told["files"]["database/depth/view003.exr"] = [0, hashlib.sha256(b"").hexdigest()]
    record.write_text(json.dumps(told))
    job.render_dataset(root, plan(cameras()), workers=1, verify=True)
    assert tree(root) == whole


def note_views(monkeypatch) -> list[str]:
    """Names of the views that this process renders from now on."""
    done, scenes = [], processes.scenes

    def note(world, cameras, names):
        for scene in scenes(world, cameras, names):
            done.append(scene.name)
            yield scene

    monkeypatch.setattr(processes, "scenes", note)
    return done


def stop_after(count, monkeypatch):
    """Make the disk full after ``count`` files."""
    whole, calls = Path.write_bytes, iter(range(1 << 30))

    def write(self, data):
        if next(calls) >= count:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return whole(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_keeps_what_is_finished(workers, tmp_path, monkeypatch):
    stop_after(4, monkeypatch)
    with pytest.raises(TerrainError, match=r"cannot write .*: the disk is full\. Every .* make room"):
        job.render_dataset(tmp_path / "full", plan(cameras(20)), workers=workers)
    monkeypatch.undo()
    assert len(list((tmp_path / "full/checksums/database").iterdir())) >= 2
    assert not (tmp_path / "full" / MANIFEST).exists()
    job.render_dataset(tmp_path / "full", plan(cameras(20)), workers=workers)
    assert read_manifest(tmp_path / "full")["counts"] == {"database": 20}


def test_a_bad_camera_is_named_before_anything_is_written(tmp_path):
    table = cameras()
    elevation = table.elevation.copy()
    elevation[3] = 10.0
    with pytest.raises(TerrainError, match=r"database cameras, row 3 \(view003\): .* not above the terrain"):
        job.render_dataset(tmp_path / "bad", plan(replace(table, elevation=elevation)), workers=1)
    assert not (tmp_path / "bad").exists()


def test_modalities_are_those_that_can_be_rendered_each_once():
    with pytest.raises(ConfigError, match=r"images\.database_modalities='smell'.*photo, depth"):
        Images(database_modalities=("depth", "smell"))
    with pytest.raises(ConfigError, match=r"images\.query_modalities='smell'.*photo, depth"):
        Images(query_modalities=("smell",))
    with pytest.raises(ConfigError, match=r"images\.query_modalities=.*every modality once"):
        Images(query_modalities=("photo", "photo"))
    with pytest.raises(ConfigError, match=r"images\.database_modalities=\[\] .*at least one of photo"):
        Images(database_modalities=())
    assert tuple(PRODUCTS) == MODALITIES


def test_another_survey_is_refused_in_a_complete_folder(sample):
    with pytest.raises(TerrainError, match=r"images\.width is 32, now asked for is 40"):
        ensure_sample(sample, TINY, replace(SMALL, width=40))
    with pytest.raises(TerrainError, match=r"survey\.headings is 3, now asked for is 4"):
        ensure_sample(sample, changed(headings=4), SMALL)


def test_another_survey_is_refused_in_a_half_finished_folder(tmp_path):
    whole = tiny_plan(storage_of("files:5"))
    job.render_dataset(tmp_path / "half", whole, share="1/2", workers=1)
    other = replace(whole, world=replace(whole.world, seed=1))
    with pytest.raises(TerrainError, match=r"job\.json belongs to another .* its seed is 0, now asked for is 1"):
        job.render_dataset(tmp_path / "half", other, workers=1)
    with pytest.raises(TerrainError, match=r"storage\.views is 5, now asked for is 6"):
        job.render_dataset(tmp_path / "half", tiny_plan(storage_of("files:6")), workers=1)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_names_the_view_and_ends_the_job_and_finished_chunks_stay(workers, tmp_path, monkeypatch):
    scenes = processes.scenes

    def failing(world, cameras, names):
        for scene in scenes(world, cameras, names):
            if scene.name == "view031":
                raise TerrainError("no such view")
            yield scene

    monkeypatch.setattr(processes, "scenes", failing)
    root = tmp_path / "bad"
    with pytest.raises(TerrainError, match=r"database row 31 \(view031\): no such view"):
        job.render_dataset(root, plan(cameras(200)), workers=workers)
    done = {int(path.stem) for path in (root / "checksums/database").iterdir()}
    assert len(done & set(range(15))) >= 15 - workers  # others may be at one each when they are ended
    assert 15 not in done
    monkeypatch.undo()
    job.render_dataset(root, plan(cameras(200)), workers=workers)
    assert read_manifest(root)["counts"] == {"database": 200}


def test_a_process_that_is_killed_is_told(tmp_path, monkeypatch):
    here, write = os.getpid(), processes.render_chunk

    def die(job_, chunk):
        if chunk.number == 2 and os.getpid() != here:
            os.kill(os.getpid(), 9)
        write(job_, chunk)

    monkeypatch.setattr(processes, "render_chunk", die)
    with pytest.raises(TerrainError, match=r"status -9 .*start the same command again"):
        job.render_dataset(tmp_path / "set", plan(cameras()), workers=2)
    monkeypatch.undo()
    job.render_dataset(tmp_path / "set", plan(cameras()), workers=2)
    assert read_manifest(tmp_path / "set")["counts"] == {"database": 6}


def test_a_second_process_waits_while_the_first_chooses_cameras(tmp_path):
    root = tmp_path / "shared"
    with job.lock_path(root).open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threading.Thread(
            target=job.render_dataset, args=(root, plan(cameras(2))), kwargs={"workers": 1}, daemon=True
        )
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not root.exists()
    second.join(20)
    assert read_manifest(root)["counts"] == {"database": 2}


def test_cameras_are_chosen_once(tmp_path):
    told = []
    whole = plan(cameras())
    for part in ("1/2", "2/2"):
        job.render_dataset(tmp_path / "set", whole, share=part, workers=1, tell=told.append)
    assert len(told) == 1
    assert read_manifest(tmp_path / "set")["survey"] == {"told": "what was found"}


def test_queries_without_any_image_are_refused(tmp_path):
    whole = replace(tiny_plan(storage_of("files:5")), images=replace(SMALL, query_modalities=()))
    with pytest.raises(ConfigError, match=r"images\.query_modalities=\[\]"):
        job.render_dataset(tmp_path / "bad", whole, workers=1)
    assert not (tmp_path / "bad").exists()


def photographs(table, **settings) -> RenderPlan:
    whole = plan(table, modalities=("photo",))
    return replace(whole, world=replace(whole.world, photo=PhotoSettings(**settings)))


def test_a_photograph_by_night_is_named_before_anything_is_written(tmp_path):
    table = cameras()
    longitude = np.full(len(table), -84.1)
    longitude[4] = -84.4  # the sun comes up in the east first
    table = replace(table, longitude=longitude)
    settings = PhotoSettings(date="2024-06-21", time="06:00", utc_offset=0.0)
    message = r"database cameras, row 0 \(view000\), place 0: .*date=2024-06-21 time=06:00"
    with pytest.raises(TerrainError, match=message):
        job.render_dataset(tmp_path / "bad", photographs(table, date="2024-06-21", time="06:00", utc_offset=0.0))
    assert not (tmp_path / "bad").exists()
    minute = next(  # the sun is up at five of the six cameras
        m for m in range(24 * 60) if [up(settings, place, m) for place in longitude] == [True] * 4 + [False, True]
    )
    clock = {"time": f"{minute // 60:02d}:{minute % 60:02d}", "utc_offset": 0.0}
    for date in ("2024-06-21", ["2024-06-21", "2024-06-22"]):  # two days with almost the same sun
        with pytest.raises(TerrainError, match=r"row 4 \(view004\), place 4"):
            check_light(table, photographs(table, date=date, **clock).world, SMALL)
        check_light(table.take(np.array([0, 1, 2, 3, 5])), photographs(table, date=date, **clock).world, SMALL)


def up(settings, longitude, minute) -> bool:
    try:
        replace(settings, time=f"{minute // 60:02d}:{minute % 60:02d}").draw_moment(
            np.random.default_rng(0), longitude, 36.3
        )
    except TerrainError:
        return False
    return True


def test_a_full_disk_that_names_no_file_names_the_folder_of_the_role(tmp_path, monkeypatch):
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(TerrainError, match=r"cannot write \S*full/database: the disk is full"):
        job.render_dataset(tmp_path / "full", plan(cameras()), workers=1)


def test_what_cannot_be_read_is_no_matter_of_writing(tmp_path, monkeypatch):
    def gone(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/away/cover.tif")

    monkeypatch.setattr(jacksboro_caster().__class__, "cast", gone)
    with pytest.raises(TerrainError, match=r"^database row 0 \(view000\): .*cover\.tif") as caught:
        job.render_dataset(tmp_path / "set", plan(cameras()), workers=1)
    assert "cannot write" not in str(caught.value)
    monkeypatch.setattr(Given, "cameras", gone)
    with pytest.raises(TerrainError, match=r"cameras cannot be chosen: .*cover\.tif"):
        job.render_dataset(tmp_path / "other", plan(cameras()), workers=1)


def test_a_complete_set_where_no_lock_can_be_made_is_taken_as_it_is(sample, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EROFS, "Read-only file system", str(sample))

    monkeypatch.setattr(job, "locked", refuse)
    whole = tiny_plan(storage_of("files:120"))
    assert job.render_dataset(sample, whole, workers=1) == read_manifest(sample)
    with pytest.raises(TerrainError, match="seed is 0, now asked for is 1"):
        job.render_dataset(sample, replace(whole, world=replace(whole.world, seed=1)), workers=1)
    with pytest.raises(TerrainError, match="Read-only file system"):
        job.render_dataset(sample, whole, workers=1, verify=True)
