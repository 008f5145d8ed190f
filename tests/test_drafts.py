"""Drafts have names of their own, and those that killed processes left are removed by whoever writes the file anew."""

import os
import socket
import subprocess
import time

import numpy as np
import pytest

from crosslocate.data import catalog_writer
from crosslocate.data.archive_index import IndexBuilder, Kind
from crosslocate.data.catalog import write_catalog
from crosslocate.drafts import LEFT, draft_of, remove_abandoned


def index_of(path):
    builder = IndexBuilder()
    builder.add(b"a.exr", 0, 1, 1, 0, Kind.PLAIN)
    builder.build().save(path, (1, 1))


def catalog_of(path):
    columns = {name: np.zeros(1) for name in ("latitude", "longitude", "elevation", "pitch", "roll", "yaw")}
    columns |= {"name": ["v"], "place": [0], "horizontal_fov": np.ones(1), "split": ["test"]}
    write_catalog(path, columns, "database", {"depth": "{name}.exr"})


@pytest.fixture(scope="module")
def gone():
    """Number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("make", "file", "written"),
    [
        (index_of, ".a.tar.index", ".a.tar.index"),
        (catalog_of, "database.parquet", "database.parquet"),
        (catalog_of, "database.parquet", ".database.parquet.arrow"),
    ],
)
def test_who_writes_a_file_removes_what_killed_processes_left(tmp_path, monkeypatch, gone, make, file, written):
    monkeypatch.setattr(catalog_writer, "WORTH_MAPPING", 0)
    left = tmp_path / f".{written.removeprefix('.')}.{socket.gethostname()}.{gone}.0123abcd.tmp"
    left.touch()
    make(tmp_path / file)
    assert {entry.name for entry in tmp_path.iterdir()} - {".database.parquet.arrow"} == {file}
    assert (tmp_path / written).is_file()


def test_drafts_in_use_and_other_files_stay(tmp_path, gone):
    here, elsewhere = socket.gethostname(), f"{socket.gethostname()}.elsewhere"
    abandoned = [f".a.{here}.{gone}.00000000.tmp", f".a.{elsewhere}.{gone}.00000001.tmp"]
    kept = [
        f".a.{here}.{os.getpid()}.00000002.tmp", f".a.{elsewhere}.{gone}.00000003.tmp",
        f".b.{here}.{gone}.00000004.tmp",
        f"a.{here}.{gone}.00000005.tmp", f".a.{here}.{gone}.notes.tmp", ".a.tmp", "a",
    ]  # fmt: skip
    for name in (*abandoned, *kept):
        (tmp_path / name).touch()
        if name != kept[1]:  # which somebody on another machine may be writing
            os.utime(tmp_path / name, (0, time.time() - LEFT - 60))
    folder = tmp_path / f".a.{here}.{gone}.00000006.tmp"
    folder.mkdir()
    (folder / "part").touch()
    remove_abandoned(tmp_path / "a")
    assert {entry.name for entry in tmp_path.iterdir()} == set(kept)


def test_no_two_drafts_have_one_name(tmp_path):
    drafts = {draft_of(tmp_path / "a.parquet") for _ in range(20)}
    assert len(drafts) == 20
    assert all(draft.parent == tmp_path and draft.name.startswith(".a.parquet.") for draft in drafts)
