"""How people hold a camera: distributions of field of view, pitch, roll and height, and poses drawn from them.

The defaults are the quantiles of the 12,353 query cameras of CrossLocate: 5, 50 and 95 % are given, the ends (0 and
100 %) are chosen so that no pose is absurd. Between the quantiles the distribution function is linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from crosslocate.errors import ConfigError

Floats = NDArray[np.float64]
SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)
"""Shares at which a distribution's quantiles are given."""


def draw_quantiles(rng: Generator, quantiles: Sequence[float], size: int) -> Floats:
    """Draw values whose 0, 5, 50, 95 and 100 % quantiles are given, by the inverse distribution function."""
    return np.interp(rng.random(size), SHARES, quantiles)


@dataclass(frozen=True)
class PoseDistribution:
    """Quantiles (0, 5, 50, 95, 100 %) of query cameras; angles in degrees, height in metres above the terrain model."""

    field_of_view: tuple[float, ...] = (18.0, 23.0, 59.0, 85.0, 95.0)
    pitch: tuple[float, ...] = (-30.0, -18.0, -2.0, 15.0, 25.0)
    roll: tuple[float, ...] = (-8.0, -4.0, 0.0, 3.0, 7.0)
    height: tuple[float, ...] = (-30.0, -15.0, 20.0, 93.0, 150.0)
    eye_height: float = 2.0
    """No camera stands lower than this above the terrain model (the model is coarse: real cameras seem to)."""

    def __post_init__(self) -> None:
        for name in ("field_of_view", "pitch", "roll", "height"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def check(self, key: str) -> None:
        """Make sure that the values can work.

        Args:
            key: Where the configuration has them.

        Raises:
            ConfigError: One cannot.
        """
        for name in ("field_of_view", "pitch", "roll", "height"):
            values = getattr(self, name)
            if len(values) != len(SHARES) or list(values) != sorted(values):
                raise ConfigError(f"{key}.{name}", values, f"{len(SHARES)} ascending quantiles at {SHARES}")
        if not 0.0 < self.field_of_view[0] <= self.field_of_view[-1] < 180.0:
            raise ConfigError(f"{key}.field_of_view", self.field_of_view, "angles between 0 and 180 degrees")
        if self.eye_height <= 0.0:
            raise ConfigError(f"{key}.eye_height", self.eye_height, "a positive height in metres")

    def draw_heights(self, rng: Generator, size: int) -> Floats:
        """Camera heights above the terrain in metres, at least ``eye_height``."""
        return np.maximum(draw_quantiles(rng, self.height, size), self.eye_height)

    def draw_fields_of_view(self, rng: Generator, size: int) -> Floats:
        """Horizontal fields of view in radians."""
        return np.radians(draw_quantiles(rng, self.field_of_view, size))

    def draw_directions(self, rng: Generator, size: int) -> tuple[Floats, Floats, Floats]:
        """Yaw (uniform over the circle), pitch and roll in radians, each of shape [size]."""
        yaw = rng.uniform(0.0, 2.0 * np.pi, size)
        pitch, roll = (np.radians(draw_quantiles(rng, quantiles, size)) for quantiles in (self.pitch, self.roll))
        return yaw, pitch, roll
