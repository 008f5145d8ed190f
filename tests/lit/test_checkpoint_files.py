"""Checkpoint files: whole at any moment, and what a damaged one ends in."""

import resource
import signal

import pytest
import torch

from crosslocate.errors import CheckpointError, UnwritableError
from crosslocate.lit.checkpoint import WholeFiles, keep_previous
from crosslocate.lit.restore import CONFIG_KEY, last_checkpoint, read_checkpoint


def write(path, step, size=1000):
    content = {CONFIG_KEY: {"a": 1}, "state_dict": {"w": torch.full((size,), float(step))}, "global_step": step}
    WholeFiles().save_checkpoint(content, path)


@pytest.fixture
def run(tmp_path):
    """Folder of a run with two checkpoints, of steps 1 and 2."""
    last = tmp_path / "checkpoints" / "last.ckpt"
    write(last, 1)
    keep_previous(last)
    write(last, 2)
    return tmp_path


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


def in_the_weights(path):
    return path.read_bytes().index(torch.full((10,), 2.0).numpy().tobytes()) + 100


def test_nothing_else_is_left(run):
    assert {file.name for file in (run / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt"}


def test_the_last_is_read_where_it_is_whole(run):
    file, content = last_checkpoint(run)
    assert (file.name, content["global_step"]) == ("last.ckpt", 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: flip(path, in_the_weights(path)),
        lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    ],
    ids=["cut", "empty", "a byte of a tensor", "zeros"],
)
@pytest.mark.parametrize("place", [".", "checkpoints/last.ckpt"])
def test_the_one_before_stands_in_for_a_damaged_last(run, damage, place, capsys):
    last = run / "checkpoints" / "last.ckpt"
    damage(last)
    file, content = last_checkpoint(run / place)
    assert (file.name, content["global_step"]) == ("previous.ckpt", 1)
    assert not last.exists()
    assert last.with_name("last.ckpt.damaged").exists()
    said = "".join(capsys.readouterr().err.split())
    assert "last.ckptisnotareadablecheckpoint" in said
    assert "goingonfromthecheckpointbefore" in said
    assert last_checkpoint(run)[0] == file  # and so it stays


def test_two_damaged_checkpoints_are_one_error_that_names_both(run):
    for name in ("last.ckpt", "previous.ckpt"):
        (run / "checkpoints" / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is not .*previous\.ckpt is not"):
        last_checkpoint(run)


def test_a_damaged_best_checkpoint_is_an_error(tmp_path):
    write(tmp_path / "best.ckpt", 2)
    flip(tmp_path / "best.ckpt", in_the_weights(tmp_path / "best.ckpt"))
    with pytest.raises(CheckpointError, match=r"best\.ckpt is not a readable checkpoint \(.*damaged"):
        read_checkpoint(tmp_path / "best.ckpt")


def test_a_file_that_does_not_fit_leaves_the_one_before(tmp_path):
    path = tmp_path / "last.ckpt"
    write(path, 1)
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UnwritableError, match=r"last\.ckpt cannot be written \(File too large\)"):
            write(path, 2, size=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert read_checkpoint(path)["global_step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_without_hard_links_the_one_before_is_a_copy(run, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    last = run / "checkpoints" / "last.ckpt"
    keep_previous(last)
    write(last, 3)
    assert read_checkpoint(last.with_name("previous.ckpt"))["global_step"] == 2
