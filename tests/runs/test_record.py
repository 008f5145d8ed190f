"""Records are whole or refused."""

import json

import pytest

from crosslocate.errors import CheckpointError
from crosslocate.runs.record import FILE, RunRecord, read_record, write_whole

GOOD = {
    "format": 1, "name": "n", "status": "running", "overrides": [], "fingerprints": {}, "sessions": [{"pid": 1}],
    "config": {},
}  # fmt: skip


def test_what_is_written_is_read_and_changes_are_written_at_once(tmp_path):
    record = RunRecord(tmp_path, GOOD)
    record.write()
    assert read_record(tmp_path) == read_record(tmp_path / FILE) == GOOD
    record.update(status="failed")
    assert read_record(tmp_path) == {**GOOD, "status": "failed"}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_no_record_is_none(tmp_path):
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        json.dumps({**GOOD, "format": 2}),
        json.dumps({**GOOD, "sessions": {}}),
        json.dumps({key: value for key, value in GOOD.items() if key != "config"}),
        json.dumps({**GOOD, "status": "asleep"}),
        "[" * 100_000,
    ],
)
def test_a_damaged_record_is_refused_by_its_name(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        read_record(tmp_path)


def test_a_failed_write_leaves_the_record_of_before(tmp_path):
    RunRecord(tmp_path, GOOD).write()
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / FILE, "\ud800")
    assert read_record(tmp_path) == GOOD
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
