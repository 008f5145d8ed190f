"""A map of the queries of a split: which of them were localized, and by how far the others were missed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from crosslocate.data.distance import Posed
from crosslocate.retrieval.matches import Matches
from crosslocate.retrieval.plots import FAINT, INK, MUTED, TITLE, save

HIT = "#0072b2"
MISSES = LinearSegmentedColormap.from_list("misses", ["#f6b73c", "#e4572e", "#7a1f3d"])
"""From a near miss to a far one: told from hits by their shape too, and from each other by lightness."""
VIEWS = "#b8c1cb"
RADIUS = 6_371_008.8
"""Mean radius of the Earth in metres."""
WIDTH = 7.0
"""Of the map, in inches."""
FLATTEST, STEEPEST = 0.5, 1.15
"""Height of the map as a share of its width."""
MARGIN = 0.2
"""Added to both, as a share of the longer: the scale bar has its place there."""
LEAST = 600.0
"""Metres that a map shows at least."""
CELLS = 400
"""Places of views that are told apart across the map."""
GOLDEN = np.pi * (3.0 - np.sqrt(5.0))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """What a map shows: metres east and north of a reference, kept within the frame.

    Args:
        longitude: Of the reference, degrees.
        latitude: Of the reference, degrees.
        centre: Middle of the map, metres east and north [2].
        size: Width and height, metres [2].
    """

    longitude: float
    latitude: float
    centre: Floats
    size: Floats

    @classmethod
    def around(cls, longitude: Floats, latitude: Floats) -> "Frame":
        """The frame of some places, in degrees [n], with a margin."""
        reference = cls(float(longitude[0]), float(np.median(latitude)), np.zeros(2), np.ones(2))
        metres = reference.project(longitude, latitude)
        low, high = metres.min(axis=0), metres.max(axis=0)
        width, height = np.maximum(high - low + MARGIN * (high - low).max(), LEAST)
        size = np.array([max(width, height / STEEPEST), max(height, FLATTEST * width)])
        return cls(reference.longitude, reference.latitude, (low + high) / 2, size)

    def project(self, longitude: Floats, latitude: Floats) -> Floats:
        """Metres east and north of the reference [n, 2]: an equirectangular map, true to scale at its latitude."""
        east = (np.asarray(longitude, np.float64) - self.longitude + 180.0) % 360.0 - 180.0
        north = np.asarray(latitude, np.float64) - self.latitude
        return np.radians(np.column_stack([east * np.cos(np.radians(self.latitude)), north])) * RADIUS

    def shown(self, metres: Floats) -> Floats:
        """The places that are on the map, each cell of a fine grid once [m, 2]."""
        cells = np.round((metres - self.centre) / (self.size.max() / CELLS)).astype(np.int64)
        inside = (np.abs(metres - self.centre) <= self.size / 2).all(axis=1)
        _, first = np.unique(cells[inside], axis=0, return_index=True)
        return metres[inside][first]


def plot_hit_map(
    matches: Matches, queries: Posed, database: Posed, path: str | Path, *, split: str, distance: float, heading: float
) -> None:
    """Draw the queries of a split where they are: localized, at the right place but turned, or missed by how far.

    North is up. Queries of one place are drawn around it, so that all can be seen.

    Args:
        matches: First neighbours of the queries.
        queries: Where queries are.
        database: Where views are.
        path: PNG file.
        split: Its name, for the title.
        distance: Metres within which a query is localized.
        heading: Degrees within which the heading has to fit.
    """
    places = queries.longitude[matches.query_rows], queries.latitude[matches.query_rows]
    frame = Frame.around(*places)
    height = WIDTH * float(frame.size[1] / frame.size[0])
    figure = Figure(figsize=(WIDTH + 1.5, height + 1.35))
    total = figure.get_size_inches()
    axes = figure.add_axes((0.25 / total[0], 0.75 / total[1], WIDTH / total[0], height / total[1]))
    marker = float(np.clip(9.0 - 1.5 * np.log10(max(len(matches), 1)), 3.0, 7.5))
    _draw_views(axes, frame, database)
    where = spread(frame.project(*places), marker * 1.15 / 72.0 / WIDTH * float(frame.size[0]))
    coloured = _draw_queries(axes, where, matches, distance, marker)
    _dress(axes, frame)
    if coloured is not None:
        bar = figure.add_axes(((0.25 + WIDTH + 0.18) / total[0], 0.75 / total[1], 0.16 / total[0], height / total[1]))
        _draw_bar(figure, coloured, bar)
    legend = figure.legend(
        *axes.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.15 / total[0], 0.12 / total[1]),
        ncols=4, frameon=False, fontsize=9, labelcolor=INK, handletextpad=0.3, columnspacing=1.4,
    )  # fmt: skip
    legend.legend_handles[0].set_sizes([20.0])  # type: ignore[union-attr]
    found, count = int(matches.localized.sum()), len(matches)
    title = f"Hits and misses · {split}, {found:,} of {count:,} queries within {distance:g} m and {heading:g}°"
    figure.suptitle(title, **{**TITLE, "x": 0.25 / total[0], "y": 1 - 0.16 / total[1], "va": "top"})
    save(figure, path)


def spread(places: Floats, step: float) -> Floats:
    """Places moved apart where several are the same: around it, like the seeds of a sunflower.

    Args:
        places: Metres [n, 2].
        step: About the distance of neighbours, metres.
    """
    _, group, counts = np.unique(
        np.round(places / max(step / 2, 1e-9)).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    rank = np.empty(len(places), np.int64)
    rank[order] = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    radius = np.where(counts[group] > 1, 0.62 * step * np.sqrt(rank + 0.5), 0.0)
    return places + radius[:, None] * np.column_stack([np.sin(rank * GOLDEN), np.cos(rank * GOLDEN)])


def _draw_views(axes: Axes, frame: Frame, database: Posed) -> None:
    places = frame.shown(frame.project(database.longitude, database.latitude))
    size = float(np.clip(6000.0 / max(len(places), 1), 1.5, 26.0))
    axes.scatter(places[:, 0], places[:, 1], s=size, c=VIEWS, linewidths=0, alpha=0.75, label="views", zorder=1)


def _draw_queries(axes: Axes, where: Floats, matches: Matches, distance: float, marker: float) -> Any:
    """Draw the queries; gives the missed ones, for their colour bar, None where there are none."""
    off = matches.metres[:, 0]
    turned = ~matches.localized & (off <= distance)
    missed = ~matches.localized & ~turned
    coloured = None
    if missed.any():
        low, high = max(distance, 1.0), max(float(off[missed].max()), 10 * max(distance, 1.0))
        coloured = axes.scatter(
            where[missed, 0], where[missed, 1], s=1.5 * marker**2, c=off[missed], norm=LogNorm(low, high), cmap=MISSES,
            marker="X", edgecolors="white", linewidths=0.5, label=f"missed ({missed.sum():,})", zorder=5,
        )  # fmt: skip
    kinds = (
        (turned, "white", HIT, f"right place, wrong heading ({turned.sum():,})"),
        (matches.localized, HIT, "white", f"localized ({matches.localized.sum():,})"),
    )
    for chosen, fill, edge, label in kinds:
        if chosen.any():
            width = 0.6 if fill == HIT else 1.3
            axes.scatter(
                where[chosen, 0],
                where[chosen, 1],
                s=marker**2,
                c=fill,
                edgecolors=edge,
                linewidths=width,
                label=label,
                zorder=4,
            )
    return coloured


def _dress(axes: Axes, frame: Frame) -> None:
    """Limits, scale bar and the direction of north."""
    (left, low), (right, high) = frame.centre - frame.size / 2, frame.centre + frame.size / 2
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#fafbfc")
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    width = float(frame.size[0])
    length = round_length(width / 5)
    start, base = left + 0.03 * width, low + 0.035 * width
    tick = 0.006 * width
    axes.plot(
        [start, start, start + length, start + length], [base + tick, base, base, base + tick], color=INK,
        linewidth=1.4, solid_capstyle="butt", zorder=6,
    )  # fmt: skip
    paper: dict[str, Any] = {"facecolor": "#fafbfc", "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
    axes.text(
        start + length / 2, base + 1.6 * tick, metres_text(length), ha="center", va="bottom", fontsize=9, color=INK,
        bbox=paper, zorder=6,
    )  # fmt: skip
    x, top = right - 0.04 * width, high - 0.03 * width
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "mutation_scale": 13}
    axes.annotate("", xy=(x, top), xytext=(x, top - 0.075 * width), arrowprops=arrow, zorder=6)
    axes.text(x, top - 0.08 * width, "N", ha="center", va="top", fontsize=10, weight="bold", color=INK, zorder=6)


def _draw_bar(figure: Figure, coloured: Any, axes: Axes) -> None:
    bar = figure.colorbar(coloured, cax=axes)
    bar.outline.set_visible(False)
    bar.set_label("first answer off by", color=INK, fontsize=9)
    bar.ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if _decades(coloured) < 2.5 else (1.0,)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: metres_text(value)))
    bar.ax.tick_params(colors=MUTED, length=0, labelsize=9)


def _decades(coloured: Any) -> float:
    return float(np.log10(coloured.norm.vmax / coloured.norm.vmin))


def round_length(metres: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= metres * (1 + 1e-9)))


def metres_text(metres: float) -> str:
    """A length for reading: ``200 m``, ``5 km``."""
    return f"{metres:g} m" if metres < 1000 else f"{metres / 1000:,.10g} km"
