"""Schemes that take positions, and poses, from files: CSV lists and GPX tracks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.terrain.viewpoints.names import numbered
from crosslocate.terrain.viewpoints.pose_list import read_poses
from crosslocate.terrain.viewpoints.positions import Positions, Site
from crosslocate.terrain.viewpoints.thinning import apart, require_spacing
from crosslocate.terrain.viewpoints.track_file import POINTS, read_points

Floats = NDArray[np.float64]
_EXAMPLES = 5
_OUTSIDE = "outside_region"
_TOO_NEAR = "nearer_than_spacing"


@dataclass(frozen=True)
class Listed:
    """The rows of a CSV file (`crosslocate.terrain.viewpoints.pose_list`). Names are the file's, or ``c<row>``.

    Attributes:
        path: The file.
        poses: Whether a row's heading, pitch, roll and field of view count; else only where it is. What a row without
            a heading says of the others counts for all cameras there.
        spacing: Rows closer than that many metres to one before are left out; 0: none.
    """

    path: str
    poses: bool = True
    spacing: float = 0.0

    def check(self, key: str) -> None:
        """No negative spacing."""
        require_spacing(key, self.spacing)

    def positions(self, site: Site, rng: Generator) -> Positions:  # noqa: ARG002
        """Rows in the area that have ground, in the order of the file."""
        found = read_poses(Path(self.path), site.aspect)
        numbers, name = found.numbers, found.name
        name = np.where(name == "", numbered("c", np.arange(len(name)), 6), name)
        values, counts = np.unique(name, return_counts=True)
        if (counts > 1).any():
            raise ConfigError(
                f"{site.key}.path",
                self.path,
                f"no row named {values[counts > 1][0]}, as a row without a name is called",
            )
        lon, lat = numbers["longitude"], numbers["latitude"]
        given = np.where(np.isnan(numbers["altitude"]), numbers["height"], numbers["altitude"])
        ground, kept, left_out = _kept(site, lon, lat, self.spacing, given)
        gone = np.delete(np.arange(len(name)), kept)
        examples = {"for_example": name[gone[:_EXAMPLES]].tolist(), "columns_not_read": list(found.unread)}
        left_out |= {key: values for key, values in examples.items() if values}
        poses = {}
        if self.poses:
            angles = {"yaw": "heading", "pitch": "pitch", "roll": "roll", "fov": "field_of_view"}
            poses = {column: np.radians(numbers[key]) for column, key in angles.items()}
        return Positions.plain(
            name, lon, lat, ground, left_out=left_out, height=numbers["height"], altitude=numbers["altitude"],
            split=found.split, **poses,
        ).take(kept)  # fmt: skip


@dataclass(frozen=True)
class Track:
    """Points of a GPX file, thinned. Names are ``t<point>``.

    Attributes:
        path: The file.
        spacing: Points closer than that many metres to one before are left out; 0: none.
        kinds: Which points: of tracks, routes and waypoints.
        altitudes: Whether the points' elevations count; else cameras stand at eye height (receivers err by tens of
            metres).
    """

    path: str
    spacing: float = 100.0
    kinds: Sequence[str] = ("tracks", "routes", "waypoints")
    altitudes: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))

    def check(self, key: str) -> None:
        """Kinds of points that there are, at least one, and no negative spacing."""
        for kind in self.kinds:
            if kind not in POINTS:
                raise ConfigError(f"{key}.kinds", kind, POINTS)
        if not self.kinds:
            raise ConfigError(f"{key}.kinds", [], f"at least one of {', '.join(POINTS)}")
        require_spacing(key, self.spacing)

    def positions(self, site: Site, rng: Generator) -> Positions:  # noqa: ARG002
        """Points in the area that have ground, in the order of the file."""
        lon, lat, elevation = np.ascontiguousarray(read_points(Path(self.path), tuple(self.kinds)).T)
        altitude = elevation if self.altitudes else np.full(len(lon), np.nan)
        ground, kept, left_out = _kept(site, lon, lat, self.spacing, altitude)
        return Positions.plain(
            numbered("t", np.arange(len(lon)), 6), lon, lat, ground, left_out=left_out, altitude=altitude
        ).take(kept)


def _kept(
    site: Site, lon: Floats, lat: Floats, spacing: float, altitude: Floats
) -> tuple[Floats, NDArray[np.int64], dict[str, Any]]:
    """Ground below all positions, the rows that are taken, and how many are not, by reason.

    Where ``altitude`` (or a height; NaN where neither is known) is given, the camera may be above open water.
    """
    inside = np.flatnonzero(site.area.contains(lon, lat))
    ground = np.full(len(lon), np.nan)
    ground[inside] = site.ground(lon[inside], lat[inside])
    standing, reasons = site.standing(ground[inside], altitude[inside])
    known = inside[standing]
    kept = known[apart(lon[known], lat[known], spacing)]
    return ground, kept, {_OUTSIDE: len(lon) - len(inside), **reasons, _TOO_NEAR: len(known) - len(kept)}
