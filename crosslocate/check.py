"""Is a data set complete and possible: ``python -m crosslocate.check dataset=...``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.config.app import entry_point
from crosslocate.config.convert_schema import validate_check

if TYPE_CHECKING:
    from crosslocate.formats.problems import Problem


@entry_point("check", validate_check)
def main(cfg: Any) -> None:
    """Print every problem and note of a data set with file and row; ends with status 1 when there is a problem."""
    if not all(found.note for found in check(cfg)):
        sys.exit(1)


def check(cfg: Any) -> "list[Problem]":
    """The whole job of a validated configuration; returns the problems and notes."""
    from crosslocate.console import say
    from crosslocate.formats.inspection import inspect
    from crosslocate.formats.leaks import leaks
    from crosslocate.formats.problems import problems, write_report

    found: list[Problem] = []
    for records in inspect(cfg):
        new = list(problems(records, decode=cfg.decode, workers=cfg.workers))
        found.extend(new)
        counted = f" {records.role}: {len(records.names):,} images" if records.role else ""
        notes = sum(problem.note for problem in new)
        noted = f", {notes:,} notes" if notes else ""
        say(f"{records.file}{counted}, {len(new) - notes:,} problems{noted}")
    if cfg.gap is not None:
        found.extend(leaks(cfg))
    if cfg.report is not None:
        write_report(Path(cfg.report), found)
    _show(found, cfg.shown)
    return found


def _show(found: "list[Problem]", shown: int) -> None:
    """Draw the first ones as a table, problems before notes, and count all of either by kind."""
    from collections import Counter

    from rich.table import Column, Table

    from crosslocate.console import console, say

    table = Table(Column("file", overflow="fold"), "role", "row", "kind", Column("what", overflow="fold"))
    for problem in sorted(found, key=lambda problem: problem.note)[:shown]:
        row = "" if problem.row is None else str(problem.row)
        kind = f"{problem.kind} (note)" if problem.note else problem.kind
        table.add_row(problem.file.name, problem.role, row, kind, problem.message)
    if table.row_count:
        console().print(table, markup=False)
    for word, note in (("problems", False), ("notes", True)):
        kinds = Counter(problem.kind for problem in found if problem.note == note)
        if kinds:
            say(f"{kinds.total():,} {word}: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common()))
        elif not note:
            say("No problems found")
    if len(found) > shown:
        say(f"{len(found) - shown:,} more than shown")


if __name__ == "__main__":
    main()
