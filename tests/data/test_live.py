"""Images that are rendered when they are read: the arrays that files would give, and no file."""

import json
import multiprocessing
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from live_pair import HEIGHT, MODALITIES, WIDTH, land_cover, world, write_files, write_live

from crosslocate.data.catalog import read_catalog
from crosslocate.data.completeness import require_images
from crosslocate.data.images import MODALITIES as READABLE
from crosslocate.data.images import READINGS, decode
from crosslocate.data.live import HEADER, is_live, live_path, live_print, live_template
from crosslocate.data.reader import ImageReader, aspect_of_views
from crosslocate.data.staging import stage, staged
from crosslocate.data.storage import read_bytes
from crosslocate.errors import DataError

ROLES = ("database", "queries")
READABLE_HERE = [name for name in MODALITIES if name in READABLE]
ALL = [*READABLE_HERE, *(name for name, reading in READINGS.items() if reading.files in READABLE_HERE)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return write_files(folder / "files", world()), write_live(folder / "live", world())


@pytest.fixture
def live(pair, tmp_path):
    return shutil.copytree(pair[1], tmp_path / "live")


def catalog(root, role="database"):
    return read_catalog(root / f"{role}.parquet")


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_live_set_has_no_image_files(pair):
    left = {path.relative_to(pair[1]).parts[0] for path in pair[1].rglob("*") if path.is_file()}
    assert left == {"database.parquet", "queries.parquet", "live.json", "terrain"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (12, 16), (17, 13)])
def test_every_reading_of_every_modality_equals_that_of_files(pair, role, size):
    files, live = (ImageReader(catalog(root, role), ALL, size) for root in pair)
    rows = np.arange(len(files.catalog))
    assert_same(live.read(rows), files.read(rows))


def test_fields_of_view_are_matched_in_the_same_way(pair):
    files, live = (ImageReader(catalog(r, "queries"), ALL, (20, 20), match_fov=0.7, match_aspect=0.75) for r in pair)
    assert_same(live.read([3, 0, 3]), files.read([3, 0, 3]))


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_path_stands_for_the_bytes_of_the_file(pair, modality):
    files, live = catalog(pair[0], "queries"), catalog(pair[1], "queries")
    for row in (0, 5):
        assert read_bytes(live.image_path(modality, row)) == files.image_path(modality, row).read_bytes()


def test_single_images_decode_the_same(pair):
    files, live = (ImageReader(catalog(root), ["depth", "segments"], (12, 16)) for root in pair)
    for name in ("depth", "segments"):
        np.testing.assert_array_equal(live.decode(name, 4), files.decode(name, 4))
        path = live.catalog.image_path(name, 4)
        np.testing.assert_array_equal(decode(path, name), decode(files.catalog.image_path(name, 4), name))
    assert aspect_of_views(live.catalog, "depth") == HEIGHT / WIDTH


def test_a_land_cover_map_goes_with_the_set_and_must_stay_the_same(tmp_path):
    cover = land_cover(tmp_path / "cover.tif")
    files, live = (make(tmp_path / make.__name__, world(cover)) for make in (write_files, write_live))
    rows = np.arange(8)
    both = [ImageReader(catalog(root), ["segments"], (HEIGHT, WIDTH)).read(rows) for root in (files, live)]
    assert_same(*both)
    assert (both[0]["segments"] == [200, 10, 10]).all(axis=-1).any()
    land_cover(tmp_path / "cover.tif", value=3)
    header = live / HEADER
    header.write_text(header.read_text() + "\n")  # read anew
    with pytest.raises(DataError, match=r"cover\.tif are not those it was written for"):
        require_images([(catalog(live), ["segments"])])
    (tmp_path / "cover.tif").unlink()
    with pytest.raises(DataError, match=r"land cover .*cover\.tif"):
        require_images([(catalog(live), ["segments"])])


def test_splits_and_selections_see_their_own_rows(pair):
    files, live = (ImageReader(catalog(root).split("val").take([3, 1]), ["depth"], (12, 16)) for root in pair)
    assert_same(live.read([0, 1]), files.read([0, 1]))


def test_cached_images_are_the_same_and_cold_again_when_the_description_changes(live, tmp_path, monkeypatch):
    reader = ImageReader(catalog(live), ["depth"], (12, 16), cache=tmp_path / "cache")
    plain = ImageReader(catalog(live), ["depth"], (12, 16)).read([2, 7])
    assert_same(reader.read([2, 7]), plain)
    with monkeypatch.context() as patch:  # warm: nothing is rendered
        patch.setattr("crosslocate.data.reader.live_images", lambda *_: iter(()))
        assert_same(reader.read([7, 2, 7]), {"depth": plain["depth"][[1, 0, 1]]})
        assert_same(ImageReader(reader.catalog, ["depth"], (12, 16), cache=tmp_path / "cache").read([2, 7]), plain)
    before = live_print(live)
    write_live(live, world(refraction=0.9, max_distance=3000.0))
    assert live_print(live) != before
    other = ImageReader(catalog(live), ["depth"], (12, 16), cache=tmp_path / "cache").read([2, 7])
    assert not np.array_equal(other["depth"], plain["depth"])
    assert other["depth"].max() <= 3100.0


