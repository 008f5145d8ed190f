"""Images in folders and archives: the same bytes, from any process, and one clear error for whatever is wrong."""

import io
import multiprocessing
import os
import pickle
import shutil
import struct
import tarfile
import threading
import time
import zipfile
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.data import archive as archive_module
from crosslocate.data import storage
from crosslocate.data.archive_index import ArchiveIndex, IndexBuilder, Kind, canonical
from crosslocate.data.catalog import read_catalog, write_catalog
from crosslocate.data.completeness import missing_images
from crosslocate.data.reader import ImageReader
from crosslocate.errors import DataError

RNG = np.random.default_rng(0)
FILES = {f"{i:06d}_depth.exr": RNG.integers(0, 256, 700 * i, dtype=np.uint8).tobytes() for i in range(5)}
FILES["text.png"] = b"all the same " * 400


def write_zip(path, files, folder="", method=zipfile.ZIP_DEFLATED, **options):
    with zipfile.ZipFile(path, "w", method, **options) as file:
        for name, data in files.items():
            file.writestr(folder + name, data)
    return path


def write_tar(path, files, folder="", form=tarfile.GNU_FORMAT, mode="w"):
    with tarfile.open(path, mode, format=form) as file:
        for name, data in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


WRITERS = {
    "stored.zip": lambda path, files, folder="": write_zip(path, files, folder, zipfile.ZIP_STORED),
    "deflated.zip": write_zip,
    "gnu.tar": write_tar,
    "pax.tar": lambda path, files, folder="": write_tar(path, files, folder, tarfile.PAX_FORMAT),
    "ustar.tar": lambda path, files, folder="": write_tar(path, files, folder, tarfile.USTAR_FORMAT),
}
PACK = {"zip": write_zip, "tar": write_tar, "tar.gz": partial(write_tar, mode="w:gz")}


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.delenv("CROSSLOCATE_CACHE", raising=False)


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    return lambda files, folder="": WRITERS[request.param](tmp_path / request.param, files, folder)


def test_members_are_what_was_packed(write):
    path = write(FILES, "database_depth/")
    assert set(storage.names(path / "database_depth")) == set(FILES)
    assert set(storage.names(path)) == set()
    assert {name: storage.read_bytes(path / "database_depth" / name) for name in FILES} == FILES
    with pytest.raises(DataError, match=r"\.(zip|tar): no member database_depth/gone\.exr"):
        storage.read_bytes(path / "database_depth/gone.exr")
    with pytest.raises(DataError, match=r"no member database_depth$"):
        storage.read_bytes(path / "database_depth")


def test_plain_files_and_folders_named_like_archives(tmp_path):
    folder = tmp_path / "images.zip"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    assert storage.read_bytes(folder / "a.png") == b"a"
    assert set(storage.names(folder)) == {"a.png"}
    assert set(storage.names(tmp_path / "gone")) == set(storage.names(tmp_path / "gone.zip")) == set()
    with pytest.raises(DataError, match=r"gone\.zip/a\.png: No such file"):
        storage.read_bytes(tmp_path / "gone.zip/a.png")


def test_unusual_names(write):
    names = ["ä/Übersicht.png", "." * 3 + "x.png", "a b/" * 30 + "deep.png", "x" * 180 + ".png", "日本/山.png"]
    if "ustar" in str(write({})):
        names = [name for name in names if len(name) < 90]
    files = {name: name.encode() for name in names}
    path = write(files)
    assert {name: storage.read_bytes(path / name) for name in names} == files
    assert set(storage.names(path / "ä")) == {"Übersicht.png"}


def test_of_equal_names_the_last_counts(write, tmp_path):
    path = write({"./a.png": b"first", "a.png": b"second", "b/../a.png": b"never"})
    assert storage.read_bytes(path / "a.png") == b"second"
    assert set(storage.names(path)) == {"a.png"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"./a", b"a"), (b"/a//b", b"a/b"), (b"a/../b", b""), (b"a/", b""), (b".hidden", b".hidden"), (b"a/./b", b"a/b")],
)
def test_canonical_names(name, expected):
    assert canonical(name) == expected


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(
    ("archive", "inner"),
    [
        ("Sparse/database_depth", ""),
        ("Sparse/database_depth", "database_depth/"),
        ("Sparse/database_depth", "./database_depth/"),
        ("Sparse/database_depth", "Sparse/database_depth/"),
        ("Sparse/database_depth", "anything/"),
        ("Sparse/database_depth", "anything/database_depth/"),
        ("Sparse", "database_depth/"),
        ("Sparse", "Sparse/database_depth/"),
        ("Sparse", "release_1/database_depth/"),
    ],
)
def test_a_folder_is_located_in_archives(tmp_path, suffix, archive, inner):
    (tmp_path / "Sparse").mkdir()
    PACK[suffix](tmp_path / f"{archive}.{suffix}", FILES, inner)
    found = storage.locate(tmp_path / "Sparse", "database_depth")
    assert found is not None
    assert set(storage.names(found)) == set(FILES)
    assert storage.read_bytes(found / "text.png") == FILES["text.png"]


