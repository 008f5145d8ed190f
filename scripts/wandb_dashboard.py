"""Make a workspace of wandb out of docs/dashboard.yaml: the panels that say how trainings go.

python scripts/wandb_dashboard.py --dry-run
python scripts/wandb_dashboard.py --entity my-team --project crosslocate

It needs an account (`wandb login`) and the extra: pip install "crosslocate[dashboard]". `--dry-run` needs neither an
account nor a network: it builds everything, and prints what would be made.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

DESCRIPTION = Path(__file__).resolve().parents[1] / "docs" / "dashboard.yaml"
LINE_CHART = "wandb/lineseries/v0"
"""Wandb's own chart of the tables that recall curves are logged as."""
Panel = Mapping[str, Any]


def lines(panel: Panel) -> Any:
    """Metrics over the epoch or the step."""
    import wandb_workspaces.reports.v2 as reports

    return reports.LinePlot(
        title=panel["title"],
        x=panel["x"],
        y=list(panel.get("y", [])),
        metric_regex=panel.get("regex"),
        log_y=panel.get("log_y"),
    )


def number(panel: Panel) -> Any:
    """One figure of the summary, the best of a group."""
    import wandb_workspaces.reports.v2 as reports

    (metric,) = panel["y"]
    return reports.ScalarChart(title=panel["title"], metric=reports.SummaryMetric(metric), groupby_aggfunc="max")


def scatter(panel: Panel) -> Any:
    """Two figures of the summary, a point for each run."""
    import wandb_workspaces.reports.v2 as reports

    (metric,) = panel["y"]
    return reports.ScatterPlot(
        title=panel["title"], x=reports.SummaryMetric(panel["x"]), y=reports.SummaryMetric(metric)
    )


def pictures(panel: Panel) -> Any:
    """Pictures, latest first."""
    import wandb_workspaces.reports.v2 as reports

    return reports.MediaBrowser(title=panel["title"], media_keys=list(panel["y"]), num_columns=2)


def curves(panel: Panel) -> Any:
    """Lines of a chart that was logged as a table."""
    import wandb_workspaces.reports.v2 as reports

    (name,) = panel["y"]
    return reports.CustomChart(
        query={"summaryTable": {"tableKey": f"{name}_table"}},
        chart_name=LINE_CHART,
        chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
        chart_strings={"title": panel["title"], "xname": "x"},
    )


def compare(_panel: Panel) -> Any:
    """Configurations side by side; wandb gives this panel no title of its own."""
    import wandb_workspaces.reports.v2 as reports

    return reports.RunComparer(diff_only="split")


KINDS: dict[str, Callable[[Panel], Any]] = {
    "lines": lines,
    "number": number,
    "scatter": scatter,
    "pictures": pictures,
    "curves": curves,
    "compare": compare,
}


def read_description(path: Path) -> dict[str, Any]:
    """The description of a dashboard.

    Raises:
        SystemExit: A panel is of an unknown kind, or lacks its title or what it shows.
    """
    description: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section in description["sections"]:
        for panel in section["panels"]:
            if panel.get("kind") not in KINDS:
                raise SystemExit(
                    f"error: {path}: kind={panel.get('kind')!r} is not allowed; allowed: {', '.join(KINDS)}"
                )
            if missing := {"title", "shows"} - panel.keys():
                raise SystemExit(f"error: {path}: a panel of {section['name']!r} lacks {', '.join(sorted(missing))}")
    return description


def workspace(description: Mapping[str, Any], entity: str, project: str) -> Any:
    """The workspace that a description means; nothing is sent yet."""
    import wandb_workspaces.workspaces as workspaces

    sections = [
        workspaces.Section(
            name=section["name"], is_open=True, panels=[KINDS[panel["kind"]](panel) for panel in section["panels"]]
        )
        for section in description["sections"]
    ]
    return workspaces.Workspace(entity=entity, project=project, name=description["name"], sections=sections)


def main(arguments: list[str] | None = None) -> None:
    """Build the workspace, and save it in the account or print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entity", help="user or team")
    parser.add_argument("--project", default="crosslocate")
    parser.add_argument("--description", type=Path, default=DESCRIPTION)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be made")
    chosen = parser.parse_args(arguments)
    if not (chosen.dry_run or chosen.entity):
        parser.error("--entity: the user or team whose project it is")
    description = read_description(chosen.description)
    try:
        made = workspace(description, chosen.entity or "entity", chosen.project)
    except ModuleNotFoundError as error:
        raise SystemExit(f'error: {error.name} is not installed: pip install "crosslocate[dashboard]"') from error
    if chosen.dry_run:
        made._to_model()  # everything that would be sent
        print("\n".join(summary(description)))
        return
    made.save()
    print(made.url)


def summary(description: Mapping[str, Any]) -> list[str]:
    """A line for each section and panel."""
    text = [description["name"]]
    for section in description["sections"]:
        text.append(f"  {section['name']}")
        for panel in section["panels"]:
            metrics = ", ".join(panel.get("y", [panel.get("regex", "")]))
            text.append(f"    {panel['title']} ({panel['kind']}): {metrics}".rstrip(": "))
    return text


if __name__ == "__main__":
    main()
