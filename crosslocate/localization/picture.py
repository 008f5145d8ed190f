"""The answer as one picture: the photograph, a relief map of the candidate places, and the views that led to them."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog
from crosslocate.data.colours import DEPTHS, FARTHEST, NEAREST, depth_colours
from crosslocate.data.images import Image, decode
from crosslocate.data.images import modality as kind_of
from crosslocate.localization.answer import Answer, Candidate
from crosslocate.localization.relief_map import BEST, INK, OTHER, PAPER, TRUTH, draw_map
from crosslocate.localization.report import heading_text, metres_text
from crosslocate.localization.window import window_around
from crosslocate.terrain.elevation.terrain import Elevation

PANELS = 5
"""How many candidates are shown with their view; the map shows all of them."""
WIDTH, HEIGHT, DPI = 15.0, 9.75, 110
EDGE, GAP = 0.3, 0.22
PHOTO_WIDTH, ROW, BOTTOM = 7.6, 5.7, 3.1
MUTED, RIGHT = "#5b6b75", "#2a7f4f"
NEAR_TRUTH = 100.0
"""Metres within which a candidate is marked as the right place."""


def draw_answer(path: Path, answer: Answer, database: Catalog, modality: str, dem: Elevation | None) -> Path:
    """Draw an answer into a PNG file; returns its path.

    Args:
        path: File to write.
        answer: What to draw.
        database: Catalog that the candidates' rows index.
        modality: Which images of the database to show.
        dem: Terrain for the map's relief; None leaves the map plain.

    Raises:
        DataError: An image of a view cannot be read.
    """
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "text.color": INK}):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(figure)
        _draw_heading(figure, answer)
        _draw_photo(_axes(figure, EDGE, BOTTOM, PHOTO_WIDTH, ROW), answer)
        map_width = WIDTH - 2 * EDGE - PHOTO_WIDTH - GAP
        _draw_places(_axes(figure, EDGE + PHOTO_WIDTH + GAP, BOTTOM, map_width, ROW), answer, map_width / ROW, dem)
        _draw_views(figure, answer, database, modality)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return path


def as_rgb(image: Image, modality: str) -> NDArray[Any]:
    """An image of any modality as colours: depth by distance with a white sky, outlines as dark lines on white."""
    if kind_of(modality).metric:
        return depth_colours(image)
    if modality in ("silhouettes", "edges"):
        return np.repeat(255 - np.asarray(image, np.uint8)[..., None], 3, axis=-1)
    return image


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner."""
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def _draw_heading(figure: Figure, answer: Answer) -> None:
    best, left, top = answer.best, EDGE / WIDTH, 1.0 - 0.28 / HEIGHT
    where = f"{_coordinate(best.pose.latitude, 'N', 'S')}, {_coordinate(best.pose.longitude, 'E', 'W')}"
    title = f"Best answer: {where}, {best.pose.elevation:.0f} m, looking {heading_text(best.pose.heading)}"
    figure.text(left, top, title, fontsize=19, fontweight="bold", va="top")
    found = f"{answer.searched:,} views searched; "
    found += f"{best.share:.0%} of the weight of the {answer.retrieved} nearest supports this place"
    if best.from_truth is not None and best.heading_error is not None:
        found += f". Truth: {metres_text(best.from_truth)} away, heading {math.degrees(best.heading_error):.0f}° off"
    figure.text(left, top - 0.42 / HEIGHT, found, fontsize=11.5, color=MUTED, va="top")


def _draw_photo(axes: Axes, answer: Answer) -> None:
    photo = answer.photo
    read_as = "photo" if "photo" in photo.files else next(iter(photo.files))
    kind = kind_of(read_as).files
    image = decode(photo.files[read_as], kind)
    _show(axes, as_rgb(image, kind))
    height, width = image.shape[:2]
    facts = f"{photo.name}, {width} × {height} px, {math.degrees(photo.horizontal_fov):.0f}° wide ({photo.fov_source})"
    axes.text(
        0.012, 0.982, facts, transform=axes.transAxes, va="top", fontsize=10.5, color=PAPER,
        bbox={"facecolor": INK, "alpha": 0.72, "linewidth": 0, "boxstyle": "round,pad=0.35"},
    )  # fmt: skip


