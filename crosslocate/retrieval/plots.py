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
CHANCE = (0, (1, 2))
"""Line style of chance levels."""
MARKED: dict[str, Any] = {"linewidth": 1.9, "marker": "o", "markersize": 3.5}
TITLE: dict[str, Any] = {"x": 0.01, "ha": "left", "color": INK, "fontsize": 13, "weight": "bold"}
LABEL_GAP = 0.042
"""Least distance of two labels at the end of lines, as a share of the axis."""


def plot_recall_curves(results: Mapping[str, Results], path: str | Path) -> None:
    """Recall over distance, without and with orientation, chance dotted.

    Args:
        results: Results by the name of what was evaluated, the main one first; same criteria.
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
                    axes.plot(distance, line["chance"], color=colour, linestyle=CHANCE, linewidth=1.1)
                    ends.append((line["recall"][-1], f"@{line['number']}", colour))
        _dress(axes, title)
        axes.set_xlabel("distance of the nearest view found (m)")
        axes.set_xlim(0, main["curve"]["distance_m"][-1])
        _label_ends(axes, ends)
    panels[0].set_ylabel("queries localized")
    splits = {result["split"] for result in results.values()}
    _key(figure, [*results, "chance" if len(splits) == 1 else f"chance, {main['split']}"])
    figure.suptitle(_headline("Recall over distance", list(results.values())), **TITLE)
    save(figure, path)


def plot_history(
    history: Sequence[Mapping[str, float]],
    path: str | Path,
    *,
    numbers: Sequence[int],
    distances: Sequence[float],
    heading: float,
    splits: Sequence[str] = ("val",),
) -> None:
    """Recall by epoch of training at every distance, without and with orientation, chance dotted.

    Args:
        history: Metrics of every validation with "epoch", as kept by the recall callback; of each split only the epochs
            at which it was measured are drawn.
        path: PNG file.
        numbers: N of the recalls to draw.
        distances: Their distances in metres, one column each.
        heading: Heading limit in degrees of the second row.
        splits: Splits, the main one first: it is drawn solid, labelled, and with its chance.
    """
    figure = Figure(figsize=(2.4 + 3.5 * len(distances), 6.6), layout="constrained")
    panels = figure.subplots(2, len(distances), sharex=True, sharey=True, squeeze=False)
    for row, limit in zip(panels, (None, heading), strict=True):
        for axes, distance in zip(row, distances, strict=True):
            ends: list[tuple[float, str, str]] = []
            for colour, number in zip(_colours(len(numbers)), numbers, strict=True):
                names = {kind: metric_name(number, distance, limit, kind) for kind in ("recall", "chance")}
                for style, split in zip(_styles(len(splits)), splits, strict=True):
                    epochs, recall = _series(history, f"{split}/{names['recall']}")
                    axes.plot(epochs, recall, color=colour, linestyle=style, **MARKED)
                    if split == splits[0] and recall:
                        ends.append((recall[-1], f"@{number}", colour))
                axes.plot(
                    *_series(history, f"{splits[0]}/{names['chance']}"), color=colour, linestyle=CHANCE, linewidth=1.1
                )
            _dress(axes, f"within {distance:g} m" + ("" if limit is None else f" and {heading:g}°"))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _label_ends(axes, ends, tall=False)
        row[0].set_ylabel("queries localized")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    _key(figure, [*splits, "chance" if len(splits) == 1 else f"chance, {splits[0]}"])
    figure.suptitle("Recall by epoch", **TITLE)
    save(figure, path)


def plot_epoch_losses(history: Sequence[Mapping[str, float]], path: str | Path) -> None:
    """Mean loss by epoch, of training and of validation where there is one.

    Args:
        history: Entries with "epoch", and "train/loss", "val/loss" or both.
        path: PNG file.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, str, str]] = []
    for colour, style, split in zip(_colours(2), _styles(2), ("train", "val"), strict=True):
        epochs, losses = _series(history, f"{split}/loss")
        if losses:
            axes.plot(epochs, losses, color=colour, linestyle=style, **MARKED)
            ends.append((losses[-1], split, colour))
    _frame(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    gap = LABEL_GAP * float(np.ptp(axes.get_ylim()))
    for height, text, colour in _spread(
        [(value, f"{split}  {value:.3g}", c) for value, split, c in ends], gap, axes.get_ylim()[1]
    ):
        _label(axes, height, text, colour)
    figure.suptitle("Loss by epoch", **TITLE)
    save(figure, path)


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
    figure.suptitle(title, **TITLE)
    save(figure, path)


def _headline(what: str, results: Sequence[Results]) -> str:
    """What is drawn, and of which splits."""
    sizes = {r["split"]: f"{r['split']}, {r['queries']:,} queries in {r['views']:,} views" for r in results}
    if len(sizes) == 1:
        return f"{what} · {next(iter(sizes.values()))}"
    short = (f"{r['split']} {r['queries']:,} in {r['views']:,}" for r in {r["split"]: r for r in results}.values())
    return f"{what}\nqueries in views: {', '.join(short)}"


def _series(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Epochs, from 1, and values of what was measured at them."""
    entries = [entry for entry in history if name in entry]
    return [entry["epoch"] + 1 for entry in entries], [entry[name] for entry in entries]


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


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, Any]], *, tall: bool = True) -> None:
    """Write names and percentages behind the ends of lines; panels that are not tall need more room for each."""
    named = [(value, f"{text}  {100 * value:.0f}%", colour) for value, text, colour in ends]
    for height, text, colour in _spread(named, LABEL_GAP if tall else 1.9 * LABEL_GAP, 1.0):
        _label(axes, height, text, colour)


def _spread(ends: Sequence[tuple[float, str, Any]], gap: float, top: float) -> list[tuple[float, str, Any]]:
    """Labels pushed apart where they would overlap, upwards but not above ``top``; lowest first."""
    spread: list[tuple[float, str, Any]] = []
    for value, text, colour in sorted(ends, key=lambda end: end[0]):
        spread.append((max(value, spread[-1][0] + gap) if spread else value, text, colour))
    for i in reversed(range(len(spread))):
        top = min(top, spread[i][0])
        spread[i] = (top, *spread[i][1:])
        top -= gap
    return spread


def _label(axes: Axes, height: float, text: str, colour: Any) -> None:
    place: dict[str, Any] = {"xy": (1.01, height), "xycoords": ("axes fraction", "data"), "annotation_clip": False}
    axes.annotate(text, **place, color=colour, va="center", fontsize=9)


def _key(figure: Figure, names: Sequence[str]) -> None:
    """One legend for the line styles; colours are labelled at the lines."""
    styles = [*_styles(len(names) - 1), CHANCE]
    handles = [Line2D([], [], color=INK, linestyle=style, linewidth=1.6) for style in styles]
    figure.legend(handles, names, loc="outside lower left", ncols=len(names), frameon=False, labelcolor=INK, fontsize=9)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, facecolor="white")
