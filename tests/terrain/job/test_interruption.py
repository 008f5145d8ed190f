"""Ctrl-C and SIGTERM end a rendering with a line, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from crosslocate.terrain.job.manifest import MANIFEST
from crosslocate.terrain.job.opening import WORK


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_rendering_that_is_interrupted_says_so_and_goes_on(tmp_path, number, status, workers):
    root = tmp_path / "set"
    command = [
        *(sys.executable, "-m", "crosslocate.render", f"output={root}", f"workers={workers}", "container.views=2"),
        *("survey.places={train:6,val:1,test:1}", "survey.headings=8", "images.width=24", "images.height=18"),
        *("sheet=0", "coverage=false", f"hydra.run.dir={tmp_path}"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 120
    while not list(root.glob("checksums/*/*.json")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert said.rstrip().endswith("interrupted; the same command goes on")
    assert "Traceback" not in said
    assert not (root / MANIFEST).exists()
    if workers == 1:
        assert list((root / WORK / "drafts").iterdir()) == []
    subprocess.run(command, check=True, stderr=subprocess.PIPE)
    assert (root / MANIFEST).exists()
    assert not (root / WORK).exists()
