"""What the runs of a sweep found, laid out: cells, settings and runs that have nothing to show."""

from collections.abc import Sequence
from dataclasses import dataclass

from crosslocate.errors import ConfigError
from crosslocate.sweeps.runs import FINISHED, Run
from crosslocate.sweeps.settings import (
    Setting,
    Spread,
    best_of,
    doubts,
    find_differing,
    find_factors,
    goodness,
    group,
    latest_of_each,
    levels,
)


@dataclass(frozen=True)
class Table:
    """Runs of a sweep, by setting and by cell.

    Args:
        metric: What is shown.
        chosen_by: The metric by which the best are chosen.
        factors: Keys that runs differ in, beside the seed.
        settings: Of finished runs, the best first.
        best: The best of them.
        levels: Values of each factor, in the order of numbers, or else of the runs.
        rows: Key whose values are the rows; None: the table is a list of settings.
        columns: Key whose values are the columns; None: one column.
        unfinished: Runs without results.
        differing: Keys that tell all runs apart, also those that have not begun.
        notes: What a reader should know, a sentence each.
    """

    metric: str
    chosen_by: str
    factors: list[str]
    settings: list[Setting]
    best: Setting
    levels: dict[str, list[str]]
    rows: str | None
    columns: str | None
    unfinished: list[Run]
    differing: list[str]
    notes: list[str]

    def row_values(self) -> list[str]:
        """Values of the rows."""
        return self.levels[self.rows] if self.rows else []

    def column_values(self) -> list[str]:
        """Values of the columns."""
        return self.levels[self.columns] if self.columns else []

    def cell(self, row: str, column: str | None) -> Setting | None:
        """The best setting of a cell, None for one without runs.

        Args:
            row: Value of the key of the rows.
            column: Value of the key of the columns; None without columns.
        """
        return best_of([s for s in self.settings if self._is_in(s, row, column)], self.chosen_by)

    def is_best_of_cell(self, setting: Setting) -> bool:
        """Whether nothing in its cell is better; without rows, whether nothing at all is."""
        if self.rows is None:
            return setting is self.best
        column = setting.values[self.columns] if self.columns else None
        return setting is self.cell(setting.values[self.rows], column)

    def others(self) -> list[str]:
        """Factors that are neither rows nor columns: a cell shows the best of their values."""
        return [factor for factor in self.factors if factor not in (self.rows, self.columns)]

    def spread(self, setting: Setting) -> Spread:
        """Mean and spread of what is shown."""
        return setting.spread(self.metric)

    def _is_in(self, setting: Setting, row: str, column: str | None) -> bool:
        values = setting.values
        return (self.rows is None or values[self.rows] == row) and (
            self.columns is None or column is None or values[self.columns] == column
        )


def make_table(
    runs: Sequence[Run],
    *,
    metric: str | None = None,
    chosen_by: str | None = None,
    rows: str | None = None,
    columns: str | None = None,
) -> Table:
    """Lay out runs.

    Args:
        runs: Runs, finished or not; at least one is finished.
        metric: What is shown; None: the objective of the runs.
        chosen_by: Metric by which the best are chosen; None: ``metric``.
        rows: Key whose values are the rows; None: the first of two factors.
        columns: Key whose values are the columns; None: the second of two factors.

    Raises:
        ConfigError: A metric that no run has, or rows or columns that runs do not differ in.
    """
    finished = latest_of_each(runs)
    metric = metric or _objective(finished)
    chosen_by = chosen_by or metric
    for option, name in (("--metric", metric), ("--choose", chosen_by)):
        _require_metric(option, name, finished)
    lacking = [run for run in finished if not {metric, chosen_by} <= run.metrics.keys()]
    finished = [run for run in finished if run not in lacking]
    factors = find_factors(runs)
    rows, columns = _axes(factors, rows, columns)
    settings = group(finished, factors)
    ranked = sorted(settings, key=lambda setting: goodness(setting, chosen_by), reverse=True)
    all_finished = sum(run.status == FINISHED for run in runs)
    notes = [f"{len(lacking)} runs were left out: they do not have {metric} and {chosen_by}"] if lacking else []
    if repeated := all_finished - len(finished) - len(lacking):
        notes.append(f"{repeated} runs repeat another with the same configuration and data; the latest of each counts")
    return Table(
        metric,
        chosen_by,
        factors,
        ranked,
        ranked[0],
        {factor: levels(settings, factor) for factor in factors},
        rows,
        columns,
        [run for run in runs if run.status != FINISHED],
        find_differing(runs),
        [*notes, *doubts(settings)],
    )


def _objective(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.objective for run in runs if run.objective))
    if len(names) != 1:
        raise ConfigError("--metric", None, "a metric: the runs have no objective in common", f"Objectives: {names}")
    return names[0]


def _require_metric(option: str, name: str, runs: Sequence[Run]) -> None:
    known = sorted({metric for run in runs for metric in run.metrics if "chance" not in metric})
    if name not in known and not any(name in run.metrics for run in runs):
        raise ConfigError(option, name, known)


def _axes(factors: Sequence[str], rows: str | None, columns: str | None) -> tuple[str | None, str | None]:
    for option, key in (("--rows", rows), ("--columns", columns)):
        if key is not None and key not in factors:
            raise ConfigError(option, key, list(factors) or "nothing: the runs differ in their seed alone")
    if columns is not None and (rows is None or rows == columns):
        raise ConfigError("--rows", rows, [factor for factor in factors if factor != columns], f"--columns={columns}")
    if rows is None and len(factors) == 2:
        return factors[0], factors[1]
    return rows, columns
