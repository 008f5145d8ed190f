"""A table of runs as text: for a terminal, as Markdown, and as CSV."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crosslocate.sweeps.runs import Run, printable
from crosslocate.sweeps.settings import Setting, Spread, find_differing, value_of
from crosslocate.sweeps.table import Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Rows = list[list[str]]


def is_share(metric: str) -> bool:
    """Whether a metric is shown in percent."""
    name = metric.rpartition("/")[2]
    return name.startswith(("recall@", "chance@"))


def unit(metric: str) -> str:
    """Unit of what is shown of a metric, with a comma in front; empty without one."""
    if is_share(metric):
        return ", %"
    return ", m" if metric.endswith("_m") and "error" in metric else ""


def number(value: float, metric: str) -> str:
    """One value of a metric."""
    if is_share(metric):
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if unit(metric) else f"{value:.4g}"


def shown(spread: Spread, metric: str) -> str:
    """Mean and standard deviation: ``31.2 ± 1.4``."""
    deviation = "" if spread.deviation is None else f" ± {number(spread.deviation, metric)}"
    return number(spread.mean, metric) + deviation


def grid(table: Table) -> tuple[list[str], Rows, list[list[bool]]]:
    """Head, rows and which cells hold the best setting, of a table with rows."""
    assert table.rows is not None
    columns: list[str | None] = [*table.column_values()] if table.columns else [None]
    head = [table.rows, *(f"{table.columns}={column}" if column is not None else table.metric for column in columns)]
    rows, best = [], []
    for row in table.row_values():
        cells = [table.cell(row, column) for column in columns]
        rows.append([row, *(_cell(table, cell) for cell in cells)])
        best.append([False, *(cell is table.best for cell in cells)])
    return head, rows, best


def ranking(table: Table) -> tuple[list[str], Rows]:
    """Head and rows of all settings, the best first."""
    head = [*table.factors, table.metric + unit(table.metric), "runs", "range"]
    rows = []
    for setting in table.settings:
        spread = table.spread(setting)
        values = [number(v, table.metric) for v in (min(spread.values), max(spread.values))]
        rows.append(
            [*setting.values.values(), shown(spread, table.metric), str(len(spread.values)), " to ".join(values)]
        )
    return head, rows


def unfinished(runs: Sequence[Run], differing: Sequence[str]) -> tuple[list[str], Rows]:
    """Head and rows of runs without results: what they are, their state and why."""
    keys = [*differing, *(["seed"] if any("seed" in run.overrides for run in runs) else [])]
    rows = [[_place(run), *(value_of(run, key) for key in keys), run.status, run.reason] for run in runs]
    return ["run", *keys, "state", "reason"], rows


def as_terminal(table: Table) -> "list[RichTable]":
    """Tables to print: cells where there are rows, all settings, and runs without results."""
    tables = []
    best = f"best: {table.best}, {_best(table)}"
    if table.rows is not None:
        head, rows, marks = grid(table)
        tables.append(_rich(f"{table.metric}{unit(table.metric)}{_over(table)}", head, rows, marks))
    head, rows = ranking(table)
    marks = [[setting is table.best] * len(head) for setting in table.settings]
    tables.append(_rich("All settings, the best first", head, rows, marks, caption=best))
    if table.unfinished:
        tables.append(unfinished_table(table.unfinished, table.differing))
    return tables


def unfinished_table(runs: Sequence[Run], differing: Sequence[str]) -> "RichTable":
    """A table to print of runs without results."""
    head, rows = unfinished(runs, differing)
    return _rich(f"{len(runs)} runs without results", head, rows, [[False] * len(head) for _ in rows])


def as_markdown(table: Table, picture: str | None = None) -> str:
    """The whole report as Markdown; the best is bold.

    Args:
        table: What was found.
        picture: File name of the plot beside it.
    """
    parts = [f"# {table.metric}{unit(table.metric)}"]
    runs = sum(len(setting.runs) for setting in table.settings)
    parts.append(f"{runs} runs, {len(table.settings)} settings. Mean ± sample standard deviation over seeds.")
    parts.append(f"Best: **{_escaped(str(table.best))}**, {_best(table)}.")
    if picture is not None:
        parts.append(f"![{_escaped(table.metric)}]({picture})")
    if table.rows is not None:
        head, rows, marks = grid(table)
        parts += [f"## By {table.rows}{_over(table)}", _markdown(head, rows, marks)]
    head, rows = ranking(table)
    marks = [[setting is table.best] * len(head) for setting in table.settings]
    parts += ["## All settings, the best first", _markdown(head, rows, marks)]
    if table.unfinished:
        head, rows = unfinished(table.unfinished, table.differing)
        parts += ["## Runs without results", _markdown(head, rows, [[False] * len(head) for _ in rows])]
    parts += [f"Note: {_escaped(note)}." for note in table.notes]
    return "\n\n".join(parts) + "\n"


def write_settings(table: Table, path: Path) -> None:
    """Write one row a setting as CSV: values of factors, statistics in the metric's own unit, and what is best."""
    head = [*table.factors, "metric", "n", "mean", "standard_deviation", "min", "max", "best_of_cell", "best"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for setting in table.settings:
            spread = table.spread(setting)
            deviation = "" if spread.deviation is None else repr(spread.deviation)
            figures = [len(spread.values), repr(spread.mean), deviation, min(spread.values), max(spread.values)]
            marks = [table.is_best_of_cell(setting), setting is table.best]
            writer.writerow([*setting.values.values(), table.metric, *figures, *marks])


def write_runs(runs: Sequence[Run], path: Path) -> None:
    """Write one row a run as CSV: where it is, its state, values of factors, and all metrics but chance."""
    keys = find_differing(runs)
    metrics = sorted({name for run in runs for name in run.metrics if "chance" not in name})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["folder", "status", "reason", "seed", *keys, *metrics])
        for run in runs:
            values = [value_of(run, key) for key in keys]
            seed = "" if run.seed is None else run.seed
            writer.writerow(
                [run.folder, run.status, run.reason, seed, *values, *(run.metrics.get(name, "") for name in metrics)]
            )


