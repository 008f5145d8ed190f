"""A shaded-relief map with candidate places, where they look, and the truth when it is known."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LightSource, LinearSegmentedColormap
from matplotlib.patches import Polygon, Wedge
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from crosslocate.data.live import HEADER
from crosslocate.localization.answer import Answer, Candidate
from crosslocate.localization.photo import Pose
from crosslocate.localization.window import Window
from crosslocate.terrain.elevation.dem import embedded_dem
from crosslocate.terrain.elevation.prepared import load_terrain
from crosslocate.terrain.elevation.terrain import Elevation, Terrain
from crosslocate.terrain.elevation.tiles import open_terrain
from crosslocate.terrain.job.manifest import MANIFEST, read_manifest

Floats = NDArray[np.float64]

BEST, OTHER, TRUTH = "#e4572e", "#2f4858", "#111111"
INK, PAPER = "#1d2a33", "#ffffff"
HYPSOMETRIC = LinearSegmentedColormap.from_list(
    "hypsometric", ["#7fa58a", "#a9c29a", "#d6d7ac", "#e3cfa2", "#cdae8a", "#b89f8d", "#d3c8be", "#f0ebe5"]
)
PIXELS = 900
"""Columns of the relief image."""
LEGIBLE_SLOPE = 0.45
"""Heights are exaggerated until the steeper slopes of the window (90th percentile) are this steep in the shading."""


def find_terrain(root: Path, path: str | None, cache: Path | None = None) -> Elevation | None:
    """The terrain for the map of a data set.

    Args:
        root: Folder of the data set.
        path: Raster file, folder or pattern of tiles, or prepared terrain to take; None for the terrain of a data set
            without image files, or for the embedded tile, when the manifest says that the views show it.
        cache: Folder of prepared terrains; None reads all of the tiles into memory.

    Returns:
        The model; None when none is given and the data set shows other terrain.

    Raises:
        TerrainError: The file cannot be used, or the manifest is damaged.
    """
    if path is not None:
        return open_terrain(path, cache=cache)
    if (root / HEADER).is_file():
        return load_terrain(root / "terrain")
    if not (root / MANIFEST).is_file():
        return None
    tile = embedded_dem()
    return tile if read_manifest(root)["rendering"].get("terrain") == tile.fingerprint() else None


def draw_map(axes: Axes, answer: Answer, window: Window, dem: Elevation | None) -> None:
    """Draw the whole map of an answer into axes whose aspect ratio is that of the window."""
    axes.set(xlim=window.extent[:2], ylim=window.extent[2:], xticks=[], yticks=[], aspect="equal", facecolor="#eef1f2")
    for side in axes.spines.values():
        side.set(color=INK, linewidth=0.8)
    if dem is not None:
        _draw_relief(axes, window, dem)
    reach = 0.13 * window.height
    if answer.photo.truth is not None:
        _draw_truth(axes, window, answer.photo.truth, answer.photo.horizontal_fov, reach)
    for candidate in reversed(answer.candidates):
        _draw_candidate(axes, window, candidate, answer.photo.horizontal_fov, reach)
    _draw_scale_bar(axes, window)
    _draw_north(axes)


def relief_image(dem: Elevation, window: Window, columns: int = PIXELS) -> NDArray[np.float64]:
    """Shaded and tinted relief, RGBA [rows, columns, 4], row 0 in the north; transparent where unknown."""
    rows = max(2, round(columns * window.height / window.width))
    x = (np.arange(columns) + 0.5) / columns * window.width - window.width / 2
    y = window.height / 2 - (np.arange(rows) + 0.5) / rows * window.height
    elevation = dem.elevation_at(*window.to_degrees(*np.meshgrid(x, y)))
    known = np.isfinite(elevation)
    if not known.any():
        return np.zeros((rows, columns, 4))
    step = window.width / columns
    surface = gaussian_filter(_filled(elevation, known), 0.45 * post_spacing(dem, window) / step)
    slopes = np.hypot(*np.gradient(surface, step))[known]
    exaggeration = float(np.clip(LEGIBLE_SLOPE / max(np.percentile(slopes, 90), 1e-6), 1.0, 8.0))
    low, high = np.percentile(surface[known], [1, 99.5])
    shaded = LightSource(azdeg=315, altdeg=48).shade(
        surface, HYPSOMETRIC, blend_mode="soft", vmin=low, vmax=max(high, low + 1.0), vert_exag=exaggeration,
        dx=step, dy=step,
    )  # fmt: skip
    shaded[..., 3] = known
    return np.asarray(shaded, np.float64)


def post_spacing(dem: Elevation, window: Window) -> float:
    """Metres between the posts of an elevation model at the window's centre (the smaller of the two directions)."""
    if isinstance(dem, Terrain):
        dem = next((layer for layer in dem.layers if layer.contains(window.longitude, window.latitude)), dem.layers[0])
    column, row = dem.pixel_of(window.longitude, window.latitude)
    x, y = window.to_metres(*dem.position_of(column + np.array([0.0, 1.0, 0.0]), row + np.array([0.0, 0.0, 1.0])))
    return float(min(np.hypot(x[1] - x[0], y[1] - y[0]), np.hypot(x[2] - x[0], y[2] - y[0])))