def read_in_a_child(reader, rows, connection):
    connection.send(reader.read(rows))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_render_the_same_from_a_small_pickle(pair, method):
    reader = ImageReader(catalog(pair[1]), ["depth", "segments"], (12, 16))
    before = reader.read([1, 9])
    pickled = len(pickle.dumps(reader)) - len(pickle.dumps(reader.catalog))
    assert pickled < 10_000
    context = multiprocessing.get_context(method)
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=read_in_a_child, args=(reader, [1, 9], there))
    child.start()
    assert here.poll(120)
    assert_same(here.recv(), before)
    child.join()


def test_nothing_is_missing_and_nothing_is_staged(pair, tmp_path):
    database = catalog(pair[1])
    require_images([(database, MODALITIES)])
    stage([(database, MODALITIES)], tmp_path / "staging")
    assert [path.name for path in (tmp_path / "staging").rglob("*")] == [".lock"]
    assert_same(
        ImageReader(staged(database, tmp_path / "staging"), ["depth"], (12, 16)).read([1]),
        ImageReader(database, ["depth"], (12, 16)).read([1]),
    )


def test_a_set_that_lacks_its_header_or_terrain_is_found_before_anything_is_read(live):
    database = catalog(live)
    terrain = live / "terrain"
    terrain.rename(live / "away")
    with pytest.raises(DataError, match="terrain"):
        require_images([(database, ["depth"])])
    (live / "away").rename(terrain)
    (live / HEADER).unlink()
    with pytest.raises(DataError, match=r"live\.json: No such file.*rendered when they are read"):
        require_images([(database, ["depth"])])


def test_a_modality_that_cannot_be_rendered_is_named(live):
    database = catalog(live)
    wrong = replace(database, images={"depth": live_template("database", "aura")})
    with pytest.raises(DataError, match=r"live\.json: modality='aura' is not allowed; allowed: one of photo"):
        require_images([(wrong, ["depth"])])


def test_a_camera_that_cannot_be_rendered_is_named_by_its_row(live):
    database = catalog(live)
    columns = {name: database.table[name].to_pylist() for name in database.table.column_names if name != "file_row"}
    columns["elevation"][6] = 10.0
    from crosslocate.data.catalog import write_catalog

    write_catalog(live / "database.parquet", columns, "database", database.images)
    reader = ImageReader(catalog(live), ["depth"], (12, 16))
    with pytest.raises(DataError, match=r"not above the terrain.*database\.parquet row 6 \(v1_2\)"):
        reader.read([5, 6])
    with pytest.raises(DataError, match="not above the terrain"):
        read_bytes(reader.catalog.image_path("depth", 6))


def test_a_view_that_no_catalog_has_is_named(live):
    with pytest.raises(DataError, match=r"live:database/depth/nobody: .*database\.parquet has no view of this name"):
        read_bytes(live / "live:database/depth/nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "image is 0 x 24"),
        ({"width": "32"}, "damaged.*width is '32'"),
        ({"seed": True}, "damaged.*seed is True"),
        ({"depth_type": "double"}, "damaged.*depth_type='double'"),
        ({"caster": {"refraction": 0.1}}, "damaged.*caster has refraction"),
        ({"caster": {"refraction": "0.1", "max_distance": 1e4, "surface": "bilinear", "detail": None}}, "damaged"),
        (
            {"caster": {"refraction": 0.1, "max_distance": 1e4, "surface": "cubic", "detail": None}},
            "surface is 'cubic'",
        ),
        ({"photo": {"aura": 1}}, "damaged.*aura"),
        ({"land_cover": {"_target_": "os.system", "command": "touch /tmp/x"}}, "damaged"),
        ({"surprise": 1}, "damaged.*surprise is not known"),
        ({"format": 99}, "format 99, this version is of"),
        ({"renderer": 0}, "renderer 0, this version is of.*takes no rendering"),
        ({"terrain": "0" * 64}, "not the terrain that"),
    ],
)
def test_a_header_is_plain_values_that_are_checked(live, change, message):
    header = json.loads((live / HEADER).read_text())
    (live / HEADER).write_text(json.dumps(header | change))
    with pytest.raises(DataError, match=message):
        ImageReader(catalog(live), ["depth"], (12, 16)).read([0])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"format": 1}', b"null"])
def test_a_damaged_header_is_an_error_that_says_what_to_do(live, content):
    (live / HEADER).write_bytes(content)
    with pytest.raises(DataError, match=r"live\.json is damaged.*container=live"):
        require_images([(catalog(live), ["depth"])])


def test_the_catalog_is_read_once_for_many_single_images(live, monkeypatch):
    reads = []
    plain = read_catalog
    monkeypatch.setattr("crosslocate.data.catalog.read_catalog", lambda path: reads.append(path) or plain(path))
    database = catalog(live)
    for row in range(4):
        read_bytes(database.image_path("silhouettes", row))
    assert len(reads) == 1


def test_writing_again_leaves_what_is_there(live):
    times = {path: path.stat().st_mtime_ns for path in live.rglob("*") if path.is_file() and path.suffix != ".parquet"}
    write_live(live, world())
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_paths_tell_root_role_modality_and_name(tmp_path):
    assert live_path(tmp_path / "live:queries/photo/a/b.c") == (tmp_path, "queries", "photo", "a/b.c")
    assert live_path("live:database/depth/{name}")[1:] == ("database", "depth", "{name}")
    assert live_path(tmp_path / "database/depth/live.exr") is None
    assert not is_live("alive:/x")
