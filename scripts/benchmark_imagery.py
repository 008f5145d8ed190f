"""Measure what each kind of image costs beyond the rays.

Usage: ``python scripts/benchmark_imagery.py [--views 12]``.

One thread; CPU milliseconds of this process from the ray lengths of a view to the bytes of its file, medians over views
of which half are level and half pitched and rolled. The terrain is the fractal one of ``benchmark_render.py``, seen
with a detail of one post per pixel to 100 km, with 60 degrees of view. Every figure is that of an image alone: images
of the same view share the ground that they show.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import OpenEXR
from benchmark_render import REACH, cameras, fractal_dem, processor
from rich.console import Console
from rich.table import Table

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.job.scene import PRODUCTS, Scene, World

SIZES = ((128, 96), (500, 500))
POSES = ((0, 0), (5, 2))


def views(terrain: Terrain, count: int, width: int, height: int) -> list[Camera]:
    """Cameras of a size, half of them level."""
    found = [camera for pose in POSES for camera in cameras(terrain.layers[0], -(-count // 2), pose)]
    return [Camera(*_place(camera), camera.horizontal_fov, width, height) for camera in found]


def _place(camera: Camera) -> tuple[float, float, float, float, float, float]:
    return camera.longitude, camera.latitude, camera.elevation, camera.yaw, camera.pitch, camera.roll


def milliseconds(world: World, camera: Camera, modality: str) -> tuple[float, float, int]:
    """CPU milliseconds of the rays and of an image from there, and the bytes of its file."""
    scene = Scene(world, camera, f"{camera.longitude:.6f}")
    start = time.process_time()
    _ = scene.hits
    cast = time.process_time()
    size = len(PRODUCTS[modality].encode(scene))
    return 1000 * (cast - start), 1000 * (time.process_time() - cast), size


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=12, help="views per figure")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    OpenEXR.set_global_thread_count(0)
    console = Console(width=120)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    console.print(f"{processor()}, {os.cpu_count()} cores, load average {load}")
    terrain = Terrain.of(fractal_dem(3601))
    world = World(RayCaster(terrain, max_distance=REACH, detail=1.0))
    columns = [f"{w} x {h}, {what}" for w, h in SIZES for what in ("ms", "KiB")]
    table = Table("image", *columns, title="CPU ms beyond the rays")
    rays: dict[tuple[int, int], list[float]] = {size: [] for size in SIZES}
    rows = []
    for modality in PRODUCTS:
        row = [modality]
        for size in SIZES:
            milliseconds(world, views(terrain, 2, 32, 24)[0], modality)  # compiles
            spent = [milliseconds(world, camera, modality) for camera in views(terrain, arguments.views, *size)]
            cast, image, length = np.median(spent, axis=0)
            rays[size].append(cast)
            row += [f"{image:.2f}", f"{length / 1024:.1f}"]
        rows.append(row)
    table.add_row("rays, new place", *(cell for size in SIZES for cell in (f"{np.median(rays[size]):.2f}", "")))
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
