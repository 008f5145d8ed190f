"""Running a recorded run again, and comparing what it finds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.config.targets import require_trusted
from crosslocate.errors import CheckpointError, ConfigError, ReproductionError
from crosslocate.runs.fingerprint import plain
from crosslocate.runs.record import read_record, write_whole

if TYPE_CHECKING:
    from rich.table import Table

FILE = "reproduction.json"
FORMAT = 1
CHANGEABLE = (
    "paths",
    "logger",
    "threads",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.enable_progress_bar",
)
"""What may be said beside ``reproduce=``: where and on what it runs, not what."""
CIRCUMSTANCES = ("fingerprints", "versions", "machine", "source")
"""Entries of a record that tell why a repetition may differ."""
SHOWN = 12
"""Figures that differ and are shown; the file has all."""
Figures = dict[str, float | str | None]


@dataclass(frozen=True)
class Comparison:
    """One figure, or one circumstance, of a run and of its repetition."""

    name: str
    recorded: Any
    found: Any

    @property
    def equal(self) -> bool:
        """Whether it is the same to the last bit."""
        return bool(self.recorded == self.found)

    @property
    def relative_difference(self) -> float | None:
        """Difference over the larger size, 0 to 2; None of what is no number."""
        both = (self.recorded, self.found)
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in both):
            return None
        size = max(abs(self.recorded), abs(self.found))
        return abs(self.recorded - self.found) / size if size else 0.0


def original_record(cfg: Any, overrides: Sequence[str]) -> dict[str, Any]:
    """The record of the run that ``cfg.reproduce`` names.

    Raises:
        ConfigError: There is no record of a finished run, or the command line changes more than `CHANGEABLE`.
        CheckpointError: The record is damaged, or its configuration calls foreign code.
    """
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").replace("/", ".")
        if not key.startswith("hydra.") and key != "reproduce" and not _below(key, CHANGEABLE):
            raise ConfigError(key, override.partition("=")[2], f"nothing beside reproduce but {', '.join(CHANGEABLE)}")
    path = Path(cfg.reproduce).expanduser()
    record = read_record(path)
    if record is None:
        raise ConfigError("reproduce", cfg.reproduce, "the folder of a finished run, or its run.json")
    if record["status"] != "finished":
        raise ConfigError("reproduce", cfg.reproduce, "a finished run", f"This one is {record['status']}")
    require_trusted(record["config"], str(path))
    return record


def recorded_config(record: Mapping[str, Any], cfg: Any, overrides: Sequence[str]) -> Any:
    """The configuration of a recorded run, with the paths of this machine and what the command line changed.

    Args:
        record: Of the run.
        cfg: What was composed now.
        overrides: The command line; see `CHANGEABLE`.

    Raises:
        CheckpointError: The record is of another version of the configuration.
    """
    from omegaconf import OmegaConf

    config = OmegaConf.create(dict(record["config"]))
    missing = [str(key) for key in cfg if key not in config]
    if missing:
        raise CheckpointError(f"{cfg.reproduce}: its configuration has no {', '.join(missing)}; of another version?")
    config.paths, config.resume, config.reproduce = cfg.paths, None, str(cfg.reproduce)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        root = next((known for known in CHANGEABLE if _below(key, (known,))), None)
        if root is not None and root != "paths":
            value = OmegaConf.select(cfg, root)
            OmegaConf.update(config, root, plain(value) if OmegaConf.is_config(value) else value, merge=False)
    return config


def figures(folder: Path) -> Figures:
    """What a run found, by name: its objective, its weights, its recalls by split, its history by epoch."""
    record = read_record(folder) or {}
    objective = record.get("objective") or {}
    found: Figures = {"objective": objective.get("value"), "weights": record.get("weights")}
    for split, named in _json(folder / "results.json").get("evaluations", {}).items():
        for name, results in named.items():
            found |= {f"{name}/{metric}": value for metric, value in _recalls(split, results).items()}
    for entry in _json(folder / "history.json").get("epochs", []):
        epoch = int(entry["epoch"])
        found |= {f"history/{epoch}/{metric}": value for metric, value in entry.items() if metric != "epoch"}
    return found


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Comparison]:
    """Every value that either has, in the order of the first."""
    return [Comparison(name, first.get(name), second.get(name)) for name in dict.fromkeys((*first, *second))]


def require_reproduced(original: str | Path, repetition: Path) -> None:
    """Compare a run with its repetition, write ``reproduction.json`` into the folder of the latter, and print a table.

    Args:
        original: Folder or ``run.json`` of the recorded run.
        repetition: Folder of the new one.

    Raises:
        ReproductionError: A figure is another one.
    """
    path = Path(original).expanduser()
    home = path if path.is_dir() else path.parent
    compared = compare(figures(home), figures(repetition))
    around = [
        Comparison(f"{name}/{one.name}", one.recorded, one.found)
        for name in CIRCUMSTANCES
        for one in compare(*((read_record(folder) or {}).get(name) or {} for folder in (home, repetition)))
    ]
    different = [one for one in compared if not one.equal]
    content = {
        "format": FORMAT,
        "original": str(home.resolve()),
        "equal": not different,
        "figures": [
            {**vars(one), "equal": one.equal, "relative_difference": one.relative_difference} for one in compared
        ],
        "circumstances": [{**vars(one), "equal": one.equal} for one in around],
    }
    write_whole(repetition / FILE, json.dumps(content, indent=2) + "\n")
    _show(compared, [one for one in around if not one.equal])
    if different:
        largest = max((one.relative_difference or 0.0 for one in different), default=0.0)
        raise ReproductionError(
            f"{home}: {len(different)} of {len(compared)} figures are not reproduced, among them "
            f"{different[0].name} ({different[0].recorded} -> {different[0].found}); largest relative difference "
            f"{largest:.2g}; see {repetition / FILE}"
        )


def _show(compared: Sequence[Comparison], around: Sequence[Comparison]) -> None:
    from crosslocate.console import console, say

    different = [one for one in compared if not one.equal]
    if different:
        console().print(_table(f"Figures that differ: {len(different)} of {len(compared)}", different))
    else:
        say(f"All {len(compared)} figures are the same, to the last bit")
    if around:
        console().print(_table("Circumstances that differ", around))


def _table(title: str, rows: Sequence[Comparison]) -> "Table":
    from rich.table import Table

    table = Table(title=title)
    table.add_column("", overflow="fold")
    for column in ("recorded", "now", "difference"):
        table.add_column(column, no_wrap=True)
    for one in rows[:SHOWN]:
        relative = one.relative_difference
        table.add_row(
            one.name, _short(one.recorded), _short(one.found), "" if relative is None else f"{100 * relative:.2g} %"
        )
    if len(rows) > SHOWN:
        table.add_row(f"and {len(rows) - SHOWN} more", "", "", "")
    return table


def _recalls(split: str, results: Mapping[str, Any]) -> Figures:
    """By number, distance and heading; and the median error in metres."""
    found: Figures = {f"{split}/median_error_m": results.get("median_error_m")}
    for one in results.get("recalls", []):
        heading = "" if one["heading_deg"] is None else f"_{one['heading_deg']:g}deg"
        found[f"{split}/recall@{one['number']}_{one['distance_m']:g}m{heading}"] = one["recall"]
    return found


def _below(key: str, roots: Sequence[str]) -> bool:
    return any(key == root or key.startswith(f"{root}.") for root in roots)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged and cannot be read ({error})") from error
    return content if isinstance(content, dict) else {}


def _short(value: Any) -> str:
    text = f"{value:.9g}" if isinstance(value, float) else "none" if value is None else str(value)
    return text if len(text) <= 16 else text[:13] + "..."
