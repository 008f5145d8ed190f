"""Recall curves of an evaluation as numbers, for the loggers that draw charts themselves."""

from crosslocate.lit.publish import Lines
from crosslocate.retrieval.results import Results


def recall_charts(results: Results) -> dict[str, Lines]:
    """Charts of one split by name: recall over distance, without and with orientation, and recall over N.

    Args:
        results: What was measured; its recalls are shares in 0..1.
    """
    split, heading = results["split"], results["heading_deg"]
    return {
        f"recall_over_distance_{split}": _over_distance(results, None),
        f"recall_over_distance_{split}_{heading:g}deg": _over_distance(results, heading),
        f"recall_at_n_{split}": _over_number(results),
    }


def _over_distance(results: Results, heading: float | None) -> Lines:
    curve = results["curve"]
    lines = [line for line in curve["lines"] if line["heading_deg"] == heading]
    series = {f"@{line['number']}": (curve["distance_m"], line["recall"]) for line in lines}
    series |= {f"@{line['number']} by chance": (curve["distance_m"], line["chance"]) for line in lines}
    limit = "" if heading is None else f", heading within {heading:g}°"
    return Lines(f"Recall over distance, {results['split']}{limit}", "metres", series)


def _over_number(results: Results) -> Lines:
    series: dict[str, tuple[list[float], list[float]]] = {}
    for record in results["recalls"]:
        if record["heading_deg"] is None:
            numbers, recalls = series.setdefault(f"within {record['distance_m']:g} m", ([], []))
            numbers.append(record["number"])
            recalls.append(record["recall"])
    return Lines(f"Recall over N, {results['split']}", "N", series)
