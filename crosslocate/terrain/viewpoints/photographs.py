"""Simulated photographs at positions, and real ones whose poses a list gives."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from crosslocate.console import track
from crosslocate.errors import ConfigError
from crosslocate.terrain.viewpoints.cameras import CameraTable
from crosslocate.terrain.viewpoints.names import numbered, suffixed
from crosslocate.terrain.viewpoints.poses import PoseDistribution
from crosslocate.terrain.viewpoints.positions import Positions
from crosslocate.terrain.viewpoints.views import draw_pose

if TYPE_CHECKING:
    from crosslocate.terrain.casting.raycast import RayCaster

Floats = NDArray[np.float64]
_STREAM = 13  # of random numbers


@dataclass(frozen=True)
class Photographs:
    """How photographs are simulated.

    Attributes:
        count: At each position.
        poses: Distributions of the angles, and of the heights above ground.
        terrain_share: Smallest and largest share of the picture covered by terrain; poses are drawn until it is (up to
            40 times).
    """

    count: int = 1
    poses: PoseDistribution = field(default_factory=PoseDistribution)
    terrain_share: tuple[float, float] = (0.45, 0.95)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terrain_share", tuple(self.terrain_share))
        low, high = self.terrain_share
        if self.count < 1:
            raise ConfigError("survey.photographs.count", self.count, "1 or more")
        if not 0.0 <= low < high <= 1.0:
            raise ConfigError("survey.photographs.terrain_share", list(self.terrain_share), "two ascending in [0, 1]")

    def heights(self, positions: Positions, rng: Generator) -> Floats:
        """Heights of cameras above ground in metres, [n]: drawn where nothing is given, neither height nor heading."""
        drawn = self.poses.draw_heights(rng, len(positions))
        free = np.isnan(positions.height) & np.isnan(positions.altitude) & np.isnan(positions.yaw)
        return np.where(free, drawn, positions.height)

    def table(
        self,
        caster: "RayCaster",
        positions: Positions,
        place: NDArray[np.int32],
        *,
        fov: float,
        aspect: float,
        seed: int,
        workers: int,
    ) -> CameraTable:
        """The cameras of all photographs.

        Args:
            caster: Sees the terrain.
            positions: With altitudes and splits. One with a heading is one camera, level where nothing else is given;
                the others are photographed from ``count`` times, with what they say of pitch, roll and field of view.
            place: Number of each position's place.
            fov: Horizontal field of view in radians where a position with a heading has none.
            aspect: Width over height of the images.
            seed: Seed; a pose depends on it and on the position's number among all simulated ones.
            workers: Threads.
        """
        given = np.isfinite(positions.yaw)
        counts = np.where(given, 1, self.count)
        rows = np.repeat(np.arange(len(positions)), counts)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        angles = np.stack([_or(positions.yaw, 0.0), _or(positions.pitch, 0.0), _or(positions.roll, 0.0),
                           _or(positions.fov, fov)], axis=1)[rows]  # fmt: skip
        drawn = np.flatnonzero(~given[rows])

        def draw(step: int) -> Floats:
            row = rows[drawn[step]]
            at = (float(positions.longitude[row]), float(positions.latitude[row]), float(positions.altitude[row]))
            known = (float(positions.pitch[row]), float(positions.roll[row]), float(positions.fov[row]))
            rng = default_rng([seed, _STREAM, step])
            return draw_pose(caster, at, self.poses, self.terrain_share, aspect, rng, known)

        with ThreadPoolExecutor(workers) as pool:
            poses = track(
                pool.map(draw, range(len(drawn))), "Taking photographs", len(drawn), visible=len(drawn) > 1000
            )
            for at, pose in zip(drawn, poses, strict=True):
                angles[at] = pose
        suffixes = numbered("_q", np.arange(int(self.count)), 2)
        yaw, pitch, roll, horizontal_fov = np.ascontiguousarray(angles.T)
        name = suffixed(positions.name, suffixes, np.where(given[rows], -1, number), rows)
        return CameraTable.at(
            positions, rows, place[rows], name=name, yaw=yaw, pitch=pitch, roll=roll, horizontal_fov=horizontal_fov
        )


def _or(values: Floats, other: float) -> Floats:
    return np.where(np.isnan(values), other, values)
