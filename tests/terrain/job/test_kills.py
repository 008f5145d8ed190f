"""A rendering that two processes are at, which are killed without warning, ends with the bytes of a clean one."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_survey
from tiny_survey import storage_of, tiny_plan, tree

from crosslocate.terrain.job.manifest import MANIFEST
from crosslocate.terrain.job.rendering import render_dataset

LONGEST = {"files:2": 0.5, "shards:2": 0.5, "live": 0.1}
"""Seconds within which a process is killed, from when it begins to look at what there is: most are at work then."""


def killed_pair(root: Path, storage: str, draw: random.Random) -> int:
    """Run two processes on one job, each killed at a random time; how many were, before they had finished."""
    command = [sys.executable, str(Path(tiny_survey.__file__)), str(root), storage]
    pair = [
        subprocess.Popen(
            [*command, str(draw.choice((1, 2))), f"{draw.uniform(0.0, LONGEST[storage]):.3f}"], stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in pair]
    codes = [process.returncode for process in pair]
    assert set(codes) <= {0, -signal.SIGKILL}, (codes, said)
    return codes.count(-signal.SIGKILL)


def stress(folder: Path, storage: str, kills: int, seed: int) -> int:
    """Kill that often, begin anew whenever the data set was completed all the same; returns how often it was."""
    draw, root, complete = random.Random(seed), folder / "killed", 0
    render_dataset(folder / "clean", tiny_plan(storage_of(storage)), workers=1)
    clean = tree(folder / "clean")
    while kills > 0:
        if (root / MANIFEST).exists():
            render_dataset(root, tiny_plan(storage_of(storage)), workers=1)  # clears up what a kill left
            assert tree(root) == clean
            shutil.rmtree(root)
            complete += 1
        kills -= killed_pair(root, storage, draw)
    render_dataset(root, tiny_plan(storage_of(storage)), workers=2)
    assert tree(root) == clean
    return complete + 1


@pytest.mark.parametrize("storage", ["files:2", "shards:2"])
def test_killed_and_started_again_gives_the_same_bytes(storage, tmp_path):
    stress(tmp_path, storage, 3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["files:2", "shards:2", "live"])
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_twenty_times_and_started_again_gives_the_same_bytes(storage, seed, tmp_path):
    stress(tmp_path, storage, 20, seed)


def test_children_end_with_their_parent(tmp_path):
    """A parent that is killed leaves no process behind that goes on rendering."""
    script = f"""
import os, signal, sys, threading
sys.path.insert(0, {str(Path(tiny_survey.__file__).parent)!r})
from pathlib import Path
from tiny_survey import storage_of, tiny_plan
from crosslocate.terrain.job import processes, rendering
def endless(job, chunk):
    print(os.getpid(), flush=True)
    threading.Event().wait()
processes.render_chunk = endless
rendering.render_dataset(Path(sys.argv[1]), tiny_plan(storage_of("files:2")), workers=2)
"""
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "set")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    assert parent.wait(10) == -signal.SIGKILL
    assert parent.stdout.read() == b""  # the pipe ends when the last of them has
    assert len(set(children)) == 2
