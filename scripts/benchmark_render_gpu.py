"""Measure the ray caster on a device: views per second, what the processor does in between, and whether hits agree.

Usage: ``python scripts/benchmark_render_gpu.py [--device cuda]``. Cameras stand at random places in fractal terrain of
one arc second, twelve to a place. Compilation is timed apart. On a processor take small numbers:
``--device cpu --posts 600 --size 60 --places 1 --distance 10``.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from affine import Affine
from rich.console import Console
from rich.table import Table

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.casting.torch_caster import TorchCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem
from crosslocate.terrain.elevation.terrain import Terrain

POSES = {"level": (0.0, 0.0), "pitch 5, roll 2 deg": (5.0, 2.0), "pitch -20, roll 10 deg": (-20.0, 10.0)}
HEADINGS = 12


def fractal(posts: int) -> Dem:
    """Alpine fractal terrain at one arc second, 47 degrees north: spectrum f**-1.9, 600 m standard deviation."""
    frequency = np.hypot(np.fft.fftfreq(posts)[:, None], np.fft.rfftfreq(posts)[None])
    frequency[0, 0] = 1.0
    noise = np.fft.rfft2(np.random.default_rng(0).standard_normal((posts, posts)))
    elevation = np.fft.irfft2(noise * frequency**-1.9, s=(posts, posts))
    elevation = 1800.0 + 600.0 * (elevation - elevation.mean()) / elevation.std()
    return Dem(elevation.astype(np.float32), Affine(1 / 3600, 0, 11.0, 0, -1 / 3600, 48.0), WGS84_CRS)


def rings(terrain: Terrain, places: int, size: int, pose: tuple[float, float]) -> list[Camera]:
    """Twelve headings at each of some places over the middle of the terrain, 60 degrees of view."""
    rng = np.random.default_rng(1)
    dem = terrain.layers[0]
    rows, columns = dem.shape
    pitch, roll = np.radians(pose)
    cameras: list[Camera] = []
    for _ in range(places):
        lon, lat = (float(a) for a in dem.position_of(*(rng.uniform(0.2, 0.8, 2) * (columns - 1, rows - 1))))
        height = float(dem.elevation_at(lon, lat)) + rng.uniform(2.0, 60.0)
        headings = np.radians(np.arange(HEADINGS) * 360.0 / HEADINGS)
        cameras += [Camera(lon, lat, height, yaw, pitch, roll, np.radians(60), size, size) for yaw in headings]
    return cameras


def seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Wall seconds of a round, the median; a GPU is waited for."""
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def disagreement(caster: TorchCaster, cameras: list[Camera]) -> tuple[float, float]:
    """Shares of pixels that are sky for one caster only, and whose ray lengths differ by more than 1e-4."""
    plain = RayCaster(caster.terrain, caster.refraction, caster.max_distance, caster.surface, caster.detail)
    there = caster.cast_many(cameras).cpu().numpy()
    here = np.stack([plain.cast(camera).distance for camera in cameras])
    both = (here > 0) & (there > 0)
    return float(((here > 0) != (there > 0)).mean()), float((np.abs(here / there - 1.0)[both] > 1e-4).mean())


def main() -> None:
    """Print the device, the memory of the terrain and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--posts", type=int, default=3601, help="rows and columns of the terrain")
    parser.add_argument("--size", type=int, default=500, help="rows and columns of the images")
    parser.add_argument("--places", type=int, default=32, help="places in one call, twelve views each")
    parser.add_argument("--distance", type=float, default=100.0, help="km of sight")
    parser.add_argument("--surface", default="bilinear")
    parser.add_argument("--detail", type=float, default=None, help="posts per pixel; all of them if not given")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=120)

    terrain = Terrain.of(fractal(options.posts))
    arguments = 0.13, 1000.0 * options.distance, options.surface, options.detail, options.device
    start = time.perf_counter()
    caster = TorchCaster(terrain, *arguments)
    name = torch.cuda.get_device_name(caster.device) if caster.device.type == "cuda" else "processor"
    console.print(
        f"{name}, torch {torch.__version__}; terrain of {options.posts} x {options.posts} posts copied in "
        f"{time.perf_counter() - start:.2f} s; march: {caster._march.__module__}"
    )
    columns = ("pose", "views", "first call s", "views/s", "of that fitting tracks s", "sky differs", "depth differs")
    table = Table(*columns, title=f"{options.size} x {options.size} pixels, 60 degrees, {options.distance:g} km")
    for label, pose in POSES.items():
        cameras = rings(terrain, options.places, options.size, pose)
        first = seconds(lambda views=cameras: caster.cast_many(views[:HEADINGS]), caster.device, 1)  # type: ignore[misc]
        spent = seconds(lambda views=cameras: caster.cast_many(views), caster.device, options.rounds)  # type: ignore[misc]
        fitting = seconds(lambda views=cameras: caster._eyes(views), caster.device, options.rounds)  # type: ignore[misc]
        sky, depth = disagreement(caster, cameras[:: max(1, len(cameras) // 8)])
        figures = (f"{first:.2f}", f"{len(cameras) / spent:.1f}", f"{fitting:.3f} of {spent:.3f}")
        table.add_row(label, str(len(cameras)), *figures, f"{sky:.4%}", f"{depth:.4%}")
    console.print(table)


if __name__ == "__main__":
    main()
