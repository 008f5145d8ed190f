"""Where on the earth every pixel's ray ends, kept to a centimetre in single precision.

A file of coordinates is an OpenEXR image with the channels ``longitude`` and ``latitude``, in degrees from the position
in its header (the standard attributes of these names), and ``elevation`` in metres; NaN in the sky. The position in
the header is the camera's, rounded to what the header's single precision holds exactly, so that nothing is lost.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting.hits import Hits
from crosslocate.terrain.casting.positions import turn_longitudes

CHANNELS = ("longitude", "latitude", "elevation")


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Positions of the pixels of an image.

    Attributes:
        origin: Longitude and latitude in degrees, WGS84, that single precision holds.
        offsets: Degrees of longitude and of latitude from there, and elevation in metres, NaN in the sky, float32
            ``[H, W, 3]``.
    """

    origin: tuple[float, float]
    offsets: NDArray[np.float32]

    @classmethod
    def of(cls, hits: Hits) -> "Coordinates":
        """The coordinates of what a camera sees."""
        origin = float(np.float32(hits.camera.longitude)), float(np.float32(hits.camera.latitude))
        east = hits.longitude - origin[0]
        turn_longitudes(east)
        offsets = np.empty((*east.shape, 3), np.float32)
        offsets[..., 0], offsets[..., 1], offsets[..., 2] = east, hits.latitude - origin[1], hits.elevation
        return cls(origin, offsets)

    def positions(self) -> NDArray[np.float64]:
        """Longitude and latitude in degrees and elevation in metres, NaN in the sky, ``[H, W, 3]``."""
        positions = self.offsets.astype(np.float64)
        positions[..., 0] += self.origin[0]
        positions[..., 1] += self.origin[1]
        return positions

    def channels(self) -> dict[str, NDArray[np.float32]]:
        """The channels of the file, [H, W] each."""
        return {name: self.offsets[..., k] for k, name in enumerate(CHANNELS)}

    def attributes(self) -> dict[str, float]:
        """The attributes of the file's header."""
        return dict(zip(CHANNELS[:2], self.origin, strict=True))


def read_coordinates(path: Path | str) -> NDArray[np.float64]:
    """Longitude and latitude in degrees (WGS84) and elevation in metres of every pixel, NaN in the sky, ``[H, W, 3]``.

    Raises:
        TerrainError: The file is missing, is not OpenEXR, or lacks a channel or its position.
    """
    if not Path(path).is_file():
        raise TerrainError(f"{path} does not exist")
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            header, channels = dict(file.header()), file.channels()
            found = {name: np.asarray(channels[name].pixels, np.float32) for name in channels}
    except (RuntimeError, OSError) as error:
        raise TerrainError(f"{path} is not an OpenEXR file: {error}") from None
    lacking = [name for name in CHANNELS if name not in found] + [name for name in CHANNELS[:2] if name not in header]
    if lacking:
        there = ", ".join(sorted(found))
        raise TerrainError(f"{path} holds no coordinates: {lacking[0]} is missing; its channels are {there}")
    origin = float(header["longitude"]), float(header["latitude"])
    return Coordinates(origin, np.stack([found[name] for name in CHANNELS], axis=-1)).positions()
