"""A table of runs as a picture: bars with every measurement, or a map of cells."""

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from crosslocate.retrieval.plots import DPI, FAINT, INK, MUTED
from crosslocate.sweeps.settings import Setting, lower_is_better
from crosslocate.sweeps.table import Table
from crosslocate.sweeps.text import is_share, number, shown, unit

MOST_BARS = 30
"""Settings that are drawn: the best."""
BAR, BEST, OUTLINE = "#9fb3c8", "#2f7d6b", "#f08c00"
WIDEST_LABEL = 28
"""Letters of a line."""


def plot_table(table: Table, path: Path) -> None:
    """Draw a table: a map of cells where it has rows and columns, else a bar for every row or setting.

    Args:
        table: What was found.
        path: PNG file.
    """
    figure = _cells(table) if table.columns is not None else _bars(table)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, facecolor="white")


def _bars(table: Table) -> Figure:
    """One bar a row, or a setting: its mean, its standard deviation, and every measurement as a dot."""
    settings = _shown_settings(table)
    factor = 100.0 if is_share(table.metric) else 1.0
    figure = Figure(figsize=(8.0, 1.5 + 0.48 * len(settings)), layout="constrained")
    axes = figure.subplots()
    for height, setting in enumerate(settings):
        spread = table.spread(setting)
        axes.barh(height, factor * spread.mean, height=0.62, color=BEST if setting is table.best else BAR)
        deviation = factor * (spread.deviation or 0.0)
        if deviation:
            axes.errorbar(factor * spread.mean, height, xerr=deviation, color=INK, capsize=3, linewidth=1.1)
        values = [factor * value for value in spread.values]
        if len(values) > 1:
            dots: dict[str, Any] = {"facecolor": "white", "edgecolor": INK, "linewidth": 0.8, "zorder": 3}
            axes.scatter(values, [height] * len(values), s=14, **dots)
        end = max(factor * spread.mean + deviation, *values, 0.0)
        axes.annotate(
            shown(spread, table.metric), (end, height), xytext=(7, 0), textcoords="offset points", va="center",
            fontsize=9, color=INK, weight="bold" if setting is table.best else "normal",
        )  # fmt: skip
    axes.set_yticks(range(len(settings)), [_label(table, setting) for setting in settings])
    axes.invert_yaxis()
    axes.margins(x=0.16, y=0.02)
    _frame(axes)
    axes.set_xlabel(f"{table.metric}{unit(table.metric)}")
    if table.rows is not None:
        axes.set_ylabel(table.rows)
    _title(figure, axes, table, len(settings))
    return figure


def _cells(table: Table) -> Figure:
    """One field for a value of either key, coloured by the mean of its best setting."""
    rows, columns = table.row_values(), table.column_values()
    cells = [[table.cell(row, column) for column in columns] for row in rows]
    means = np.array([[np.nan if c is None else table.spread(c).mean for c in row] for row in cells])
    wide = max(1.4, 0.3 + 0.11 * max(len(line) for column in columns for line in _wrapped(column).split("\n")))
    figure = Figure(figsize=(2.6 + wide * len(columns), 1.9 + 0.8 * len(rows)), layout="constrained")
    axes = figure.subplots()
    name = "YlGnBu_r" if lower_is_better(table.metric) else "YlGnBu"
    colours = colormaps[name].with_extremes(bad="#f5f6f7")
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    scale = Normalize(low - 0.1 * (high - low or 1.0), high + 0.1 * (high - low or 1.0))
    axes.imshow(np.ma.masked_invalid(means), cmap=colours, norm=scale, aspect="auto")
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            dark = cell is not None and float(np.mean(colours(scale(means[y, x]))[:3])) < 0.55
            text = "no run" if cell is None else _cell_text(table, cell)
            weight = "bold" if cell is table.best else "normal"
            colour = "white" if dark else MUTED if cell is None else INK
            axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=9, weight=weight)
            if cell is table.best:
                axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor=OUTLINE, linewidth=2.6))
    axes.set_xticks(range(len(columns)), [_wrapped(column) for column in columns])
    axes.set_yticks(range(len(rows)), [_wrapped(row) for row in rows])
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=3)
    axes.tick_params(which="both", colors=INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(table.columns or "", color=INK)
    axes.set_ylabel(table.rows or "", color=INK)
    _title(figure, axes, table, len(table.settings))
    return figure


def _shown_settings(table: Table) -> list[Setting]:
    if table.rows is None:
        return table.settings[:MOST_BARS]
    return [cell for row in table.row_values() if (cell := table.cell(row, None)) is not None]


def _label(table: Table, setting: Setting) -> str:
    """What a bar stands for."""
    if table.rows is not None or len(table.factors) == 1:
        chosen = ", ".join(setting.values[key] for key in table.others()) if table.rows else ""
        name = setting.values[table.rows or table.factors[0]]
        return _wrapped(name) + (f"\n[{_wrapped(chosen)}]" if chosen else "")
    return _wrapped(", ".join(setting.values.values()) or "all runs")


def _wrapped(text: str) -> str:
    return fill(text, WIDEST_LABEL, break_long_words=len(text) > 2 * WIDEST_LABEL, break_on_hyphens=False)


def _cell_text(table: Table, cell: Setting) -> str:
    spread = table.spread(cell)
    lines = [number(spread.mean, table.metric)]
    if spread.deviation is not None:
        lines.append(f"± {number(spread.deviation, table.metric)}")
    others = ", ".join(cell.values[key] for key in table.others())
    return "\n".join([*lines, *([f"[{_wrapped(others)}]"] if others else [])])


def _title(figure: Figure, axes: Axes, table: Table, count: int) -> None:
    runs = [len(setting.runs) for setting in table.settings]
    few, many = min(runs), max(runs)
    seeds = "one seed each" if many == 1 else f"{few if few == many else f'{few} to {many}'} seeds each, mean ± s.d."
    some = f", the best {count}" if count < len(table.settings) and table.rows is None else ""
    others = f", the best of {', '.join(table.others())}" if table.rows is not None and table.others() else ""
    keys = "" if table.rows else f" by {', '.join(table.factors)}" if table.factors else ""
    figure.suptitle(
        fill(f"{table.metric}{unit(table.metric)}{others or keys}", 60), x=0.01, ha="left", color=INK, fontsize=12,
        weight="bold",
    )  # fmt: skip
    axes.set_title(f"{len(table.settings)} settings{some} · {seeds}", loc="left", color=MUTED, fontsize=9)


def _frame(axes: Axes) -> None:
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
