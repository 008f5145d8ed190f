"""Measure the ray caster beside Embree, and how its cost grows.

Usage: ``python scripts/benchmark_render.py [--views 12] [--no-embree] [--plot docs/images/render_growth.png]``.

One thread; CPU seconds of this process are counted and medians over views are taken, in one run, alternating between
the casters, so that ratios hold on a busy machine too. The terrain is fractal: alpine heights at one arc second.
Embree (through embreex) sees the same posts as triangles. Views are 500 x 500 pixels of 60 degrees to 100 km unless
said otherwise. With places known, the view is the second of its place, as most of a ring of twelve are.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem
from crosslocate.terrain.elevation.terrain import Terrain

DETAIL = 1.0
SIZE = 500
REACH = 100_000.0
POSES = {"level": (0, 0), "pitch 5, roll 2": (5, 2), "pitch -20, roll 10": (-20, 10), "pitch 20, roll -10": (20, -10)}
EYE_HEIGHTS = (2.0, 60.0)
FIRST_VIEW = """
import time; start = time.perf_counter()
import numpy as np
from affine import Affine
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.elevation.terrain import Terrain
loaded = time.perf_counter()
y, x = np.mgrid[:3601, :3601].astype(np.float32)
dem = Dem(800 + 700 * np.sin(x / 90) * np.sin(y / 70), Affine(1 / 3600, 0, 11.0, 0, -1 / 3600, 48.0), "EPSG:4326")
made = time.perf_counter()
caster = RayCaster(Terrain.of(dem), detail=1.0)
caster.cast(Camera(11.5, 47.5, 2000.0, 0.5, PITCH, 0.0, 1.0, 500, 500))
print(loaded - start, time.perf_counter() - made)
"""

Cast = Callable[[Camera], object]


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


def repeated_dem(dem: Dem, times: int) -> Dem:
    """A larger model of mirrored copies: as rough, without a large transform."""
    posts = dem.elevation
    row = np.concatenate([posts if k % 2 == 0 else posts[:, ::-1] for k in range(times)], axis=1)
    whole = np.concatenate([row if k % 2 == 0 else row[::-1] for k in range(times)])
    return Dem(whole, dem.transform, dem.crs)


def cameras(dem: Dem, count: int, pose: tuple[float, float] = (0, 0), size: int = SIZE) -> list[Camera]:
    """Random places over the middle of the model and random headings, 60 degrees of view; the pose in degrees."""
    rng = np.random.default_rng(1)
    rows, columns = dem.shape
    views = []
    for _ in range(count):
        lon, lat = (float(a) for a in dem.position_of(*(rng.uniform(0.3, 0.7, 2) * (columns - 1, rows - 1))))
        height = float(dem.elevation_at(lon, lat)) + rng.uniform(*EYE_HEIGHTS)
        pitch, roll = np.radians(pose)
        views.append(Camera(lon, lat, height, rng.uniform(0, 2 * np.pi), pitch, roll, np.radians(60), size, size))
    return views


def milliseconds(cast: Cast, camera: Camera) -> float:
    """CPU milliseconds of one view."""
    start = time.process_time()
    cast(camera)
    return 1000 * (time.process_time() - start)


def poses(console: Console, dem: Dem, caster: RayCaster, count: int, embree: Cast | None) -> None:
    """Print views per core-second by pose, beside Embree's."""
    table = Table("pose", "ms, new place", "views/s", "ms, place known", "views/s", "Embree ms", "views/s", "ratio")
    for label, pose in POSES.items():
        spent: list[list[float]] = []
        caster.cast(cameras(dem, 1, pose, 16)[0])  # compiles
        for camera in cameras(dem, count, pose):
            new = milliseconds(caster.cast, camera)
            known = milliseconds(caster.cast, camera)
            spent.append([new, known, milliseconds(embree, camera) if embree else np.nan])
        new, known, other = np.median(spent, axis=0)
        figures = [f"{value:.1f}" for pair in ((t, 1000 / t) for t in (new, known, other)) for value in pair]
        table.add_row(label, *figures, f"{other / new:.1f} / {other / known:.1f}")
    console.print(table)


def embree_from_the_middle(dem: Dem) -> Cast:
    """Embree's rays through one scene around the middle of the model: for speed, not for exact pictures."""
    sys.path.insert(0, str(Path(__file__).parent))
    from embree_caster import EmbreeCaster

    rows, columns = dem.shape
    lon, lat = (float(a) for a in dem.position_of(columns / 2, rows / 2))
    yardstick = EmbreeCaster(dem, lon, lat, 0.0)
    yardstick.cast(cameras(dem, 1, size=16)[0])  # builds its tree
    return yardstick.cast_from


