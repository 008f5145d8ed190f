"""What a study found: a table of its trials, pictures, and the command line of the best."""

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from crosslocate.console import say
from crosslocate.errors import CrossLocateError
from crosslocate.tuning.space import as_overrides, as_text
from crosslocate.tuning.study import REASON

COLOURS = {TrialState.COMPLETE: "tab:blue", TrialState.PRUNED: "tab:orange"}
LABELS = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned, its latest value"}
FEWEST = 3
"""Finished trials, fewer than which say nothing about importance."""


def summarize(folder: Path, study: Study, fixed: Sequence[str], objective: str) -> float:
    """Write ``study.csv`` and ``study.png``, and print the best trial as a command line.

    Args:
        folder: Of the study.
        study: With its trials.
        fixed: Overrides that all trials share.
        objective: Name of the metric.

    Returns:
        The best value.

    Raises:
        CrossLocateError: No trial finished; says why the last one failed.
    """
    trials = study.get_trials()
    write_table(folder / "study.csv", trials)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not finished:
        reasons = [trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs]
        raise CrossLocateError(f"{folder}: no trial finished; the last one: {(reasons or ['was pruned'])[-1]}")
    draw(folder / "study.png", study, objective)
    best = study.best_trial
    value = float(best.values[0])
    counts = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    say(
        f"{len(trials)} trials: {counts[TrialState.COMPLETE]} finished, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed; table and picture in {folder}\n"
        f"best: trial {best.number}, {objective} {value:.4f}, its run in {folder / 'trials' / str(best.number)}"
    )
    print(shlex.join(["python", "-m", "crosslocate.train", *fixed, *as_overrides(best.params)]))
    return value


def write_table(path: Path, trials: Sequence[FrozenTrial]) -> None:
    """One row a trial: number, state, value (of a pruned one the latest), epochs, seconds, settings, reason."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "value", "epochs", "seconds", *keys, "reason"])
        for trial in trials:
            duration = "" if trial.duration is None else f"{trial.duration.total_seconds():.1f}"
            values = [trial.params.get(key, "") for key in keys]
            row = [trial.number, trial.state.name.lower(), _value(trial), trial.last_step or "", duration, *values]
            writer.writerow([*row, trial.user_attrs.get(REASON, "")])


def draw(path: Path, study: Study, objective: str) -> None:
    """The course of a study, the importance of its settings, and the value over each of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    trials = [trial for trial in study.get_trials() if _value(trial) is not None]
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    columns = min(3, 2 + len(keys))
    rows = -(-(2 + len(keys)) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    _draw_course(axes[0], trials, objective)
    _draw_importance(axes[1], importances(study))
    for axis, key in zip(axes[2:], keys, strict=False):
        _draw_setting(axis, trials, key, objective)
    for axis in axes[2 + len(keys) :]:
        axis.set_axis_off()
    figure.savefig(path, dpi=120)


def importances(study: Study) -> dict[str, float]:
    """Share of the difference between good and all trials that each setting explains; empty for few or equal trials."""
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    if len(finished) < FEWEST or len({trial.values[0] for trial in finished}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _value(trial: FrozenTrial) -> float | None:
    if trial.state == TrialState.COMPLETE:
        return float(trial.values[0])
    return trial.intermediate_values[trial.last_step] if trial.last_step is not None else None


def _draw_course(axis: Any, trials: Sequence[FrozenTrial], objective: str) -> None:
    for state, colour in COLOURS.items():
        chosen = [trial for trial in trials if trial.state == state]
        if chosen:
            axis.scatter([t.number for t in chosen], [_value(t) for t in chosen], c=colour, s=18, label=LABELS[state])
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = np.maximum.accumulate([float(trial.values[0]) for trial in finished])
    numbers = [trial.number for trial in finished]
    axis.step([*numbers, trials[-1].number], [*best, best[-1]], where="post", c="black", lw=1, label="best so far")
    axis.set(title="Course", xlabel="trial", ylabel=objective)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize="small")


def _draw_importance(axis: Any, shares: dict[str, float]) -> None:
    axis.set_title("Importance")
    if not shares:
        axis.text(0.5, 0.5, "too few different trials", ha="center", va="center", transform=axis.transAxes)
        axis.set(xticks=[], yticks=[])
        return
    names = list(reversed(shares))
    axis.barh(names, [shares[name] for name in names], color="tab:gray")
    axis.set_xlabel("share")


def _draw_setting(axis: Any, trials: Sequence[FrozenTrial], key: str, objective: str) -> None:
    distribution: Any = next(trial.distributions[key] for trial in trials if key in trial.distributions)
    choices = getattr(distribution, "choices", None)
    for state, colour in COLOURS.items():
        chosen = [trial for trial in trials if trial.state == state and key in trial.params]
        places = [choices.index(t.params[key]) if choices else t.params[key] for t in chosen]
        axis.scatter(places, [_value(trial) for trial in chosen], c=colour, s=18)
    if choices:
        axis.set_xticks(range(len(choices)), [as_text(choice) for choice in choices])
        axis.set_xlim(-0.5, len(choices) - 0.5)
    elif distribution.log:
        _scale_by_ratio(axis, distribution.low, distribution.high)
    axis.set(title=key, ylabel=objective)


def _scale_by_ratio(axis: Any, low: float, high: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_xscale("log")
    axis.set_xlim(low / 1.1, high * 1.1)
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
