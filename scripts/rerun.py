"""Start a sweep again in its own folder: what has finished is kept, all else is continued or begun again.

python scripts/rerun.py outputs/sweep/2026-01-31_12-00-00
python scripts/rerun.py outputs/sweep/2026-01-31_12-00-00 hydra/launcher=local

It is the command line of the sweep, from the directory in which it was given, with `hydra.sweep.dir` set to the folder.
More overrides of Hydra's own settings, as the launcher, replace those of the command line; another launcher takes the
place of the old one with all its settings. Other overrides would make other jobs of it, and are refused.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crosslocate.console import say
from crosslocate.errors import CrossLocateError, SweepError
from crosslocate.runs.lock import is_running
from crosslocate.runs.record import read_record
from crosslocate.sweeps.record import job_folder, read_sweep

LAUNCHER = "hydra/launcher"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Start a sweep again: only what has not finished runs.")
    parser.add_argument("folder", type=Path, help="folder of the sweep")
    parser.add_argument("overrides", nargs="*", help="of Hydra's own settings, as hydra/launcher=local")
    given = parser.parse_args(arguments)
    try:
        rerun(given.folder.absolute(), given.overrides)
    except CrossLocateError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def rerun(folder: Path, overrides: Sequence[str]) -> None:
    """Become the process of the sweep, unless all its jobs have finished.

    Raises:
        SweepError: There is no sweep, a job of it runs now, or an override is not one of Hydra's own settings.
    """
    sweep = read_sweep(folder)
    if sweep is None:
        raise SweepError(f"{folder} has no sweep.json: it is no folder of a sweep")
    for override in overrides:
        if not override.lstrip("+~").startswith(("hydra/", "hydra.")):
            raise SweepError(f"{override} is not allowed; allowed: Hydra's own settings, as hydra/launcher=local")
    left = unfinished(folder, sweep)
    if not left:
        say(f"All {len(sweep['jobs'])} jobs have finished")
        return
    say(f"{len(left)} of {len(sweep['jobs'])} jobs have not finished: {', '.join(map(str, left))}")
    where = sweep.get("cwd")
    if isinstance(where, str) and Path(where).is_dir():
        os.chdir(where)
    command = [sys.executable, "-m", "crosslocate.train", *command_line(sweep["argv"][1:], folder, overrides)]
    sys.stdout.flush()
    os.execv(command[0], command)


def unfinished(folder: Path, sweep: dict[str, Any]) -> list[int]:
    """Numbers of the jobs that have not finished.

    Raises:
        SweepError: One of them runs now.
    """
    places = {job["number"]: job_folder(folder, job) for job in sweep["jobs"]}
    for number, place in places.items():
        if is_running(place):
            raise SweepError(f"job {number} of {folder} runs now")
    records = {number: read_record(place) for number, place in places.items()}
    return [number for number, record in records.items() if record is None or record["status"] != "finished"]


def command_line(arguments: Sequence[str], folder: Path, overrides: Sequence[str]) -> list[str]:
    """Arguments of a sweep, to be given again in the same folder, with some settings of Hydra replaced.

    With another launcher, all settings of the one before are left out: it need not have them.
    """
    new = ["hydra.sweep.dir=" + quoted(str(folder)), *overrides]
    replaced = {_key(override) for override in new}
    kept = [argument for argument in arguments if _key(argument) not in replaced]
    launchers = [override for override in overrides if _key(override) == LAUNCHER]
    if launchers and not set(launchers) & set(arguments):
        kept = [argument for argument in kept if not _key(argument).startswith(f"{LAUNCHER.replace('/', '.')}.")]
    return [*kept, *new]


def quoted(text: str) -> str:
    """A text as Hydra reads it, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


if __name__ == "__main__":
    main()