def _draw_places(axes: Axes, answer: Answer, aspect: float, dem: Elevation | None) -> None:
    poses = [candidate.pose for candidate in answer.candidates]
    poses += [answer.photo.truth] if answer.photo.truth is not None else []
    window = window_around([pose.longitude for pose in poses], [pose.latitude for pose in poses], aspect, dem)
    draw_map(axes, answer, window, dem)
    marker: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 10, "markeredgecolor": PAPER}
    entries = [Line2D([], [], **marker, color=BEST, label="best place")]
    if len(answer.candidates) > 1:
        entries.append(Line2D([], [], **marker, color=OTHER, label="other candidates"))
    if answer.photo.truth is not None:
        ring = marker | {"markeredgecolor": TRUTH, "markeredgewidth": 1.8, "markersize": 12, "markerfacecolor": "none"}
        entries.append(Line2D([], [], **ring, label="truth"))
    legend = axes.legend(
        handles=entries, loc="upper left", fontsize=9.5, framealpha=0.85, edgecolor="none", handletextpad=0.3
    )
    legend.set_zorder(10)


def _draw_views(figure: Figure, answer: Answer, database: Catalog, shown: str) -> None:
    width = (WIDTH - 2 * EDGE - (PANELS - 1) * GAP) / PANELS
    title = "What the database shows there" + (", coloured by distance:" if kind_of(shown).metric else "")
    figure.text(EDGE / WIDTH, 2.79 / HEIGHT, title, fontsize=11.5, color=MUTED, va="center")
    if kind_of(shown).metric:
        _draw_depth_scale(_axes(figure, EDGE + 4.75, 2.77, 2.85, 0.1))
    for column, candidate in enumerate(answer.candidates[:PANELS]):
        axes = _axes(figure, EDGE + column * (width + GAP), 0.48, width, 0.75 * width)
        _show(axes, as_rgb(decode(database.image_path(shown, candidate.row), shown), shown))
        _label_view(axes, candidate)


def _label_view(axes: Axes, candidate: Candidate) -> None:
    best = candidate.rank == 1
    colour = BEST if best else OTHER
    for side in axes.spines.values():
        side.set(color=colour, linewidth=3.0 if best else 1.5)
    axes.text(
        0.035, 0.955, str(candidate.rank), transform=axes.transAxes, fontsize=12, fontweight="bold", color=PAPER,
        va="top", bbox={"facecolor": colour, "linewidth": 0, "boxstyle": "round,pad=0.3"},
    )  # fmt: skip
    note, shade = _note(candidate)
    heading = heading_text(candidate.view_heading)
    axes.text(0.0, -0.035, heading, transform=axes.transAxes, fontsize=11, va="top", fontweight="bold")
    axes.text(1.0, -0.035, note, transform=axes.transAxes, fontsize=10, va="top", ha="right", color=shade)


def _note(candidate: Candidate) -> tuple[str, str]:
    """What is said about a view beside its heading, and in which colour."""
    share = f"{candidate.share:.0%}"
    if candidate.from_truth is not None:
        right = candidate.from_truth <= NEAR_TRUTH
        return f"{share}, {metres_text(candidate.from_truth)} from truth", RIGHT if right else MUTED
    return (share if candidate.rank == 1 else f"{share}, {metres_text(candidate.from_best)} from best"), MUTED


def _draw_depth_scale(axes: Axes) -> None:
    bar = axes.figure.colorbar(ScalarMappable(LogNorm(NEAREST, FARTHEST), DEPTHS), cax=axes, orientation="horizontal")
    bar.set_ticks([NEAREST, 100.0, 1000.0, 10_000.0, FARTHEST], labels=["20 m", "100 m", "1 km", "10 km", "30 km"])
    bar.ax.minorticks_off()
    bar.ax.tick_params(length=2, pad=2, color=MUTED, labelsize=8.5, labelcolor=MUTED)
    bar.outline.set_visible(False)


def _show(axes: Axes, image: NDArray[Any]) -> None:
    enlarged = axes.bbox.width > image.shape[1]
    axes.imshow(image, interpolation="bicubic" if enlarged else "antialiased", aspect="equal")
    axes.set(anchor="NW", xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(color=INK, linewidth=0.8)


def _coordinate(degrees: float, positive: str, negative: str) -> str:
    return f"{abs(degrees):.4f}° {positive if degrees >= 0 else negative}"