def _cell(table: Table, setting: Setting | None) -> str:
    if setting is None:
        return "-"
    spread = table.spread(setting)
    count = f" ({len(spread.values)})" if len(spread.values) > 1 else ""
    others = ", ".join(setting.values[key] for key in table.others())
    return shown(spread, table.metric) + count + (f" [{others}]" if others else "")


def _over(table: Table) -> str:
    """Which factors a cell shows the best of."""
    return f", the best of {', '.join(table.others())}" if table.others() else ""


def _best(table: Table) -> str:
    """What the best setting found, and by what it was chosen."""
    figure = shown(table.spread(table.best), table.metric) + unit(table.metric).replace(",", "")
    return figure + ("" if table.chosen_by == table.metric else f" (chosen by {table.chosen_by})")


def _place(run: Run) -> str:
    return printable(f"{run.folder.parent.name}/{run.folder.name}")


def _rich(title: str, head: Sequence[str], rows: Rows, marks: list[list[bool]], caption: str = "") -> "RichTable":
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(title=Text(title), caption=Text(caption), title_justify="left", caption_justify="left")
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for row, bold in zip(rows, marks, strict=True):
        table.add_row(*(Text(cell, style="bold green" if mark else "") for cell, mark in zip(row, bold, strict=True)))
    return table


def _markdown(head: Sequence[str], rows: Rows, marks: list[list[bool]]) -> str:
    return "\n".join(_markdown_lines(head, rows, marks))


def _markdown_lines(head: Sequence[str], rows: Rows, marks: list[list[bool]]) -> Iterator[str]:
    yield "| " + " | ".join(_escaped(name) for name in head) + " |"
    yield "|" + " --- |" * len(head)
    for row, bold in zip(rows, marks, strict=True):
        cells = (f"**{_escaped(c)}**" if mark else _escaped(c) for c, mark in zip(row, bold, strict=True))
        yield "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\|*_`<>[]#" else c for c in text)
