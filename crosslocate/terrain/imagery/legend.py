"""What the values of a land cover map mean: to which segment class each belongs, its name and its colour."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.terrain.imagery.landcover import SEGMENT_NAMES

UNKNOWN = 255
"""Index of no class: there is no map, or it says that it has no data."""

_KEY = "terrain.land_cover.legend"
_CLASSES = SEGMENT_NAMES[1:]


class Legend:
    """The legend of a land cover map.

    Args:
        name: What is described, for messages.
        classes: By value: ``segment`` (water | forest | rock | meadow | ice and snow), ``name``, ``colour`` (red,
            green, blue) and, optional, ``also``: other values of the same class.
        nodata: Values where the map knows nothing, besides the one that the file itself names so.

    Attributes:
        names: Of the classes, in ascending order of their first values.
        segments: Class ids of ``landcover.SEGMENT_NAMES``, uint8 ``[classes]``.
        colours: RGB, uint8 ``[classes, 3]``.

    Raises:
        ConfigError: No class, an entry that lacks something, a value used twice, an unknown segment class.
    """

    def __init__(self, name: str, classes: Mapping[int, Mapping[str, Any]], nodata: Sequence[int] = ()) -> None:
        if not 0 < len(classes) < UNKNOWN:
            raise ConfigError(f"{_KEY}.classes", len(classes), f"1 to {UNKNOWN - 1} classes")
        self.name, self.nodata = name, tuple(int(value) for value in nodata)
        entries = [_Entry(int(value), entry) for value, entry in sorted(classes.items(), key=lambda pair: int(pair[0]))]
        self.names = tuple(entry.name for entry in entries)
        self.segments = np.array([entry.segment for entry in entries], np.uint8)
        self.colours = np.array([entry.colour for entry in entries], np.uint8)
        self.index = {value: k for k, entry in enumerate(entries) for value in entry.values}
        used = [value for entry in entries for value in entry.values] + list(self.nodata)
        twice = sorted({value for value in used if used.count(value) > 1})
        if twice:
            raise ConfigError(f"{_KEY}.classes", twice[0], "a value once, in the classes, their 'also', or nodata")

    def indices(self, values: NDArray[np.integer]) -> tuple[NDArray[np.uint8], list[int]]:
        """Class index of each value, `UNKNOWN` for no data; and the values that are neither."""
        distinct, place = np.unique(values, return_inverse=True)
        known = [self.index.get(int(v), UNKNOWN) for v in distinct]
        strange = [int(v) for v in distinct if int(v) not in self.index and int(v) not in self.nodata]
        return np.array(known, np.uint8)[place].reshape(values.shape), strange

    def parameters(self) -> dict[str, Any]:
        """The legend as JSON holds it."""
        values: list[list[int]] = [[] for _ in self.names]
        for value, k in self.index.items():
            values[k].append(value)
        return {
            "name": self.name,
            "nodata": list(self.nodata),
            "classes": [
                {"values": v, "segment": SEGMENT_NAMES[s], "name": n, "colour": c}
                for v, s, n, c in zip(values, self.segments.tolist(), self.names, self.colours.tolist(), strict=True)
            ],
        }


class _Entry:
    """One class of a legend, checked."""

    def __init__(self, value: int, entry: Mapping[str, Any]) -> None:
        key = f"{_KEY}.classes.{value}"
        lacking = [field for field in ("segment", "name", "colour") if field not in entry]
        if lacking:
            raise ConfigError(f"{key}.{lacking[0]}", None, "every class has segment, name and colour")
        if entry["segment"] not in _CLASSES:
            raise ConfigError(f"{key}.segment", entry["segment"], _CLASSES)
        colour = list(entry["colour"])
        if len(colour) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in colour):
            raise ConfigError(f"{key}.colour", colour, "red, green and blue from 0 to 255")
        self.values = [value, *(int(v) for v in entry.get("also", ()))]
        self.segment, self.name, self.colour = SEGMENT_NAMES.index(entry["segment"]), str(entry["name"]), colour