def test_what_a_mac_adds_to_an_archive_is_no_obstacle(tmp_path):
    files = {f"anything/{name}": data for name, data in FILES.items()}
    write_zip(tmp_path / "database_depth.zip", {".DS_Store": b"", **files, "__MACOSX/anything/._text.png": b""})
    found = storage.locate(tmp_path, "database_depth")
    assert found == tmp_path / "database_depth.zip/anything"
    assert set(storage.names(found)) == set(FILES)


def test_an_unpacked_folder_goes_first_and_none_is_none(tmp_path):
    root = tmp_path / "Sparse"
    (root / "database_depth").mkdir(parents=True)
    write_zip(root / "database_depth.zip", FILES)
    write_zip(root / "other.zip", FILES, "database_segments/nested/")
    assert storage.locate(root, "database_depth") == root / "database_depth"
    assert storage.locate(root, "database_segments") is None
    assert storage.locate(root, "nothing") is None


@pytest.mark.parametrize(("suffix", "mode"), [(".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")])
def test_archives_without_random_access_are_refused_with_advice(tmp_path, suffix, mode):
    write_tar(tmp_path / f"database_depth{suffix}", FILES, mode=mode)
    advice = "compressed as a whole .*, so no single image can be read from it; unpack it, or decompress it"
    for call in (
        lambda: storage.locate(tmp_path, "database_depth"),
        lambda: storage.read_bytes(tmp_path / f"database_depth{suffix}/text.png"),
        lambda: set(storage.names(tmp_path / f"database_depth{suffix}")),
    ):
        with pytest.raises(DataError, match=advice):
            call()
    shutil.move(tmp_path / f"database_depth{suffix}", tmp_path / "renamed.tar")
    with pytest.raises(DataError, match=r"renamed\.tar: " + advice):
        set(storage.names(tmp_path / "renamed.tar"))


def test_zip64_and_bytes_in_front(tmp_path):
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as file:
        with file.open("a.png", "w", force_zip64=True) as member:
            member.write(b"wide sizes")
        file.writestr("b.png", b"narrow sizes")
    assert storage.read_bytes(path / "a.png") == b"wide sizes"
    data = write_zip(tmp_path / "plain.zip", FILES).read_bytes()
    (tmp_path / "shifted.zip").write_bytes(b"#!/bin/sh\n" * 9 + data)
    assert storage.read_bytes(tmp_path / "shifted.zip/text.png") == FILES["text.png"]


def test_offsets_beyond_4_gib(tmp_path):
    """Sparse files of five gigabytes: nothing but the members is on the disk."""
    path = tmp_path / "huge.zip"
    with path.open("wb") as file:
        file.seek(5 << 30)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", FILES["text.png"])
    assert storage.read_bytes(path / "a.png") == FILES["text.png"]
    path, size = tmp_path / "huge.tar", 5 << 30
    with path.open("wb") as file:
        member = tarfile.TarInfo("large.exr")
        member.size = size
        file.write(member.tobuf())
        file.seek(512 + size)
        member = tarfile.TarInfo("a.png")
        member.size = 3
        file.write(member.tobuf() + b"abc".ljust(512, b"\0") + bytes(1024))
    assert storage.read_bytes(path / "a.png") == b"abc"
    with pytest.raises(DataError, match=r"huge\.tar: member large\.exr would have 5368709120 bytes; at most"):
        storage.read_bytes(path / "large.exr")


def test_links_and_holes_in_tar_are_refused_by_name(tmp_path):
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as file:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("folder", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "soft"  # a link to itself
            file.addfile(member)
        member = tarfile.TarInfo("holes")
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "1000000000"}
        file.addfile(member)
    for name, reason in (("soft", "is a link"), ("hard", "is a link"), ("holes", "is stored with holes")):
        with pytest.raises(DataError, match=rf"links\.tar: member {name} {reason}"):
            storage.read_bytes(path / name)
    with pytest.raises(DataError, match="no member folder"):
        storage.read_bytes(path / "folder")


def patched(path, offset, data):
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)
    return path


