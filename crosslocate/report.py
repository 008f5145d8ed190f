"""Gather what the runs of sweeps found into tables and a plot.

python -m crosslocate.report outputs/sweep/2026-01-31_12-00-00
python -m crosslocate.report outputs/sweep/... --metric test/recall@1_20m --rows modality --columns backbone
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crosslocate.errors import CrossLocateError, DataError, UnwritableError

if TYPE_CHECKING:
    from crosslocate.sweeps.runs import Run
    from crosslocate.sweeps.table import Table

FORMATS = ("terminal", "markdown", "csv")
PICTURE, MARKDOWN, SETTINGS, RUNS = "report.png", "report.md", "settings.csv", "runs.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: ends with status 1 when there is nothing to report, or a file that cannot be read.

    Args:
        arguments: Those of the command line; None: of this process.
    """
    given = _parser().parse_args(arguments)
    try:
        sys.exit(0 if report(given) else 1)
    except (CrossLocateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def report(given: argparse.Namespace) -> bool:
    """The whole job; whether every file could be read.

    Raises:
        DataError: There are no runs, or none has finished.
        ConfigError: A metric or a key that the runs do not have.
        UnwritableError: The folder for the report cannot be written to.
    """
    from crosslocate.console import say
    from crosslocate.sweeps.runs import FINISHED, find_runs
    from crosslocate.sweeps.settings import find_differing
    from crosslocate.sweeps.table import make_table
    from crosslocate.sweeps.text import unfinished_table

    found = find_runs(given.folders)
    for line in found.damaged:
        say(f"left out: {line}")
    if not found.runs:
        raise DataError(f"there are no runs in {', '.join(map(str, given.folders))}")
    if not any(run.status == FINISHED for run in found.runs):
        _print(unfinished_table(found.runs, find_differing(found.runs)))
        raise DataError("no run has finished yet")
    table = make_table(found.runs, metric=given.metric, chosen_by=given.choose, rows=given.rows, columns=given.columns)
    for note in table.notes:
        say(f"note: {note}")
    output = given.output or given.folders[0] / "report"
    _write(table, found.runs, output)
    _show(table, given.format, output)
    say(f"{', '.join((MARKDOWN, SETTINGS, RUNS, PICTURE))} are in {output}")
    return not found.damaged


def _write(table: "Table", runs: "Sequence[Run]", output: Path) -> None:
    from crosslocate.sweeps.plot import plot_table
    from crosslocate.sweeps.text import as_markdown, write_runs, write_settings

    try:
        output.mkdir(parents=True, exist_ok=True)
        write_settings(table, output / SETTINGS)
        write_runs(runs, output / RUNS)
        plot_table(table, output / PICTURE)
        (output / MARKDOWN).write_text(as_markdown(table, PICTURE), encoding="utf-8")
    except OSError as error:
        hint = "give another folder with --output"
        raise UnwritableError(f"{output} cannot be written to ({error.strerror or error}); {hint}") from error


def _show(table: "Table", form: str, output: Path) -> None:
    from crosslocate.sweeps.text import as_terminal

    if form == "terminal":
        _print(*as_terminal(table))
    else:
        sys.stdout.write((output / {"markdown": MARKDOWN, "csv": SETTINGS}[form]).read_text(encoding="utf-8"))


def _print(*tables: object) -> None:
    """Print to standard output; where that is no terminal, lines may be as long as they need to be."""
    from rich.console import Console

    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=240)
    for table in tables:
        out.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crosslocate.report", description="Gather what runs found into tables and a plot."
    )
    parser.add_argument("folders", nargs="+", type=Path, help="folders of sweeps, or of single runs")
    parser.add_argument("--metric", help="what is shown, as test/recall@1_20m; default: the objective of the runs")
    parser.add_argument("--choose", metavar="METRIC", help="by what the best are chosen; default: what is shown")
    parser.add_argument("--rows", metavar="KEY", help="key whose values are the rows, as modality")
    parser.add_argument("--columns", metavar="KEY", help="key whose values are the columns, as backbone")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for the files; default: report/ in the first")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of what is printed")
    return parser


if __name__ == "__main__":
    main()
