"""An answer as JSON, as GeoJSON for map programs, and as a table for a terminal. Angles are degrees here."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.localization.answer import Answer, Candidate
from crosslocate.localization.photo import Photo, Pose
from crosslocate.localization.selection import Selection

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = 1
COMPASS = ("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW")


def write_answer(answer: Answer, folder: Path) -> tuple[Path, Path]:
    """Write ``answer.json`` and ``answer.geojson`` into a folder; returns the two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, geographic = folder / "answer.json", folder / "answer.geojson"
    plain.write_text(json.dumps(as_json(answer), indent=2) + "\n", encoding="utf-8")
    geographic.write_text(json.dumps(as_geojson(answer), indent=2) + "\n", encoding="utf-8")
    return plain, geographic


def print_answer(answer: Answer) -> None:
    """Print the table to standard output."""
    from rich.console import Console

    Console().print(as_table(answer))


def as_json(answer: Answer) -> dict[str, Any]:
    """The whole answer as JSON values."""
    return {
        "format": FORMAT,
        "photo": _photo(answer.photo),
        "checkpoint": answer.checkpoint,
        "database": {"catalog": answer.database, "views": answer.searched, "retrieved": answer.retrieved},
        "selection": _selection(answer.selection),
        "search": None if answer.search is None else answer.search.record,
        "candidates": [_candidate(candidate) for candidate in answer.candidates],
    }


def as_geojson(answer: Answer) -> dict[str, Any]:
    """Candidates, and the true position when known, as points (RFC 7946)."""
    features = [_feature(candidate.pose, _candidate(candidate)) for candidate in answer.candidates]
    if answer.photo.truth is not None:
        features.append(
            _feature(answer.photo.truth, {"truth": True, "heading_deg": _degrees(answer.photo.truth.heading)})
        )
    return {"type": "FeatureCollection", "features": features}


def as_table(answer: Answer) -> "Table":
    """The candidates, one line each, best first; it fits a terminal of 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    known = answer.photo.truth is not None
    table = Table(
        title=f"Where was {answer.photo.name} taken?", title_style="bold", box=SIMPLE_HEAD, collapse_padding=True
    )
    if str(answer.selection):
        table.caption = f"among {answer.searched} views: {answer.selection}"
    headers = ["", "view", "latitude", "longitude", "heading", "share", "apart"]
    for header in headers + (["to truth", "off"] if known else []):
        table.add_column(header, justify="left" if header == "view" else "right", no_wrap=True)
    for candidate in answer.candidates:
        table.add_row(*_line(candidate, known), style="bold" if candidate.rank == 1 else None)
    return table


def heading_text(heading: float) -> str:
    """A heading in radians as whole degrees and compass point, for example ``068° ENE``."""
    degrees = round(math.degrees(heading)) % 360
    return f"{degrees:03d}° {COMPASS[round(math.degrees(heading) / 22.5) % 16]}"


def metres_text(metres: float) -> str:
    """A distance for reading: ``0 m``, ``840 m``, ``3.2 km``, ``41 km``."""
    if metres < 999.5:
        return f"{metres:.0f} m"
    return f"{metres / 1000:.1f} km" if metres < 9950.0 else f"{metres / 1000:.0f} km"


def _line(candidate: Candidate, known: bool) -> list[str]:
    pose = candidate.pose
    line = [
        str(candidate.rank),
        candidate.view,
        f"{pose.latitude:.4f}",
        f"{pose.longitude:.4f}",
        heading_text(pose.heading),
        f"{candidate.share:.0%}",
        metres_text(candidate.from_best),
    ]
    if known:
        assert candidate.from_truth is not None
        assert candidate.heading_error is not None
        line += [metres_text(candidate.from_truth), f"{math.degrees(candidate.heading_error):.0f}°"]
    return line


def _photo(photo: Photo) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": photo.name,
        "files": {modality: str(path) for modality, path in photo.files.items()},
        "horizontal_fov_deg": _degrees(photo.horizontal_fov),
        "fov_source": photo.fov_source,
        "truth": None,
    }
    if photo.truth is not None:
        facts["truth"] = _pose(photo.truth)
    return facts


def _selection(selection: Selection) -> dict[str, Any] | None:
    return {"region_deg": selection.region, "altitude_m": selection.altitude} if str(selection) else None


def _candidate(candidate: Candidate) -> dict[str, Any]:
    error = candidate.heading_error
    return {
        "rank": candidate.rank,
        "place": candidate.place,
        **_pose(candidate.pose),
        "share": candidate.share,
        "descriptor_distance": candidate.descriptor_distance,
        "metres_from_best": candidate.from_best,
        "metres_from_truth": candidate.from_truth,
        "heading_error_deg": None if error is None else _degrees(error),
        "view": candidate.view,
        "view_heading_deg": _degrees(candidate.view_heading),
        "view_horizontal_fov_deg": _degrees(candidate.horizontal_fov),
        "support": list(candidate.support),
    }


def _pose(pose: Pose) -> dict[str, float]:
    return {
        "longitude": pose.longitude,
        "latitude": pose.latitude,
        "elevation_m": pose.elevation,
        "heading_deg": _degrees(pose.heading),
    }


def _feature(pose: Pose, properties: dict[str, Any]) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [pose.longitude, pose.latitude, pose.elevation]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _degrees(radians: float) -> float:
    return round(math.degrees(radians), 6)