def directory_entry(path, k=0):
    """Where the k-th entry of the central directory begins."""
    data, place = path.read_bytes(), -1
    for _ in range(k + 1):
        place = data.index(b"PK\1\2", place + 1)
    return place


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (8, b"\1\0", r"member text\.png is encrypted; pack it without a password"),
        (10, b"\x0e\0", r"member text\.png is compressed by an unsupported method"),
        (16, b"\0\0\0\1", r"member text\.png is damaged: its checksum differs"),
        (24, b"\1\0\0\0", r"member text\.png has 2 bytes instead of 1"),
        (24, b"\xff\xff\xff\x7f", r"member text\.png would have 2147483647 bytes; at most 268435456 are read"),
        (24, b"\0\0\0\1", r"member text\.png has 5200 bytes instead of 16777216"),
        (42, b"\1\0\0\0", r"member text\.png it has no header where the directory says"),
        (42, b"\xff\xff\xff\x7f", r"member text\.png would end behind the last one"),
        (38, b"\0\0\xff\xa1", r"member text\.png is a link"),
    ],
)
def test_what_is_wrong_with_a_zip_member_is_said(tmp_path, offset, data, message):
    path = write_zip(tmp_path / "bad.zip", {"text.png": FILES["text.png"]})
    patched(path, directory_entry(path) + offset, data)
    with pytest.raises(DataError, match=r"bad\.zip: " + message):
        storage.read_bytes(path / "text.png")


def test_a_bomb_is_stopped_at_the_size_it_declares(tmp_path):
    path = write_zip(tmp_path / "bomb.zip", {"text.png": bytes(50_000_000)})
    patched(path, directory_entry(path) + 24, struct.pack("<I", 1000))
    with pytest.raises(DataError, match=r"bomb\.zip: member text\.png has 1001 bytes instead of 1000"):
        storage.read_bytes(path / "text.png")


@pytest.mark.parametrize("name", ["deflated.zip", "gnu.tar"])
def test_truncated_archives_are_named(tmp_path, name):
    whole = WRITERS[name](tmp_path / name, FILES).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2 + 100])
    with pytest.raises(DataError, match=name + ".*cut off"):
        set(storage.names(tmp_path / name))
    (tmp_path / name).write_bytes(b"")
    if name.endswith("zip"):
        with pytest.raises(DataError, match=r"no ZIP directory at its end"):
            set(storage.names(tmp_path / name))
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 60)
    with pytest.raises(DataError, match=name + ": no (ZIP directory|tar header)"):
        set(storage.names(tmp_path / name))


WHOLE = {}


@pytest.fixture(scope="module", autouse=True)
def whole_archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    few = {name: FILES[name] for name in [*list(FILES)[:2], "text.png"]}
    for name, writer in WRITERS.items():
        WHOLE[name] = writer(folder / name, few, "d/").read_bytes()


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(WRITERS)), st.data())
def test_damaged_archives_give_data_or_one_error(tmp_path_factory, name, data):
    whole = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):  # where the structure is, rather than in the data
            marks = [m for m in range(len(whole)) if whole[m : m + 2] == b"PK"] if name.endswith("zip") else [0]
            place = min(len(whole) - 1, data.draw(st.sampled_from(marks or [0])) + data.draw(st.integers(0, 60)))
        whole[place : place + 1] = data.draw(st.binary(min_size=1, max_size=8))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole))) :]
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(whole)
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
    members = ("d/000000_depth.exr", "d/000001_depth.exr", "d/text.png")
    for call in (lambda: set(storage.names(path / "d")), *(lambda m=m: storage.read_bytes(path / m) for m in members)):
        try:
            assert isinstance(call(), set | bytes)
        except DataError as error:
            assert name in str(error)  # noqa: PT017 - data or this error, nothing else


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["noise.zip", "noise.tar"]), st.binary(max_size=1500), st.binary(max_size=40))
def test_noise_gives_one_error_or_nothing(tmp_path_factory, name, noise, end):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(noise + (b"PK\5\6" + end if name.endswith("zip") else end))
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
    try:
        assert set(storage.names(path)) == set()
    except DataError as error:
        assert name in str(error)  # noqa: PT017 - see above


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=12), max_size=40))
def test_the_index_finds_what_a_dictionary_would(tmp_path_factory, names):
    builder, members = IndexBuilder(), {}
    for i, name in enumerate(names):
        builder.add(name, i, 0, 0, 0, Kind.PLAIN)
        members[canonical(name)] = i
    members.pop(b"", None)
    built, path = builder.build(), tmp_path_factory.getbasetemp() / "any.index"
    built.save(path, (1, 2))
    for index in (built, ArchiveIndex.load(path, (1, 2))):
        assert len(index) >= len(members)
        for name, i in members.items():
            assert index.records[index.find(name)]["offset"] == i
        assert index.find(b"\xff" * 20) is None
        assert set(index.below(b"")) == set(members)
        assert set(index.folder(b"")) == {name for name in members if b"/" not in name}
        heads = [name.split(b"/")[0] + (b"/" if b"/" in name else b"") for name in members]
        assert sorted(index.top()) == sorted(set(heads))
    assert ArchiveIndex.load(path, (1, 3)) is None
    path.write_bytes(path.read_bytes()[:-1] if names else b"")
    assert ArchiveIndex.load(path, (1, 2)) is None or not members


