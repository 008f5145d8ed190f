"""The CSV logger, which keeps what a run logged before it was resumed, and every step once."""

import csv
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from crosslocate.config.ranks import is_first_process

FILE = "metrics.csv"
Row = Mapping[str, str]


class RunCsvLogger(CSVLogger):
    """Logs a run to CSV files, one for each session.

    The first step that a session logs is where it continued: what earlier files have from there on was done again, and
    is taken out of them.
    """

    _first: int | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log figures at an optimizer step."""
        if self._first is None:
            self._first = step
        if step is not None and step == self._first:
            for path in earlier_files(Path(self.log_dir)):
                _take_out(path, step, set(metrics) - {"epoch"})
        super().log_metrics(metrics, step)


def csv_logger(save_dir: str, folder: str) -> RunCsvLogger:
    """Log to ``<save_dir>/<folder>/metrics.csv``; a file that is there already becomes ``metrics-1.csv``, and so on.

    Lightning's logger deletes what it finds. `log_files` gives all of them in order.
    """
    current = Path(save_dir) / folder / FILE
    if is_first_process() and current.is_file():
        current.rename(current.with_name(f"metrics-{len(log_files(current.parent))}.csv"))
    return RunCsvLogger(save_dir=save_dir, name="", version=folder)


def log_files(folder: Path) -> list[Path]:
    """Log files of a run, the oldest first."""
    return [*earlier_files(folder), *folder.glob(FILE)]


def earlier_files(folder: Path) -> list[Path]:
    """Log files of sessions before the latest, the oldest first."""
    return sorted(folder.glob("metrics-*.csv"), key=lambda path: int(path.stem.split("-")[1]))


def read_log(folder: Path) -> list[dict[str, str]]:
    """Rows of all log files of a run, the oldest first; ``step`` and whatever was logged then, as text."""
    rows: list[dict[str, str]] = []
    for path in log_files(folder):
        with path.open(newline="", encoding="utf-8") as file:
            rows += [{key: text for key, text in row.items() if text} for row in csv.DictReader(file)]
    return rows


def _take_out(path: Path, step: int, names: Collection[str]) -> None:
    """Take out of a file what came after a step, and rows of that step itself that have one of these figures."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or [])
    again = [_step(row) > step or (_step(row) == step and any(row.get(name) for name in names)) for row in rows]
    if any(again):
        _write(path, columns, [row for row, repeated in zip(rows, again, strict=True) if not repeated])


def _step(row: Row) -> float:
    """Step of a row; that of one which a kill cut short is beyond all steps."""
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):
        return float("inf")


def _write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)
