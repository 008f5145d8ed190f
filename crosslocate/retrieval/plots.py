"""Pictures of an evaluation and of a training, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from crosslocate.retrieval.results import Results, metric_name

INK, MUTED, FAINT = "#1f2933", "#7b8794", "#e4e7eb"
DPI = 150
LINE_STYLES = ("-", (0, (5, 2)), (0, (3, 2, 1, 2)))
"""Of the first network, the second, and any others."""
LABEL_GAP = 0.042
"""Least distance of two labels at the end of lines, as a share of the axis."""


def plot_recall_curves(results: Mapping[str, Results], path: str | Path) -> None:
    """Recall over distance, without and with orientation, chance dotted.

    Args:
        results: Results by the name of what was evaluated, the main one first; same split, same criteria.
        path: PNG file.
    """
    main = next(iter(results.values()))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("at any heading", f"heading within {main['heading_deg']:g}°")
    for axes, heading, title in zip(panels, (None, main["heading_deg"]), titles, strict=True):
        ends: list[tuple[float, str, str]] = []
        for style, result in zip(_styles(len(results)), results.values(), strict=True):
            lines = [line for line in result["curve"]["lines"] if line["heading_deg"] == heading]
            for colour, line in zip(_colours(len(lines)), lines, strict=True):
                distance = result["curve"]["distance_m"]
                axes.plot(distance, line["recall"], color=colour, linestyle=style, linewidth=1.9)
                if result is main:
                    axes.plot(distance, line["chance"], color=colour, linestyle=(0, (1, 2)), linewidth=1.1)
                    ends.append((line["recall"][-1], f"@{line['number']}", colour))
        _dress(axes, title)
        axes.set_xlabel("distance of the nearest view found (m)")
        axes.set_xlim(0, main["curve"]["distance_m"][-1])
        _label_ends(axes, ends)
    panels[0].set_ylabel("queries localized")
    _key(figure, [*results, "chance"])
    figure.suptitle(_headline("Recall over distance", main), x=0.01, ha="left", color=INK, fontsize=13, weight="bold")
    _save(figure, path)


def plot_history(
    history: Sequence[Mapping[str, float]],
    path: str | Path,
    *,
    numbers: Sequence[int],
    distance: float,
    heading: float,
    split: str = "val",
) -> None:
    """Recall by epoch of training, without and with orientation, chance dotted.

    Args:
        history: Metrics of every validation with "epoch", as kept by the recall callback.
        path: PNG file.
        numbers: N of the recalls to draw.
        distance: Their distance in metres.
        heading: Heading limit in degrees of the right panel.
        split: Which split's metrics to draw.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    epochs = [entry["epoch"] + 1 for entry in history]
    for axes, limit, title in zip(
        panels, (None, heading), ("at any heading", f"heading within {heading:g}°"), strict=True
    ):
        ends: list[tuple[float, str, str]] = []
        for colour, number in zip(_colours(len(numbers)), numbers, strict=True):
            recall, chance = (
                [entry[f"{split}/{metric_name(number, distance, limit, kind)}"] for entry in history]
                for kind in ("recall", "chance")
            )
            axes.plot(epochs, recall, color=colour, linewidth=1.9, marker="o", markersize=3.5)
            axes.plot(epochs, chance, color=colour, linestyle=(0, (1, 2)), linewidth=1.1)
            if recall:
                ends.append((recall[-1], f"@{number}", colour))
        _dress(axes, title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label_ends(axes, ends)
    panels[0].set_ylabel("queries localized")
    _key(figure, [split, "chance"])
    title = f"Recall within {distance:g} m by epoch"
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, weight="bold")
    _save(figure, path)


def plot_loss(steps: ArrayLike, losses: ArrayLike, path: str | Path, *, title: str = "Training loss") -> None:
    """Loss by optimizer step: every value faint, a running mean on top.

    Args:
        steps: Steps, ascending, [n].
        losses: Loss at each, [n].
        path: PNG file.
        title: Above the plot.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(losses, np.float64)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    colour = _colours(1)[0]
    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3 if len(y) > 1 else 1.0, marker="o" if len(y) == 1 else "")
    width = max(1, len(y) // 25)
    if width > 1:
        smooth = np.convolve(y, np.full(width, 1.0 / width), mode="valid")
        middle = (width - 1) // 2
        axes.plot(x[middle : middle + len(smooth)], smooth, color=colour, linewidth=2.0)
        axes.text(0.99, 0.96, f"line: mean of {width}", transform=axes.transAxes, ha="right", va="top", color=MUTED)
    _frame(axes)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=min(0.0, float(y.min())) if len(y) else 0.0)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, weight="bold")
    _save(figure, path)


def _headline(what: str, results: Results) -> str:
    return f"{what} · {results['split']}, {results['queries']:,} queries in {results['views']:,} views"


def _colours(count: int) -> list[Any]:
    """Dark to light, told apart by lightness too."""
    return (
        [colormaps["viridis"](x) for x in np.linspace(0.05, 0.78, count)] if count > 1 else [colormaps["viridis"](0.25)]
    )


def _styles(count: int) -> list[Any]:
    return [LINE_STYLES[min(n, len(LINE_STYLES) - 1)] for n in range(count)]


def _frame(axes: Axes) -> None:
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def _dress(axes: Axes, title: str) -> None:
    _frame(axes)
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_ylim(0, 1.01)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, Any]]) -> None:
    """Write labels behind the ends of lines, pushed apart where they would overlap."""
    lowest = -1.0
    for value, text, colour in sorted(ends, key=lambda end: end[0]):
        lowest = max(value, lowest + LABEL_GAP)
        axes.annotate(
            f"{text}  {100 * value:.0f}%",
            xy=(1.01, lowest),
            xycoords=("axes fraction", "data"),
            color=colour,
            va="center",
            fontsize=9,
            annotation_clip=False,
        )


def _key(figure: Figure, names: Sequence[str]) -> None:
    """One legend for the line styles; colours are labelled at the lines."""
    styles = [*_styles(len(names) - 1), (0, (1, 2))]
    handles = [Line2D([], [], color=INK, linestyle=style, linewidth=1.6) for style in styles]
    figure.legend(handles, names, loc="outside lower left", ncols=len(names), frameon=False, labelcolor=INK, fontsize=9)


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, facecolor="white")
