import hashlib

import pytest

from crosslocate.terrain.job.chunks import cut
from crosslocate.terrain.job.records import Records, settle


@pytest.fixture
def written(tmp_path):
    """Records of three chunks of two views, of which the first two are done, and their files."""
    root = tmp_path / "set"
    (root / "database").mkdir(parents=True)
    records, chunks = Records(root, root), cut({"database": 6}, 2)
    for chunk in chunks[:2]:
        draft = root / "draft"
        draft.write_bytes(b"image" * (chunk.number + 1))
        name = f"database/{chunk.label}.tar"
        records.write(chunk, {name: settle(draft, root / name)})
    return root, records, chunks


def test_a_record_says_size_and_checksum(written):
    root, records, chunks = written
    assert records.read(chunks[1]) == {"database/00001.tar": (10, hashlib.sha256(b"imageimage").hexdigest())}
    assert (root / "database/00001.tar").read_bytes() == b"imageimage"
    assert not (root / "draft").exists()
    assert records.read(chunks[2]) is None
    assert records.done(chunks) == set(chunks[:2])
    assert sorted(path.name for path in root.iterdir()) == ["checksums", "database"]


def test_what_is_whole_is_not_damaged(written):
    _, records, chunks = written
    assert list(records.damaged(chunks[:2], contents=True, workers=2)) == []


@pytest.mark.parametrize("contents", [False, True])
def test_damage_is_found_by_size_or_by_content(written, contents):
    root, records, chunks = written
    (root / "database/00000.tar").write_bytes(b"IMAGE")
    (root / "database/00001.tar").write_bytes(b"image")
    found = dict(records.damaged(chunks[:2], contents=contents, workers=2))
    assert set(found) == set(chunks[:2] if contents else chunks[1:2])
    assert found[chunks[1]] == f"{root / 'database/00001.tar'} has 5 bytes, not 10"
    (root / "database/00001.tar").unlink()
    assert "00001.tar is missing" in dict(records.damaged(chunks[:2], contents=contents, workers=1))[chunks[1]]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"views": 2, "files": {"a": 1}}', '{"views": 1, "files": {}}', "null"]
)
def test_a_damaged_record_counts_as_none(written, content):
    _, records, chunks = written
    records.path(chunks[0]).write_text(content)
    assert records.read(chunks[0]) is None
    assert "00000.json is damaged" in dict(records.damaged(chunks[:1], contents=False, workers=1))[chunks[0]]
    records.remove(chunks[0])
    records.remove(chunks[0])
    assert records.done(chunks) == {chunks[1]}


def test_the_digest_depends_on_every_record(written):
    root, records, chunks = written
    digest, size = records.digest(chunks[:2])
    assert size == 15
    draft = root / "draft"
    draft.write_bytes(b"other")
    records.write(chunks[1], {"database/00001.tar": settle(draft, root / "database/00001.tar")})
    assert records.digest(chunks[:2]) != (digest, size)
