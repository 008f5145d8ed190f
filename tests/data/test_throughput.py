"""The script that says whether reading or the network is the limit."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crosslocate.data.reader import ImageReader

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.usefixtures("scripts")
def test_generated_images_are_the_same_in_every_layout(tmp_path):
    from generated_images import generate, packed

    catalog = generate(tmp_path, "database", ["depth", "silhouettes"], 103, 24)
    rows = np.array([102, 0, 99, 100, 5])
    expected = ImageReader(catalog, ["depth", "silhouettes"], (24, 24)).read(rows)
    assert len(np.unique(expected["depth"])) > 1000
    assert (expected["depth"] == -1).any()
    for layout in ("zip", "tar", "shards"):
        moved = packed(catalog, layout)
        assert moved.image_path("depth", 102) != catalog.image_path("depth", 102)
        found = ImageReader(moved, ["depth", "silhouettes"], (24, 24)).read(rows)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    assert len(list((tmp_path / "database/depth_shards").iterdir())) == 2


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize(
    ("files", "cached", "network", "workers", "expected"),
    [
        (900, 5000, 480, 2, "x: the network is the limit: it takes 480 images/s of 900 that are read."),
        (212, 4000, 480, 2, "x: reading is the limit: 212 images/s are read of 480 .* dataset.cache .*4,000.*, more"),
        (212, 220, 480, 7, "x: reading is the limit: .* helps: smaller or less compressed files, or more cores"),
        (450, 460, 480, 2, "x: reading and the network are about as fast: 450 .* helps: more than dataset.workers=2"),
    ],
)
def test_the_limit_is_said_with_what_helps(files, cached, network, workers, expected):
    from benchmark_throughput import verdict

    assert re.match(expected, verdict("x", files, cached, network, workers, cores=8))


@pytest.mark.slow
@pytest.mark.parametrize("latency", [[], ["--latency", "2"]])
def test_the_script_runs(tmp_path, latency):
    sizes = ["--generate", "24", "--images", "24", "--side", "32", "--workers", "0,1", "--threads", "1", *latency]
    overrides = [
        "dataset.size=[32,32]",
        "dataset.extraction_batch_size=8",
        "dataset.batch_size=2",
        "mining.negatives=2",
    ]
    command = [sys.executable, str(SCRIPTS / "benchmark_throughput.py"), *sizes, "--layouts", "folder,shards"]
    command += ["backbone=small", "modality=depth", *overrides]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| shards, read_ahead=16 |" in done.stdout
    assert ("| shards, read_ahead=0 |" in done.stdout) == bool(latency)
    assert done.stdout.count("limit") + done.stdout.count("about as fast") == 2
