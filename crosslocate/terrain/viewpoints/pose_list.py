"""Lists of positions and camera poses in CSV files: what their columns may be called, and how they are read.

The first line names the columns, in any order and in capitals or not; commas, semicolons or tabs stand between them.
Angles are degrees, lengths metres. An empty cell is not given. Columns of other names are not read, and said.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.viewpoints.survey import SPLITS

Floats = NDArray[np.float64]

COLUMNS: dict[str, tuple[str, ...]] = {
    "latitude": ("latitude", "latitude_deg", "lat", "lat_deg"),
    "longitude": ("longitude", "longitude_deg", "lon", "lon_deg", "long", "lng"),
    "altitude": ("altitude", "altitude_m", "alt", "alt_m", "elevation", "elevation_m", "ele", "ele_m"),
    "height": ("height", "height_m", "height_above_ground", "height_above_ground_m", "eye_height", "eye_height_m"),
    "heading": ("heading", "heading_deg", "yaw", "yaw_deg", "azimuth", "azimuth_deg"),
    "pitch": ("pitch", "pitch_deg"),
    "roll": ("roll", "roll_deg"),
    "field_of_view": (
        "field_of_view", "field_of_view_deg", "horizontal_field_of_view", "horizontal_field_of_view_deg",
        "horizontal_fov", "horizontal_fov_deg", "hfov", "hfov_deg", "fov", "fov_deg",
    ),
    "vertical": (
        "vertical_field_of_view", "vertical_field_of_view_deg", "vertical_fov", "vertical_fov_deg", "vfov", "vfov_deg",
    ),
    "name": ("name", "id"),
    "split": ("split", "set"),
}  # fmt: skip
"""Names of the columns, by what they hold; ``altitude`` is above sea level, ``height`` above the ground,
``field_of_view`` horizontal, ``vertical`` the vertical field of view."""

_LIMITS = {
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 360.0),
    "altitude": (-1000.0, 20000.0),
    "height": (-1000.0, 20000.0),
    "heading": (-360.0, 720.0),
    "pitch": (-90.0, 90.0),
    "roll": (-180.0, 180.0),
    "field_of_view": (0.1, 179.0),
    "vertical": (0.1, 179.0),
}
_NAME = re.compile(r"[A-Za-z0-9_\-@+=][A-Za-z0-9_.\-@+=]*")
_LONGEST = 128
_AGREEMENT = 0.01
"""Part of a horizontal field of view by which a vertical one may differ from it."""
_LIKE_A_FIELD_OF_VIEW = re.compile(r"fov|(field|angle)[\W_]*of[\W_]*view", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class PoseList:
    """The rows of a list; NaN or '' where nothing is given. Angles in degrees, longitude in [-180, 180).

    Attributes:
        numbers: Of float columns, by the keys of `COLUMNS`, each [n]; vertical fields of view have become horizontal
            ones.
        name: [n].
        split: [n].
        unread: Names of columns that were not read.
    """

    numbers: dict[str, Floats]
    name: NDArray[np.str_]
    split: NDArray[np.str_]
    unread: tuple[str, ...]


def read_poses(path: Path, aspect: float) -> PoseList:
    """Read a list.

    Args:
        path: The file.
        aspect: Width over height of the images, by which a vertical field of view becomes a horizontal one.

    Raises:
        TerrainError: The file cannot be read, a column is missing or there twice, or a value is impossible; names the
            file, the line, the column and the value.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, delimiter = _header(file.readline(), path)
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            rows = [(lines.line_num + 1, row) for row in lines if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TerrainError(f"{path}: cannot be read as a CSV file: {error}") from error
    if not rows:
        raise TerrainError(f"{path}: holds no row below its first line")
    for line, row in rows:
        if len(row) != len(header):
            raise TerrainError(f"{path}: line {line} has {len(row)} cells; the first line names {len(header)} columns")
    place = _places(header, path)
    cells = {key: [row[at].strip() for _, row in rows] for key, at in place.items()}
    table = _Table(path, header, place, [line for line, _ in rows])
    count = len(rows)
    numbers = {key: table.numbers(key, cells[key]) if key in cells else np.full(count, np.nan) for key in _LIMITS}
    for key in ("latitude", "longitude"):
        table.refuse(key, np.isnan(numbers[key]), cells[key], "a number in every row")
    if "altitude" in cells and "height" in cells:
        both = np.isfinite(numbers["altitude"]) & np.isfinite(numbers["height"])
        table.refuse(
            "height", both, cells["height"], f"an altitude or a height, not both ({header[place['altitude']]})"
        )
    vertical = numbers.pop("vertical")
    numbers["field_of_view"] = table.widened(numbers["field_of_view"], vertical, aspect, cells)
    east = numbers["longitude"]
    numbers["longitude"] = np.where(east >= 180.0, east - 360.0, east)
    name = np.array(cells.get("name", [""] * count), np.str_)
    split = np.array(cells.get("split", [""] * count), np.str_)
    table.refuse("split", ~np.isin(split, ("", *SPLITS)), split, f"one of {', '.join(SPLITS)}")
    named = np.array([len(n) <= _LONGEST and (not n or bool(_NAME.fullmatch(n))) for n in name.tolist()])
    table.refuse(
        "name", ~named, name,
        f"letters, digits and any of ._-@+=, not a dot first, at most {_LONGEST}: files are named after it",
    )  # fmt: skip
    given = np.flatnonzero(name != "")
    _, first = np.unique(name[given], return_index=True)
    again = np.zeros(count, bool)
    again[np.setdiff1d(given, given[first])] = True
    table.refuse("name", again, name, "a name that no other row has")
    unread = tuple(title for at, title in enumerate(header) if at not in place.values())
    return PoseList(numbers, name, split, unread)


@dataclass(frozen=True)
class _Table:
    """Where the cells of a list came from, for errors."""

    path: Path
    header: list[str]
    place: dict[str, int]
    lines: list[int]

    def numbers(self, key: str, cells: list[str]) -> Floats:
        low, high = _LIMITS[key]
        values = np.array([_number(cell) for cell in cells])
        given = np.array([cell != "" for cell in cells])
        self.refuse(key, given & ~((values >= low) & (values <= high)), cells, f"a number from {low:g} to {high:g}")
        return np.where(given, values, np.nan)

    def widened(self, given: Floats, vertical: Floats, aspect: float, cells: dict[str, list[str]]) -> Floats:
        """Horizontal fields of view in degrees, [n], from those that are given and vertical ones; NaN for neither."""
        wide = 2.0 * np.degrees(np.arctan(aspect * np.tan(np.radians(0.5 * vertical))))
        low, high = _LIMITS["field_of_view"]
        if "vertical" in cells:
            narrow = f"a vertical field of view that is {low:g} to {high:g} horizontally, in images of {aspect:.4g}:1"
            self.refuse("vertical", ~np.isnan(wide) & ~((wide >= low) & (wide <= high)), cells["vertical"], narrow)
            apart = np.abs(wide - given) > _AGREEMENT * given
            for row in np.flatnonzero(apart)[:1]:
                both = f"one within 1 % of {given[row]:g} ({self.header[self.place['field_of_view']]}); in images of"
                wider = f"{both} {aspect:.4g}:1 this is {wide[row]:.4g} horizontally"
                self._fail("vertical", int(row), cells["vertical"][row], wider)
        return np.where(np.isnan(given), wide, given)

    def refuse(self, key: str, bad: NDArray[np.bool_], cells: list[str] | NDArray[np.str_], allowed: str) -> None:
        for row in np.flatnonzero(bad)[:1]:
            self._fail(key, int(row), str(cells[row]), allowed)

    def _fail(self, key: str, row: int, cell: str, allowed: str) -> NoReturn:
        raise TerrainError(
            f"{self.path}: line {self.lines[row]}, column {self.header[self.place[key]]}: {cell[:60]!r} is not "
            f"allowed; allowed: {allowed}"
        )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _header(line: str, path: Path) -> tuple[list[str], str]:
    """The titles of the first line, and what stands between them."""
    for delimiter in (",", ";", "\t"):
        titles = [title.strip() for title in next(csv.reader([line], delimiter=delimiter), [])]
        known = {title.lower() for title in titles}
        if known.intersection(COLUMNS["latitude"]) and known.intersection(COLUMNS["longitude"]):
            return titles, delimiter
    raise TerrainError(
        f"{path}: the first line is {line[:80].strip()!r}; it must name a column "
        f"{' or '.join(COLUMNS['latitude'])}, and one {' or '.join(COLUMNS['longitude'])}"
    )


def _places(header: list[str], path: Path) -> dict[str, int]:
    """Number of the column of each key that the header has."""
    place: dict[str, int] = {}
    for key, names in COLUMNS.items():
        found = [at for at, title in enumerate(header) if title.lower() in names]
        if len(found) > 1:
            titles = " and ".join(header[at] for at in found)
            raise TerrainError(f"{path}: columns {titles} both hold the {key}; one is needed")
        if found:
            place[key] = found[0]
    for at, title in enumerate(header):
        if at not in place.values() and _LIKE_A_FIELD_OF_VIEW.search(title):
            raise TerrainError(
                f"{path}: column {title} looks like a field of view, and has none of the names of one in degrees: "
                f"horizontal {', '.join(COLUMNS['field_of_view'])}; vertical {', '.join(COLUMNS['vertical'])}. Rename "
                "it, or remove it"
            )
    return place
