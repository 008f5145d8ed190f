"""Several images of a view are made of rays that are cast once, in memory that does not grow."""

import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
from live_pair import HEIGHT, WIDTH, tables, world, write_live

from crosslocate.data.catalog import read_catalog
from crosslocate.data.reader import ImageReader
from crosslocate.data.storage import read_bytes
from crosslocate.errors import TerrainError
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.job.recent_hits import RecentHits

VIEW = 4 * WIDTH * HEIGHT
"""Bytes of the ray lengths of a view."""


@pytest.fixture
def casts(monkeypatch):
    """The cameras that are cast from now on."""
    cast, found = RayCaster.cast, []

    def counted(caster, camera):
        found.append(camera)
        return cast(caster, camera)

    monkeypatch.setattr(RayCaster, "cast", counted)
    return found


@pytest.fixture(scope="module")
def caster():
    return world().caster


@pytest.fixture(scope="module")
def cameras():
    table = tables()["database"]
    return [table.camera(row, WIDTH, HEIGHT) for row in range(8)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_live(tmp_path_factory.mktemp("live"), world())


def test_a_batch_in_several_modalities_casts_every_view_once(root, casts):
    reader = ImageReader(read_catalog(root / "database.parquet"), ["depth", "silhouettes", "segments"], (12, 16))
    reader.read(np.arange(8))
    assert len(casts) == len(set(casts)) == 8
    reader.read([3, 9, 3])
    assert len(casts) == 9


def test_single_images_of_a_view_cast_it_once(root, casts):
    queries = read_catalog(root / "queries.parquet")
    for modality in ("photo", "depth", "photo"):
        read_bytes(queries.image_path(modality, 5))
    assert len(casts) == 1


@pytest.mark.parametrize(("views", "size", "kept"), [(3, 1 << 30, 3), (100, 5 * VIEW, 5), (100, 10, 1)])
def test_the_last_views_are_remembered_and_no_more(caster, cameras, casts, views, size, kept):
    recent = RecentHits(caster, views, size)
    whole = [RayCaster.cast(caster, camera).distance for camera in cameras]
    casts.clear()
    for camera, distance in zip(cameras, whole, strict=True):
        np.testing.assert_array_equal(recent.cast(camera).distance, distance)
        assert len(recent._kept) <= kept
        assert sum(values.nbytes for values in recent._kept.values()) == recent._taken <= max(size, VIEW)
    assert len(casts) == len(cameras)
    for camera, distance in zip(cameras[-kept:], whole[-kept:], strict=True):
        hits = recent.cast(camera)
        assert hits.camera == camera
        np.testing.assert_array_equal(hits.distance, distance)
    assert len(casts) == len(cameras)
    recent.cast(cameras[-kept - 1])
    assert len(casts) == len(cameras) + 1


def test_a_view_that_is_asked_for_again_stays(caster, cameras, casts):
    recent = RecentHits(caster, views=2)
    for k in (0, 1, 0, 2, 0):
        recent.cast(cameras[k])
    assert casts == [cameras[0], cameras[1], cameras[2]]


def test_a_camera_that_cannot_be_cast_is_an_error_every_time(caster, cameras):
    recent = RecentHits(caster)
    for _ in range(2):
        with pytest.raises(TerrainError, match="not above the terrain"):
            recent.cast(replace(cameras[0], elevation=10.0))


def test_another_process_gets_the_same_rays(caster, cameras):
    recent = RecentHits(caster, views=5)
    expected = recent.cast(cameras[0]).distance
    other = pickle.loads(pickle.dumps(recent))
    assert (len(other._kept), other.views, other.size) == (0, 5, recent.size)
    np.testing.assert_array_equal(other.cast(cameras[0]).distance, expected)


def test_threads_at_once_see_what_one_sees(caster, cameras):
    recent, wrong = RecentHits(caster, views=3), []
    whole = {camera: caster.cast(camera).distance for camera in cameras}

    def ask(first):
        for k in range(40):
            camera = cameras[(first * (k + 1)) % len(cameras)]
            if not np.array_equal(recent.cast(camera).distance, whole[camera]):
                wrong.append(camera)

    threads = [threading.Thread(target=ask, args=(first,)) for first in (1, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(recent._kept) == 3
    assert recent._taken == 3 * VIEW
