"""Meta structures: CrossLocate's ``.npy`` files that say which images a set has and where each was taken.

The file is a 0-d object array that holds a dict of 14 lists: ``dbImageFns``, ``dbIDs``, ``dbPlaceNames``, ``dbWGS``
([longitude, latitude] degrees), ``dbUTM`` ([easting, northing] metres), ``dbElevations`` (metres) and
``dbCameraParams`` ([yaw, pitch, roll, horizontal field of view] radians), and the same with ``q`` for the queries. In
"compact" sets those of the database are arrays. It is a pickle; see `crosslocate.formats.pickles` for how it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import DataError
from crosslocate.formats.pickle_writing import write_mapping
from crosslocate.formats.texts import Texts

if TYPE_CHECKING:
    from crosslocate.formats.pickles import Mapping

Floats = NDArray[np.float64]

TEXTS = {"ImageFns": "filenames", "IDs": "ids", "PlaceNames": "place_names"}
"""Lists of strings: name in the file without ``db`` or ``q``, and attribute of `MetaImages`."""
NUMBERS = {"WGS": ("wgs", 2), "UTM": ("utm", 2), "Elevations": ("elevations", 0), "CameraParams": ("camera", 4)}
"""Numbers: name in the file, attribute and columns (0: one number a row)."""
ROLES = {"db": "database", "q": "queries"}
LONGEST_NAME = 4096
"""Characters that a file name, an identifier or the name of a place may have."""


@dataclass(frozen=True, eq=False)
class MetaImages:
    """The images of one role.

    Args:
        filenames: File names, without folder.
        ids: Identifiers.
        place_names: Name of the place of every image.
        wgs: Longitude and latitude in degrees, float64 [n, 2].
        utm: Easting and northing in metres, float64 [n, 2].
        elevations: Metres above sea level, float64 [n].
        camera: Yaw, pitch, roll and horizontal field of view in radians, float64 [n, 4].
    """

    filenames: Sequence[str]
    ids: Sequence[str]
    place_names: Sequence[str]
    wgs: Floats
    utm: Floats
    elevations: Floats
    camera: Floats

    def __len__(self) -> int:
        return len(self.filenames)

    @property
    def longitude(self) -> Floats:
        """Degrees east, float64 [n]."""
        return self.wgs[:, 0]

    @property
    def latitude(self) -> Floats:
        """Degrees north, float64 [n]."""
        return self.wgs[:, 1]

    @property
    def easting(self) -> Floats:
        """UTM easting in metres, float64 [n]."""
        return self.utm[:, 0]

    @property
    def northing(self) -> Floats:
        """UTM northing in metres, float64 [n]."""
        return self.utm[:, 1]

    @property
    def yaw(self) -> Floats:
        """Heading in radians clockwise from north, float64 [n], not wrapped."""
        return self.camera[:, 0]

    @property
    def pitch(self) -> Floats:
        """Radians, up positive, float64 [n]."""
        return self.camera[:, 1]

    @property
    def roll(self) -> Floats:
        """Radians, float64 [n]."""
        return self.camera[:, 2]

    @property
    def horizontal_fov(self) -> Floats:
        """Horizontal field of view in radians, float64 [n]."""
        return self.camera[:, 3]


@dataclass(frozen=True, eq=False)
class MetaStructure:
    """Database and queries of one set (training, validation or test)."""

    database: MetaImages
    queries: MetaImages


def no_images() -> MetaImages:
    """The images of a role that has none."""
    return MetaImages([], [], [], np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty((0, 4)))


def read_meta(path: str | Path) -> MetaStructure:
    """Read a meta structure; nothing in it is ever executed.

    Raises:
        DataError: When the file is missing, damaged, holds anything but arrays, numbers, strings, dicts and lists, or
            a field is missing, of another length or type, or NaN, or a name is longer than `LONGEST_NAME`; names
            file, field and row.
    """
    from crosslocate.formats.pickles import Mapping  # compiled code: imported where it is needed

    try:
        content = Mapping(Path(path))
        return MetaStructure(*(_images(content, prefix) for prefix in ROLES))
    except MemoryError:
        raise DataError(f"{path}: takes more memory than this machine has") from None


def write_meta(path: str | Path, meta: MetaStructure) -> None:
    """Write a meta structure that CrossLocate itself reads (Python 3.6, NumPy 1.16 and newer); atomic.

    Raises:
        DataError: When fields differ in length or the file cannot be written.
    """
    path = Path(path)
    fields: dict[str, Sequence[str] | Floats] = {}
    for prefix, role in ROLES.items():
        images = getattr(meta, role)
        for key, attribute in TEXTS.items():
            texts = getattr(images, attribute)
            fields[prefix + key] = texts if isinstance(texts, Texts) else list(texts)
        for key, (attribute, _) in NUMBERS.items():
            fields[prefix + key] = np.asarray(getattr(images, attribute), np.float64)
        _same_length(path, {key: fields[key] for key in fields if key.startswith(prefix)})
    write_mapping(path, fields)


def _images(content: "Mapping", prefix: str) -> MetaImages:
    missing = [prefix + key for key in (*TEXTS, *NUMBERS) if prefix + key not in content.fields]
    if missing:
        present = ", ".join(content.fields)[:500] or "none"
        raise DataError(f"{content.path}: fields missing: {', '.join(missing)}; present: {present}")
    fields: dict[str, Any] = {prefix + key: content.texts(prefix + key, LONGEST_NAME) for key in TEXTS}
    for key, (_, columns) in NUMBERS.items():
        numbers = fields[prefix + key] = content.numbers(prefix + key, columns)
        bad = ~np.isfinite(numbers)
        if bad.any():
            at = np.unravel_index(int(np.argmax(bad)), bad.shape)
            raise DataError(f"{content.path}: {prefix}{key} row {at[0]} holds {numbers[at]}; expected finite numbers")
    _same_length(content.path, fields)
    return MetaImages(*fields.values())


def _same_length(path: Path, fields: dict[str, Any]) -> None:
    lengths = {key: len(values) for key, values in fields.items()}
    if len(set(lengths.values())) > 1:
        shortest = min(lengths.values())
        told = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise DataError(f"{path} row {shortest}: fields differ in length: {told}")
