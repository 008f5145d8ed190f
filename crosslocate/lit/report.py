"""What a run leaves for people and for scripts: results.json, curves, plots, and a table in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from crosslocate.console import console, say
from crosslocate.lit.csv import read_log
from crosslocate.lit.curves import recall_charts
from crosslocate.lit.publish import (
    publish_checkpoints,
    publish_lines,
    publish_pictures,
    publish_summary,
    publish_table,
    table_cells,
)
from crosslocate.retrieval.plots import plot_epoch_losses, plot_history, plot_loss, plot_recall_curves
from crosslocate.retrieval.results import Results, metrics, write_curves, write_json
from crosslocate.retrieval.tables import field_of_view_table, recall_table
from crosslocate.runs.history import read_history

Evaluations = Mapping[str, Mapping[str, Results]]
"""By split, then by the name of what was evaluated ("trained", "untrained")."""


def write_report(folder: Path, evaluations: Evaluations, extra: Mapping[str, Any]) -> None:
    """Write ``results.json``, ``curves.csv`` and a plot for each split, and print the recalls.

    Args:
        folder: Folder of the run.
        evaluations: What was measured; the first name of each split is the main one.
        extra: More for ``results.json``: the objective, the checkpoint, the history.
    """
    write_json(folder / "results.json", {"evaluations": evaluations, **extra})
    write_curves(folder / "curves.csv", [next(iter(named.values())) for named in evaluations.values()])
    for split, named in evaluations.items():
        plot_recall_curves(named, folder / "plots" / f"recall_over_distance_{split}.png")
        console().print(recall_table(named))
        name, main = next(iter(named.items()))
        title = f"First answer by field of view, in %, {split}, {name}"
        console().print(field_of_view_table(main.get("fields_of_view", []), title))
    if len(evaluations) > 1:
        mains = {split: next(iter(named.values())) for split, named in evaluations.items()}
        plot_recall_curves(mains, folder / "plots" / "recall_over_distance.png")
    say(f"Results and plots are in {folder}")


def plot_training(folder: Path, history: Sequence[Mapping[str, float]], criteria: Any) -> None:
    """Plots of a training: recalls and losses by epoch, and the loss by step where the CSV logger kept it.

    Args:
        folder: Folder of the run.
        history: Metrics by epoch; those of ``history.json`` replace them, since they hold the losses too.
        criteria: What was counted.
    """
    epochs = read_history(folder) or history
    splits = [split for split in ("val", "train") if any(f"{split}/median_error_m" in entry for entry in epochs)]
    if splits:
        plot_history(
            epochs,
            folder / "plots" / "recall_by_epoch.png",
            numbers=criteria.numbers,
            distances=criteria.distances,
            heading=criteria.heading,
            splits=splits,
        )
    if any(f"{split}/loss" in entry for entry in epochs for split in ("train", "val")):
        plot_epoch_losses(epochs, folder / "plots" / "loss_by_epoch.png")
    steps, losses = _logged_losses(folder / "metrics")
    if steps:
        plot_loss(steps, losses, folder / "plots" / "loss.png")


def publish_report(
    loggers: Sequence[Logger],
    folder: Path,
    evaluations: Evaluations,
    history: Sequence[Mapping[str, float]],
    step: int,
) -> None:
    """Send a run's plots, tables, curves, best and final figures, and checkpoints to the loggers that take them.

    Args:
        loggers: Open loggers of the run.
        folder: Folder of the run, after `write_report` and `plot_training`.
        evaluations: As in `write_report`; the first name of each split is the best checkpoint.
        history: Metrics by epoch; the last entry is the final one.
        step: Optimizer steps of the training.
    """
    for file in sorted((folder / "plots").glob("*.png")):
        publish_pictures(loggers, f"plots/{file.stem}", [file], step)
    summary: dict[str, float] = {}
    for split, named in evaluations.items():
        main = next(iter(named.values()))
        summary |= {f"best/{name}": value for name, value in metrics(main).items()}
        fields_of_view = field_of_view_table(main.get("fields_of_view", []), "")
        for name, table in ((f"recall_{split}", recall_table(named)), (f"field_of_view_{split}", fields_of_view)):
            publish_table(loggers, f"tables/{name}", *table_cells(table), step)
        for name, lines in recall_charts(main).items():
            publish_lines(loggers, f"curves/{name}", lines, step)
    publish_checkpoints(loggers, _checkpoints(folder), summary)
    if history:
        summary |= {f"final/{name}": value for name, value in history[-1].items()}
    publish_summary(loggers, summary)


def _checkpoints(folder: Path) -> dict[str, Path]:
    """Checkpoints of a run by name, the best first."""
    files = {name: folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")}
    return {name: file for name, file in files.items() if file.is_file()}


def _logged_losses(folder: Path) -> tuple[list[int], list[float]]:
    """Steps and losses, as the CSV logger kept them."""
    losses = {int(row["step"]): float(row["train/loss_step"]) for row in read_log(folder) if "train/loss_step" in row}
    return list(losses), list(losses.values())
