"""Drafts have names of their own, and those that killed processes left are removed by whoever writes the file anew."""

import os
import time

import numpy as np
import pytest

from crosslocate.data import catalog_writer
from crosslocate.data.archive_index import IndexBuilder, Kind
from crosslocate.data.catalog import write_catalog
from crosslocate.data.drafts import LEFT, draft_of


def index_of(path):
    builder = IndexBuilder()
    builder.add(b"a.exr", 0, 1, 1, 0, Kind.PLAIN)
    builder.build().save(path, (1, 1))


def catalog_of(path):
    columns = {name: np.zeros(1) for name in ("latitude", "longitude", "elevation", "pitch", "roll", "yaw")}
    columns |= {"name": ["v"], "place": [0], "horizontal_fov": np.ones(1), "split": ["test"]}
    write_catalog(path, columns, "database", {"depth": "{name}.exr"})


@pytest.mark.parametrize(
    ("make", "file", "written"),
    [
        (index_of, ".a.tar.index", ".a.tar.index"),
        (catalog_of, "database.parquet", "database.parquet"),
        (catalog_of, "database.parquet", ".database.parquet.arrow"),
    ],
)
def test_old_drafts_of_the_same_file_are_removed(tmp_path, monkeypatch, make, file, written):
    monkeypatch.setattr(catalog_writer, "WORTH_MAPPING", 0)
    stem = written.removeprefix(".")
    left = [f".{stem}.123.tmp", f".{stem}.123.0123abcd.tmp"]
    others = [f".{stem}.tmp", f".{stem}.notes.tmp", ".other.parquet.123.tmp", f"{stem}.123.tmp", f".{stem}.77.tmp"]
    for name in (*left, *others):
        (tmp_path / name).touch()
        if name != others[-1]:  # which somebody may be writing
            os.utime(tmp_path / name, (0, time.time() - LEFT - 60))
    make(tmp_path / file)
    found = {entry.name for entry in tmp_path.iterdir()}
    assert not found & set(left)
    assert found >= {*others, written}
    assert found <= {*others, file, ".database.parquet.arrow"}


def test_no_two_drafts_have_one_name(tmp_path):
    """Processes of two machines may have the same number."""
    drafts = {draft_of(tmp_path / "a.parquet") for _ in range(20)}
    assert len(drafts) == 20
    assert all(draft.parent == tmp_path and draft.name.startswith(".a.parquet.") for draft in drafts)
