"""Measure the ray caster: views per core-second for several image sizes, camera poses and terrains.

Usage: ``python scripts/benchmark_render.py [--seconds 2]``. One thread; CPU seconds of this process are counted, so the
figures hold on a busy machine as far as its caches do. Compilation and model set-up are timed apart.
"""

import argparse
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from affine import Affine
from rich.console import Console
from rich.table import Table

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem, embedded_dem

SIZES = ((128, 96), (500, 384), (1024, 768))
POSES = {"level": (0.0, 0.0), "pitch 5, roll 2 deg": (np.radians(5), np.radians(2))}
EYE_HEIGHTS = (2.0, 60.0)


@dataclass(frozen=True)
class Scene:
    """One terrain and how far one sees in it."""

    name: str
    caster: RayCaster
    setup_seconds: float


def fractal_dem(posts: int, seed: int = 0) -> Dem:
    """Alpine fractal terrain at one arc second, 47 degrees north: spectrum f**-1.9, 600 m standard deviation."""
    rng = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(posts)[:, None], np.fft.rfftfreq(posts)[None]
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((posts, posts))) * frequency**-1.9
    elevation = np.fft.irfft2(spectrum, s=(posts, posts))
    elevation = 1800.0 + 600.0 * (elevation - elevation.mean()) / elevation.std()
    return Dem(elevation.astype(np.float32), Affine(1 / 3600, 0, 11.0, 0, -1 / 3600, 48.0), WGS84_CRS)


def scenes() -> Iterator[Scene]:
    """The terrains measured."""
    alpine = fractal_dem(3601)
    for name, dem, reach in (
        ("embedded, 90 m posts, 30 km", embedded_dem(), 30_000.0),
        ("fractal, 30 m posts, 30 km", alpine, 30_000.0),
        ("fractal, 30 m posts, 100 km", alpine, 100_000.0),
    ):
        start = time.process_time()
        caster = RayCaster(dem, max_distance=reach)
        yield Scene(name, caster, time.process_time() - start)


def cameras(dem: Dem, size: tuple[int, int], pose: tuple[float, float], count: int = 48) -> list[Camera]:
    """Random places over the middle of the model, three headings each, 60 degrees of view."""
    rng = np.random.default_rng(1)
    rows, columns = dem.shape
    views = []
    for _ in range(count // 3):
        lon, lat = (float(a) for a in dem.position_of(*(rng.uniform(0.2, 0.8, 2) * (columns - 1, rows - 1))))
        height = float(dem.elevation_at(lon, lat)) + rng.uniform(*EYE_HEIGHTS)
        views += [Camera(lon, lat, height, yaw, *pose, np.radians(60), *size) for yaw in rng.uniform(0, 2 * np.pi, 3)]
    return views


def milliseconds(caster: RayCaster, views: list[Camera], seconds: float) -> tuple[float, float]:
    """CPU milliseconds per view and the mean share of sky; at least a quarter of the views."""
    spent, sky = 0.0, []
    for camera in cycle(views):
        start = time.process_time()
        hits = caster.cast(camera)
        spent += time.process_time() - start
        sky.append(float(hits.sky.mean()))
        if len(sky) >= len(views) // 4 and spent > seconds:
            break
    return 1000 * spent / len(sky), float(np.mean(sky))


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Print the machine, the compile time and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per line")
    seconds = parser.parse_args().seconds
    console = Console(width=120)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    console.print(f"{processor()}, {os.cpu_count()} cores, load average {load}")
    table = Table("terrain", "pose", "pixels", "ms per view", "views per core-second", "sky", title="Ray casting")
    for scene in scenes():
        for label, pose in POSES.items():
            start = time.process_time()
            scene.caster.cast(cameras(scene.caster.terrain.layers[0], (8, 6), pose, 3)[0])
            first = time.process_time() - start
            console.print(f"{scene.name}: set-up {scene.setup_seconds:.2f} s, first {label} view {first:.2f} s")
            for size in SIZES:
                time_each, sky = milliseconds(
                    scene.caster, cameras(scene.caster.terrain.layers[0], size, pose), seconds
                )
                cells = (f"{size[0]} x {size[1]}", f"{time_each:.2f}", f"{1000 / time_each:.1f}", f"{sky:.0%}")
                table.add_row(scene.name, label, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
