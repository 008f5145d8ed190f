import json

import pytest

from crosslocate.errors import TerrainError
from crosslocate.terrain.job.journal import Journal
from crosslocate.terrain.job.manifest import MANIFEST, read_manifest

JOB = {"seed": 1, "parameters": {"places": {"train": 3}, "width": 8}}


def test_what_was_recorded_is_known_at_the_next_start(tmp_path):
    with Journal(tmp_path / "journal.jsonl", JOB) as journal:
        journal.record("database/a", {"depth": 12, "photo": 34})
        journal.record("queries/b", {"depth": 5})
    with Journal(tmp_path / "journal.jsonl", JOB) as journal:
        assert journal.finished == {"database/a": {"depth": 12, "photo": 34}, "queries/b": {"depth": 5}}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_by_a_kill_is_dropped_and_the_next_one_is_whole(cut, tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, JOB) as journal:
        journal.record("a", {"depth": 1})
        journal.record("b", {"depth": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, JOB) as journal:
        assert journal.finished == {"a": {"depth": 1}}
        journal.record("c", {"depth": 3})
    assert [json.loads(line) for line in path.read_text().splitlines()][1:] == [
        {"view": "a", "files": {"depth": 1}},
        {"view": "c", "files": {"depth": 3}},
    ]


def test_a_journal_cut_in_its_first_line_starts_anew(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"seed": 1, "par')
    with Journal(path, JOB) as journal:
        assert journal.finished == {}
    assert json.loads(path.read_text()) == JOB


def test_the_journal_of_another_job_is_refused_with_what_differs(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path, JOB).__exit__(None, None, None)
    other = {"seed": 1, "parameters": {"places": {"train": 4}, "width": 8}}
    with pytest.raises(TerrainError, match=r"parameters\.places\.train is 3, now asked for is 4"):
        Journal(path, other)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1, "counts": {}}', "damaged"),
        ('{"format": 9, "counts": {}, "rendering": {}}', "format 9"),
    ],
)
def test_an_unreadable_manifest_is_named(content, says, tmp_path):
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(TerrainError, match=says) as error:
        read_manifest(tmp_path)
    assert str(tmp_path / MANIFEST) in str(error.value)
