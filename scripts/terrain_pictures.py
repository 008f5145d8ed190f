"""Pictures of everything that is rendered of a view, as docs/terrain.md shows them.

Usage: ``python scripts/terrain_pictures.py <tiles> <folder> --latitude 45.93 --longitude 6.62 [--heading 112 ...]``
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.tiles import open_terrain
from crosslocate.terrain.imagery.photo_settings import PhotoSettings
from crosslocate.terrain.job.scene import Scene, World

PHOTOS = {
    "summer": PhotoSettings(date="2024-07-20", time="10:30", weather="fair"),
    "spring": PhotoSettings(date="2024-05-05", time="15:30", weather="clear"),
    "autumn": PhotoSettings(date="2024-10-12", time="16:10", weather="clear"),
    "winter": PhotoSettings(date="2024-02-10", time="14:30", weather="clear"),
    "overcast": PhotoSettings(season="summer", weather="overcast"),
    "mist": PhotoSettings(season="summer", weather="misty"),
}
"""Name, and what is asked for."""

SEED = 212
SKY = (250, 250, 250)


def main() -> None:
    """Render and write all pictures."""
    arguments = _arguments()
    terrain = open_terrain(arguments.tiles)
    caster = RayCaster(terrain, max_distance=arguments.max_distance)
    ground = float(terrain.elevation_at(arguments.longitude, arguments.latitude))
    camera = Camera(
        arguments.longitude,
        arguments.latitude,
        ground + arguments.height,
        math.radians(arguments.heading),
        math.radians(arguments.pitch),
        0.0,
        math.radians(arguments.field_of_view),
        arguments.width,
        arguments.rows,
    )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, image in _pictures(caster, camera):
        path = arguments.folder / f"terrain_{name}.png"
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _pictures(caster: RayCaster, camera: Camera) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and RGB image of every picture."""
    scene = Scene(World(caster, depth_type="float"), camera, "view")
    metres = scene.arrays("depth")
    scale = LogNorm(float(metres[metres > 0].min()), float(metres.max()))
    for name in ("depth", "axial_depth"):
        yield name, _coloured(scene.arrays(name), metres > 0, scale, "viridis_r", "metres")
    yield "silhouettes", _gray(255 - scene.arrays("silhouettes"))
    yield "edges", _gray(255 - scene.arrays("edges"))
    yield "segments", scene.arrays("segments")
    yield "normals", scene.arrays("normals")
    yield "coordinates", _map_of(scene.arrays("coordinates"))
    for name, settings in PHOTOS.items():
        yield f"photo_{name}", Scene(World(caster, photo=settings, seed=SEED), camera, name).arrays("photo")


def _map_of(positions: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Elevation in colours, with lines of equal longitude and latitude every minute of arc."""
    height, seen = positions[..., 2], np.isfinite(positions[..., 2])
    minutes = np.floor(np.nan_to_num(positions[..., :2]) * 60).astype(int)
    lines = np.zeros(seen.shape, np.bool_)
    for k in range(2):
        lines[:, 1:] |= np.abs(np.diff(minutes[..., k], axis=1)) == 1
        lines[1:] |= np.abs(np.diff(minutes[..., k], axis=0)) == 1
    scale = Normalize(float(np.nanmin(height)), float(np.nanmax(height)))
    label = "metres above sea level; lines: minutes of arc"
    return _coloured(np.where(lines & seen, np.nan, height), seen, scale, "viridis", label)


def _coloured(
    values: NDArray[np.floating], seen: NDArray[np.bool_], scale: Normalize, palette: str, label: str
) -> NDArray[np.uint8]:
    """Values as colours with their scale below: NaN dark, sky pale."""
    colours = np.rint(255 * colormaps[palette](scale(np.nan_to_num(values)))[..., :3]).astype(np.uint8)
    colours[np.isnan(values)] = 30
    colours[~seen] = SKY
    return _with_scale(colours, scale, palette, label)


def _with_scale(image: NDArray[np.uint8], norm: Normalize, palette: str, label: str) -> NDArray[np.uint8]:
    """An image with a colour scale below it."""
    width = image.shape[1]
    figure = Figure(figsize=(width / 100, 0.5), dpi=100)
    canvas = FigureCanvasAgg(figure)
    bar = figure.colorbar(
        ScalarMappable(norm, palette), cax=figure.add_axes((0.04, 0.62, 0.5, 0.28)), orientation="horizontal"
    )
    bar.ax.tick_params(labelsize=8)
    figure.text(0.57, 0.62, label, fontsize=9)
    canvas.draw()
    scale = np.asarray(canvas.buffer_rgba())[..., :3]
    return np.vstack([image, scale[:, :width]])


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(image[..., None], 3, axis=-1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiles", help="elevation tiles: a file, a folder or a pattern")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--latitude", type=float, required=True, help="degrees")
    parser.add_argument("--longitude", type=float, required=True, help="degrees")
    parser.add_argument("--height", type=float, default=5.0, help="metres above the ground")
    parser.add_argument("--heading", type=float, default=0.0, help="degrees clockwise from north")
    parser.add_argument("--pitch", type=float, default=0.0, help="degrees, up positive")
    parser.add_argument("--field-of-view", type=float, default=60.0, help="degrees")
    parser.add_argument("--width", type=int, default=720, help="pixels")
    parser.add_argument("--rows", type=int, default=400, help="pixels")
    parser.add_argument("--max-distance", type=float, default=100_000.0, help="metres of sight")
    return parser.parse_args()


if __name__ == "__main__":
    main()
