"""What a run leaves for people and for scripts: results.json, curves, plots, and a table in the terminal."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosslocate.console import console, say
from crosslocate.lit.csv import log_files
from crosslocate.retrieval.plots import plot_history, plot_loss, plot_recall_curves
from crosslocate.retrieval.results import Results, recall_table, write_curves, write_json

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
    say(f"Results and plots are in {folder}")


def plot_training(folder: Path, history: list[dict[str, float]], criteria: Any) -> None:
    """Plots of a training: recall by epoch, and the loss where the CSV logger kept it."""
    if history:
        plot_history(
            history,
            folder / "plots" / "recall_by_epoch.png",
            numbers=criteria.numbers,
            distance=criteria.distances[0],
            heading=criteria.heading,
        )
    steps, losses = _logged_losses(folder / "metrics")
    if steps:
        plot_loss(steps, losses, folder / "plots" / "loss.png")


def _logged_losses(folder: Path) -> tuple[list[int], list[float]]:
    """Steps and losses; of steps that were repeated after a resume, those that counted."""
    losses: dict[int, float] = {}
    for path in log_files(folder):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("train/loss_step")]
        if rows:
            losses = {step: loss for step, loss in losses.items() if step < int(rows[0]["step"])}
        losses |= {int(row["step"]): float(row["train/loss_step"]) for row in rows}
    return list(losses), list(losses.values())
