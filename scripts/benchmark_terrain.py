"""Measure what a large terrain takes: memory and time to make it ready and to render from it.

Usage: ``python scripts/benchmark_terrain.py [--degrees 3] [--views 24] [--folder DIR]``.

The fractal terrain of ``benchmark_render.py`` and mirrored copies of it are written as GeoTIFF tiles of one degree.
Every measure has a process of its own with one thread; its highest memory is what the kernel counted (VmHWM, with
everything that is imported and the pages of mapped files). Views are those of ``benchmark_render.py``, of its poses in
turn, each at a place of its own. Prints a Markdown table. Linux only; three degrees take 1.5 GB of disk in a temporary
folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import rasterio
from affine import Affine
from benchmark_render import DETAIL, POSES, REACH, cameras, fractal_dem, processor, repeated_dem

from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.elevation.tiles import open_terrain

SIDE = 3601
STEPS = {
    "prepared": "tiles prepared in a folder",
    "mapped": "mapped from there",
    "tiles": "tiles prepared in memory",
    "array": "made of an array",
}
"""Measures in their order, and what the table calls them."""
RENDERED = ("mapped", "tiles", "array")


def write_tiles(folder: Path, degrees: int) -> None:
    """Write the terrain as tiles that share no posts, and as an array."""
    dem = repeated_dem(fractal_dem(SIDE), degrees)
    posts = dem.elevation[: degrees * (SIDE - 1) + 1, : degrees * (SIDE - 1) + 1]
    np.save(folder / "posts.npy", posts)
    np.save(folder / "transform.npy", np.array(dem.transform[:6]))
    (folder / "tiles").mkdir()
    for row in range(0, len(posts), SIDE):
        for column in range(0, len(posts), SIDE):
            part = posts[row : row + SIDE, column : column + SIDE]
            corner = dem.transform * Affine.translation(column - 0.5, row - 0.5)  # posts are the centres of pixels
            size = {"height": part.shape[0], "width": part.shape[1], "count": 1, "dtype": "float32"}
            kept = {"tiled": True, "compress": "deflate", "predictor": 3}
            path = folder / "tiles" / f"{row}_{column}.tif"
            with rasterio.open(path, "w", driver="GTiff", crs=dem.crs, transform=corner, **size, **kept) as file:
                file.write(part, 1)


def make(step: str, folder: Path) -> Terrain:
    """The terrain, in one of the ways."""
    if step == "array":
        posts, transform = np.load(folder / "posts.npy"), np.load(folder / "transform.npy")
        return Terrain.of(Dem(posts, Affine(*transform), "EPSG:4326"))
    return open_terrain(folder / "tiles", cache=None if step == "tiles" else folder / "prepared")


def counted() -> dict[str, float]:
    """Memory of this process in MiB: the highest so far, and the pages of files that it holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {"peak": int(values["VmHWM"].split()[0]) / 1024, "file": int(values["RssFile"].split()[0]) / 1024}


def measured(step: str, folder: Path, count: int) -> list[dict[str, float]]:
    """Make the terrain in this process and, where asked for, render views; what both took."""
    found = [{"wall": 0.0, "cpu": 0.0, **counted()}]
    wall, cpu = time.perf_counter(), time.process_time()
    terrain = make(step, folder)
    found.append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, **counted()})
    if step in RENDERED:
        layer, poses = terrain.layers[0], islice(cycle(POSES.values()), count)
        views = [cameras(layer, count, pose)[k] for k, pose in enumerate(poses)]
        caster = RayCaster(terrain, max_distance=REACH, detail=DETAIL)
        caster.cast(views[0])  # compiled code is read
        wall, cpu = time.perf_counter(), time.process_time()
        for view in views:
            caster.cast(view)
        found.append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, **counted()})
    return found


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--degrees", type=int, default=3, help="side of the terrain")
    parser.add_argument("--views", type=int, default=24, help="views that are rendered")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--measure", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measured(arguments.measure, arguments.folder, arguments.views)))
        return
    side = arguments.degrees * (SIDE - 1) + 1
    print(f"{processor()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"| {side:,} x {side:,} posts | wall s | CPU s | peak memory MiB | of files MiB |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write_tiles(Path(folder), arguments.degrees)
        for step, title in STEPS.items():
            command = [sys.executable, __file__, "--measure", step, "--folder", folder, "--views", str(arguments.views)]
            result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            names = "imports", title, f"{arguments.views} views of it"
            for name, row in zip(names, json.loads(result.stdout.splitlines()[-1]), strict=False):
                if name != "imports" or step == "prepared":
                    figures = f"{row['wall']:.2f} | {row['cpu']:.2f} | {row['peak']:,.0f} | {row['file']:,.0f}"
                    print(f"| {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
