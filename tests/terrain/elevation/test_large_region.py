"""Memory of a region of 3 x 3 degrees at 30 m, with all that is mapped counted."""

import json
import subprocess
import sys

import numpy as np
import pytest
from elevation_files import write_tiff

OPEN = """
import json, sys, time
from crosslocate.terrain.elevation.tiles import open_terrain

begin = time.perf_counter()
terrain = open_terrain(sys.argv[1], cache=sys.argv[2])
seconds = time.perf_counter() - begin
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
print(json.dumps({
    "shapes": [layer.shape for layer in terrain.layers], "peak": peak * 1024, "seconds": seconds,
    "fingerprint": terrain.fingerprint(), "size": terrain.summary.memory, "at": float(terrain.elevation_at(7.5, 46.5)),
}))
"""


def opened(folder, cache):
    command = [sys.executable, "-c", OPEN, str(folder), str(cache)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_three_by_three_degrees_take_less_than_one_and_a_half_gigabytes(tmp_path):
    edge = np.arange(3600) / 3600
    for south in (45, 46, 47):
        for west in (6, 7, 8):
            x, y = west + edge, south + 1 - edge[:, None]
            posts = (1500 + 700 * np.sin(40 * x) + 600 * np.cos(55 * y) + 0 * x).astype(np.float32)
            write_tiff(
                tmp_path / f"tiles/N{south}E{west:03d}.tif", posts, (west, south + 1.0), 1 / 3600,
                tiled=True, blockxsize=1024, blockysize=1024, compress="deflate",
            )  # fmt: skip
    prepared, found = (opened(tmp_path / "tiles", tmp_path / "cache") for _ in range(2))
    for name, run in (("prepared", prepared), ("found", found)):
        print(f"{name} in {run['seconds']:.3f} s, {run['peak'] / 2**20:.0f} MiB, {run['size'] / 2**20:.0f} MiB on disk")
    assert prepared["shapes"] == found["shapes"] == [[10_800, 10_800]]
    assert prepared["fingerprint"] == found["fingerprint"]
    assert prepared["at"] == found["at"] == pytest.approx(1500 + 700 * np.sin(300) + 600 * np.cos(55 * 46.5), abs=1e-2)
    assert prepared["peak"] < 1.2e9
    assert found["peak"] < 0.4e9