def test_large_indices_are_kept_beside_the_archive_or_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "WORTH_SAVING", 3)
    monkeypatch.setenv("CROSSLOCATE_CACHE", str(tmp_path / "cache"))
    path = write_zip(tmp_path / "a.zip", FILES)
    assert set(storage.names(path)) == set(FILES)
    assert (tmp_path / ".a.zip.index").is_file()
    monkeypatch.setattr(archive_module.Archive, "_build", lambda self: pytest.fail("scanned again"))
    storage._archives.clear()
    assert storage.read_bytes(path / "text.png") == FILES["text.png"]
    monkeypatch.undo()
    monkeypatch.setattr(archive_module, "WORTH_SAVING", 3)
    monkeypatch.setenv("CROSSLOCATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / ".b.zip.index").mkdir()  # no index can be written there
    assert set(storage.names(write_zip(tmp_path / "b.zip", FILES))) == set(FILES)
    assert len(list((tmp_path / "cache/archives").iterdir())) == 1


def test_an_index_that_took_long_is_kept_though_it_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "SLOW", 0.0)
    few = write_zip(tmp_path / "few.zip", FILES)
    many = write_zip(tmp_path / "many.zip", {f"{k}.png": b"" for k in range(100)})
    assert (len(set(storage.names(few))), len(set(storage.names(many)))) == (len(FILES), 100)
    assert [path.name for path in tmp_path.glob(".*")] == [".many.zip.index"]


def test_a_replaced_archive_is_read_anew(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": b"old"})
    assert storage.read_bytes(path / "a.png") == b"old"
    before = storage.changed(path / "folder")
    write_zip(tmp_path / "new.zip", {"a.png": b"newer"}).replace(path)
    assert storage.read_bytes(path / "a.png") == b"newer"
    assert storage.changed(path / "folder") != before
    assert storage.changed(tmp_path / "gone") == 0


def read_all(path, names, out):
    out.put(all(storage.read_bytes(path / name) == FILES[name] for _ in range(20) for name in names))


def test_forked_processes_share_an_archive(write):
    share(write(FILES), "fork")


def test_processes_started_anew_read_an_archive(tmp_path):
    share(write_zip(tmp_path / "a.zip", FILES), "spawn")


def share(path, method):
    set(storage.names(path))
    context = multiprocessing.get_context(method)
    out = context.Queue()
    processes = [context.Process(target=read_all, args=(path, list(FILES)[::step], out)) for step in (1, -1)]
    for process in processes:
        process.start()
    assert [out.get(timeout=60) for _ in processes] == [True, True]
    for process in processes:
        process.join(60)


def test_threads_share_an_archive(write):
    path, wrong = write(FILES), []

    def work(seed):
        names = np.random.default_rng(seed).choice(list(FILES), 100)
        wrong.extend(name for name in names if storage.read_bytes(path / name) != FILES[name])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


@pytest.mark.parametrize("pack", PACK)
def test_a_data_set_in_archives_reads_like_its_folders(tiny_dataset, tmp_path, pack):
    unpacked = read_catalog(tiny_dataset / "database.parquet")
    templates = {}
    for name in ("depth", "segments"):
        folder = tiny_dataset / "database" / name
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        PACK[pack](tmp_path / f"{name}.{pack}", files, f"{name}/")
        templates[name] = f"{name}.{pack}/{unpacked.template(name).removeprefix('database/')}"
    columns = {name: unpacked.table[name].combine_chunks() for name in unpacked.table.column_names if name != "row"}
    columns = {name: column for name, column in columns.items() if not name.startswith("_")}
    write_catalog(tmp_path / "database.parquet", columns, "database", templates)
    packed = read_catalog(tmp_path / "database.parquet")
    assert list(missing_images(packed, ["depth", "segments"])) == []
    readers = [ImageReader(catalog, ["depth", "segments"], (12, 16)) for catalog in (unpacked, packed)]
    cached = pickle.loads(pickle.dumps(ImageReader(packed, ["depth", "segments"], (12, 16), cache=tmp_path / "cache")))
    rows = [3, 0, 90, 3]
    expected = readers[0].read(rows)
    for read in (readers[1].read(rows), cached.read(rows), cached.read(rows)):
        for name in expected:
            np.testing.assert_array_equal(read[name], expected[name])
