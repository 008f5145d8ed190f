"""Pictures, tables, lines, summaries and checkpoints for every logger that takes them; others are passed by.

Call these on the first process alone, while the loggers are open.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from pytorch_lightning.loggers import Logger

if TYPE_CHECKING:
    from rich.table import Table

Rows = Sequence[Sequence[str | float]]


class Lines(NamedTuple):
    """Lines of one chart: title, name of the horizontal axis, and x and y of every line by its name."""

    title: str
    x: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]


@runtime_checkable
class Publisher(Protocol):
    """A logger that takes more than numbers. What a tool has no place for, its logger leaves out."""

    def publish_pictures(self, name: str, files: Sequence[Path], step: int) -> None:
        """Show PNG files under one name."""

    def publish_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Keep a table."""

    def publish_lines(self, name: str, lines: Lines, step: int) -> None:
        """Keep the lines of a chart as numbers; they are a picture too."""

    def publish_summary(self, values: Mapping[str, float]) -> None:
        """Keep figures of the whole run."""

    def publish_checkpoints(self, files: Mapping[str, Path], values: Mapping[str, float]) -> None:
        """Keep checkpoints, by name, where that is wanted, with the figures that belong to them."""


def publish_pictures(loggers: Sequence[Logger], name: str, files: Sequence[Path], step: int) -> None:
    """Show PNG files under one name."""
    for logger in _publishers(loggers):
        logger.publish_pictures(name, files, step)


def publish_table(loggers: Sequence[Logger], name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
    """Keep a table."""
    for logger in _publishers(loggers):
        logger.publish_table(name, columns, rows, step)


def publish_lines(loggers: Sequence[Logger], name: str, lines: Lines, step: int) -> None:
    """Keep the lines of a chart."""
    for logger in _publishers(loggers):
        logger.publish_lines(name, lines, step)


def publish_summary(loggers: Sequence[Logger], values: Mapping[str, float]) -> None:
    """Keep the figures of the whole run: wandb's summary, TensorBoard's hyperparameters, MLflow's metrics."""
    for logger in _publishers(loggers):
        logger.publish_summary(values)


def publish_checkpoints(loggers: Sequence[Logger], files: Mapping[str, Path], values: Mapping[str, float]) -> None:
    """Keep checkpoints, by name (``best``, ``last``), where a logger was asked to."""
    for logger in _publishers(loggers):
        logger.publish_checkpoints(files, values)


def _publishers(loggers: Sequence[Logger]) -> Iterator[Publisher]:
    return (logger for logger in loggers if isinstance(logger, Publisher))


def table_cells(table: "Table") -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table made for the terminal."""
    columns = [" ".join(str(column.header).split()) for column in table.columns]
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    return columns, [list(row) for row in zip(*cells, strict=True)]


def as_markdown(columns: Sequence[str], rows: Rows) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
