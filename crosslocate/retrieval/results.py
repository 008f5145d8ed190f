"""What an evaluation found, as plain values: for results.json, loggers, `tables` and plots."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from crosslocate.errors import DataError
from crosslocate.retrieval.chance import ChanceLevels, ChanceRecord, expected_levels
from crosslocate.retrieval.field_of_view import FieldOfViewRecord
from crosslocate.retrieval.recall import Floats, Ints, QueryErrors, RecallCriteria, ViewCounts, count_hits

FORMAT = 1


class RecallRecord(TypedDict):
    """One recall: of all queries, and of those that could be answered.

    ``heading_deg`` is None when any heading counts. A query is answerable when the database has a view that would be
    a hit; ``recall_of_answerable`` is None when there is no such query. ``chance`` is the recall to be expected from
    views drawn at random.
    """

    number: int
    distance_m: float
    heading_deg: float | None
    hits: int
    recall: float
    chance: float
    answerable: int
    recall_of_answerable: float | None


class CurveRecord(TypedDict):
    """Recall over distance for one N, with or without orientation; as long as ``distance_m`` of the curve."""

    number: int
    heading_deg: float | None
    recall: list[float]
    chance: list[float]


class Curve(TypedDict):
    """Recall over distance."""

    distance_m: list[float]
    lines: list[CurveRecord]


class SuccessRecord(TypedDict):
    """How many queries their first neighbour localizes, and what that means."""

    distance_m: float
    heading_deg: float
    queries: int


class Results(TypedDict):
    """One evaluation of one split."""

    format: int
    split: str
    queries: int
    views: int
    numbers: list[int]
    distances_m: list[float]
    heading_deg: float
    threshold: str
    median_error_m: float
    recalls: list[RecallRecord]
    curve: Curve
    chance_by: NotRequired[ChanceRecord]
    successes: NotRequired[SuccessRecord]
    fields_of_view: NotRequired[list[FieldOfViewRecord]]
    search: NotRequired[dict[str, Any]]


def summarize(
    split: str,
    errors: QueryErrors,
    views: ViewCounts,
    database_size: int,
    criteria: RecallCriteria,
    levels: ChanceLevels | None = None,
) -> Results:
    """Count hits, chance and answerable queries.

    Args:
        split: Name of the split, for the reader.
        errors: Of every query [q, numbers].
        views: Of every query [q, thresholds].
        database_size: Number of database views.
        criteria: What is counted.
        levels: Recalls by chance; None: their expectation in closed form.

    Raises:
        DataError: There are no queries.
    """
    if len(errors.first) == 0:
        raise DataError(f"split '{split}' has no queries to evaluate")
    recalls: list[RecallRecord] = []
    lines: list[CurveRecord] = []
    if levels is None:
        levels = expected_levels(views, database_size, criteria)
    for heading, error, count, expected in (
        (None, errors.position, views.position, levels.position),
        (float(criteria.heading), errors.oriented, views.oriented, levels.oriented),
    ):
        hits = count_hits(error, criteria.limits)
        recalls += _records(heading, hits, expected, count, criteria)
        lines += _lines(heading, hits / len(error), expected, criteria)
    return Results(
        format=FORMAT,
        split=split,
        queries=len(errors.first),
        views=database_size,
        numbers=list(criteria.numbers),
        distances_m=[float(d) for d in criteria.distances],
        heading_deg=float(criteria.heading),
        threshold=criteria.threshold,
        median_error_m=float(np.median(errors.first)),
        recalls=recalls,
        curve=Curve(distance_m=criteria.curve.tolist(), lines=lines),
    )


def metric_name(number: int, distance: float, heading: float | None, kind: str = "recall") -> str:
    """Name of a recall (or of its chance level) in logs, such as ``recall@1_20m`` and ``recall@1_20m_30deg``."""
    return f"{kind}@{number}_{distance:g}m" + ("" if heading is None else f"_{heading:g}deg")


def sum_name(distance: float, heading: float | None) -> str:
    """Name of the sum of recalls over all N, such as ``recall_sum_20m`` and ``recall_sum_20m_30deg``."""
    return f"recall_sum_{distance:g}m" + ("" if heading is None else f"_{heading:g}deg")


def metric_names(criteria: RecallCriteria) -> list[str]:
    """Names of all recalls that are counted, and of their sums over N."""
    pairs = [(distance, heading) for heading in (None, criteria.heading) for distance in criteria.distances]
    names = [metric_name(number, *pair) for pair in pairs for number in criteria.numbers]
    return names + [sum_name(*pair) for pair in pairs]


def metrics(results: Results) -> dict[str, float]:
    """Recalls, their sums over N, chance levels and the median error by name, with the split in front.

    As in ``val/recall@1_20m``.
    """
    values = {"median_error_m": results["median_error_m"]}
    for kind in ("recall", "chance"):
        for record in results["recalls"]:
            name = metric_name(record["number"], record["distance_m"], record["heading_deg"], kind)
            values[name] = float(record[kind])
    for record in results["recalls"]:
        name = sum_name(record["distance_m"], record["heading_deg"])
        values[name] = values.get(name, 0.0) + record["recall"]
    return {f"{results['split']}/{name}": value for name, value in values.items()}


def write_json(path: str | Path, content: Any) -> None:
    """Write plain values as JSON; the file appears complete or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)


def write_curves(path: str | Path, results: Sequence[Results]) -> None:
    """Write recall over distance as CSV: one row per split, N, heading limit (empty: any) and distance."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "number", "heading_deg", "distance_m", "recall", "chance"])
        for result in results:
            for line in result["curve"]["lines"]:
                head = [result["split"], line["number"], "" if line["heading_deg"] is None else line["heading_deg"]]
                points = zip(result["curve"]["distance_m"], line["recall"], line["chance"], strict=True)
                writer.writerows([*head, *point] for point in points)


def find(results: Results, number: int, distance: float, heading: float | None) -> RecallRecord:
    """The record of one recall.

    Raises:
        KeyError: It was not counted.
    """
    for record in results["recalls"]:
        if (record["number"], record["distance_m"], record["heading_deg"]) == (number, distance, heading):
            return record
    raise KeyError(metric_name(number, distance, heading))


def _records(
    heading: float | None, hits: Ints, expected: Floats, views: Ints, criteria: RecallCriteria
) -> list[RecallRecord]:
    """Records by distance, then by number, from hits and chance [numbers, thresholds] and views [q, thresholds]."""
    answerable = (views > 0).sum(axis=0)
    return [
        RecallRecord(
            number=number,
            distance_m=float(criteria.thresholds[column]),
            heading_deg=heading,
            hits=int(hits[n, column]),
            recall=int(hits[n, column]) / len(views),
            chance=float(expected[n, column]),
            answerable=int(answerable[column]),
            recall_of_answerable=int(hits[n, column]) / int(answerable[column]) if answerable[column] else None,
        )
        for column in np.searchsorted(criteria.thresholds, np.asarray(criteria.distances, np.float64)).tolist()
        for n, number in enumerate(criteria.numbers)
    ]


def _lines(heading: float | None, recall: Floats, expected: Floats, criteria: RecallCriteria) -> list[CurveRecord]:
    columns = np.searchsorted(criteria.thresholds, criteria.curve)
    return [
        CurveRecord(
            number=number,
            heading_deg=heading,
            recall=recall[n, columns].tolist(),
            chance=expected[n, columns].tolist(),
        )
        for n, number in enumerate(criteria.numbers)
    ]