def round_length(metres: float) -> float:
    """The largest of 1, 2 or 5 times a power of ten that is not longer than ``metres``."""
    power = 10.0 ** math.floor(math.log10(metres))
    return max(step * power for step in (1, 2, 5) if step * power <= metres)


def _filled(elevation: Floats, known: NDArray[np.bool_]) -> Floats:
    """Elevations with those of the nearest known pixel in the gaps, so that shading has no edges there."""
    if known.all():
        return elevation
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return elevation[tuple(nearest)]


def _draw_relief(axes: Axes, window: Window, dem: Elevation) -> None:
    axes.imshow(relief_image(dem, window), extent=window.extent, interpolation="bilinear", zorder=0)


def _draw_candidate(axes: Axes, window: Window, candidate: Candidate, fov: float, reach: float) -> None:
    x, y = (float(a) for a in window.to_metres(candidate.pose.longitude, candidate.pose.latitude))
    best = candidate.rank == 1
    colour, cones, markers = (BEST, 3, 7) if best else (OTHER, 2, 6)
    cone = _cone(x, y, candidate.pose.heading, fov, reach * (1.0 if best else 0.8))
    axes.add_patch(Wedge(*cone, facecolor=colour, alpha=0.5 if best else 0.35, linewidth=0, zorder=cones))
    axes.add_patch(Wedge(*cone, facecolor="none", edgecolor=PAPER, linewidth=1.0, zorder=cones))
    size = 17 if best else 13.5
    axes.plot(x, y, "o", ms=size, color=colour, markeredgecolor=PAPER, markeredgewidth=1.4, zorder=markers)
    axes.text(
        x, y, str(candidate.rank), color=PAPER, ha="center", va="center_baseline", fontsize=10.5 if best else 8.5,
        fontweight="bold", zorder=markers,
    )  # fmt: skip


def _draw_truth(axes: Axes, window: Window, truth: Pose, fov: float, reach: float) -> None:
    x, y = (float(a) for a in window.to_metres(truth.longitude, truth.latitude))
    cone = _cone(x, y, truth.heading, fov, 1.25 * reach)
    axes.add_patch(Wedge(*cone, facecolor=PAPER, alpha=0.35, linewidth=0, zorder=1))
    axes.add_patch(Wedge(*cone, facecolor="none", edgecolor=TRUTH, linewidth=1.5, linestyle=(0, (4, 2)), zorder=4))
    axes.plot(x, y, "o", markersize=25, markerfacecolor="none", markeredgecolor=PAPER, markeredgewidth=4.5, zorder=5)
    axes.plot(x, y, "o", markersize=25, markerfacecolor="none", markeredgecolor=TRUTH, markeredgewidth=2.0, zorder=5)


def _cone(x: float, y: float, heading: float, fov: float, reach: float) -> tuple[Any, float, float, float]:
    """Centre, radius and the two angles (degrees counter-clockwise from east) of what a camera sees on a map."""
    middle = 90.0 - math.degrees(heading)
    return (x, y), reach, middle - math.degrees(fov) / 2, middle + math.degrees(fov) / 2


def _draw_scale_bar(axes: Axes, window: Window) -> None:
    length = round_length(0.3 * window.width)
    west, _, south, _ = window.extent
    x, y = west + 0.045 * window.width, south + 0.05 * window.height
    thickness = 0.011 * window.height
    for part, colour in enumerate((INK, PAPER, INK, PAPER)):
        corners = _rectangle(x + part * length / 4, y, length / 4, thickness)
        axes.add_patch(Polygon(corners, facecolor=colour, edgecolor=INK, linewidth=0.8, zorder=9))
    for offset, label in ((0.0, "0"), (length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m")):
        axes.text(
            x + offset, y + 1.7 * thickness, label, ha="center", va="bottom", fontsize=9.5, color=INK, zorder=9,
            path_effects=[_halo()],
        )  # fmt: skip


def _draw_north(axes: Axes) -> None:
    arrow = {"arrowstyle": "-|>,head_width=0.35,head_length=0.6", "color": INK, "linewidth": 1.6}
    axes.annotate(
        "N", xy=(0.955, 0.965), xytext=(0.955, 0.875), xycoords="axes fraction", textcoords="axes fraction",
        ha="center", va="center", fontsize=12, fontweight="bold", color=INK, zorder=9, path_effects=[_halo()],
        arrowprops=arrow | {"path_effects": [_halo()]},
    )  # fmt: skip


def _rectangle(x: float, y: float, width: float, height: float) -> Sequence[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _halo() -> Any:
    return patheffects.withStroke(linewidth=2.5, foreground=PAPER)