def accuracy(console: Console, dem: Dem, places: int) -> None:
    """Print how far views with several details are from Embree's."""
    from embree_caster import EmbreeCaster

    terrain = Terrain.of(dem)
    table = Table("pose", "detail", "hit/sky differ", "depth off, median", "99th percentile", "over 1 %")
    details = (None, 2.0, 1.0, 0.5)
    casters = [RayCaster(terrain, 0.0, REACH, "triangles", detail) for detail in details]
    errors: dict[tuple[str, float | None], list[NDArray[np.float64]]] = {}
    for camera in cameras(dem, places):
        yardstick = EmbreeCaster(dem, camera.longitude, camera.latitude, camera.elevation)
        for label, (pitch, roll) in POSES.items():
            place = camera.longitude, camera.latitude, camera.elevation, camera.yaw
            view = Camera(*place, np.radians(pitch), np.radians(roll), camera.horizontal_fov, SIZE, SIZE)
            expected = yardstick.cast(view)
            for detail, caster in zip(details, casters, strict=True):
                found = caster.cast(view).distance
                sky = (found < 0) != (expected < 0)
                both = (found > 0) & (expected > 0)
                off = np.where(both, np.abs(found / expected - 1.0), np.where(sky, np.inf, np.nan))
                errors.setdefault((label, detail), []).append(off.astype(np.float64).ravel())
    for (label, detail), parts in errors.items():
        off = np.concatenate(parts)
        depth = off[np.isfinite(off)]
        shares = f"{np.isinf(off).mean():.4%}", f"{np.median(depth):.1e}", f"{np.quantile(depth, 0.99):.1e}"
        table.add_row(label, "all posts" if detail is None else f"{detail:g}", *shares, f"{(depth > 0.01).mean():.3%}")
    console.print(table)


def growth(dem: Dem, count: int) -> dict[str, dict[float | None, tuple[list[float], list[float]]]]:
    """CPU milliseconds of level views by distance, by resolution and by size of the terrain, by detail."""
    found: dict[str, dict[float | None, tuple[list[float], list[float]]]] = {}
    degrees = {times: Terrain.of(repeated_dem(dem, times)) for times in (1, 2, 3)}

    def add(name: str, detail: float | None, at: float, terrain: Terrain, reach: float, size: int) -> None:
        caster = RayCaster(terrain, max_distance=reach, detail=detail)
        caster.cast(cameras(terrain.layers[0], 1, size=16)[0])
        views = cameras(terrain.layers[0], count, size=size)
        xs, ys = found.setdefault(name, {}).setdefault(detail, ([], []))
        xs.append(at)
        ys.append(float(np.median([milliseconds(caster.cast, view) for view in views])))

    for detail in (None, DETAIL):
        for reach in (10, 25, 50, 100, 200):
            add("distance, km", detail, reach, degrees[3], 1000.0 * reach, SIZE)
        for size in (128, 256, 512, 1024):
            add("width, px", detail, size, degrees[1], REACH, size)
        for times, terrain in degrees.items():
            add("terrain, degrees", detail, times, terrain, REACH, SIZE)
    return found


def plot(found: dict[str, dict[float | None, tuple[list[float], list[float]]]], path: Path) -> None:
    """Draw the growth: one panel for each quantity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(11, 3.2), layout="constrained")
    for panel, (name, lines) in zip(panels, found.items(), strict=True):
        for detail, (xs, ys) in lines.items():
            panel.plot(xs, ys, "o-", label="all posts" if detail is None else f"detail {detail:g}")
        panel.set(xlabel=name, ylabel="CPU ms per level view", ylim=(0, None), xlim=(0, None))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def start_up(pitch: float) -> tuple[float, float]:
    """Wall seconds of a fresh process: imports, and a terrain of one degree with its first view."""
    code = FIRST_VIEW.replace("PITCH", str(pitch))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imports, first = (float(value) for value in result.stdout.split())
    return imports, first


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Print the machine and the tables, and draw the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=12, help="views per figure")
    parser.add_argument("--places", type=int, default=1, help="places at which pictures are compared with Embree's")
    parser.add_argument("--no-embree", action="store_true", help="leave Embree out (it needs 3 GB)")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/render_growth.png"))
    arguments = parser.parse_args()
    console = Console(width=120)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    console.print(f"{processor()}, {os.cpu_count()} cores, load average {load}")
    dem = fractal_dem(3601)
    start = time.process_time()
    terrain = Terrain.of(dem)
    console.print(f"terrain of 3601 x 3601 posts made ready in {time.process_time() - start:.2f} CPU s")
    with_embree = find_spec("embreex") is not None and not arguments.no_embree
    embree = embree_from_the_middle(dem) if with_embree else None
    poses(console, dem, RayCaster(terrain, max_distance=REACH, detail=DETAIL), arguments.views, embree)
    if with_embree:
        del embree
        accuracy(console, dem, arguments.places)
    found = growth(dem, arguments.views)
    for name, lines in found.items():
        table = Table(name, *(f"{x:g}" for x in next(iter(lines.values()))[0]), title="CPU ms per level view")
        for detail, (_, ys) in lines.items():
            table.add_row("all posts" if detail is None else f"detail {detail:g}", *(f"{y:.1f}" for y in ys))
        console.print(table)
    plot(found, arguments.plot)
    for label, pitch in (("level", 0.0), ("pitched", 0.1)):
        imports, first = start_up(pitch)
        console.print(f"fresh process: imports {imports:.2f} s, terrain and first {label} view {first:.2f} s")
    console.print(f"peak memory of this run {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
