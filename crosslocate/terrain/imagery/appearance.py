"""What varies between two photographs of the same view: weather, light, season and the camera that took them."""

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

Colour = tuple[float, float, float]
"""Linear red, green, blue."""


class Appearance(NamedTuple):
    """All parameters of one simulated photograph (a named tuple: compiled code reads it as it is).

    Angles in radians, lengths in metres, colours linear RGB where 1 is a white surface in full sun.
    """

    sun_azimuth: float
    sun_elevation: float
    sun_light: Colour
    sky_light: Colour
    sky_horizon: Colour
    sky_zenith: Colour
    sun_glow: float
    haze_length: float
    """Distance at which 63 % of the light comes from the air and not from the ground."""
    cloud_cover: float
    """Threshold of the cloud field: -1 clear, +1 closed."""
    cloud_scale: float
    cloud_white: float
    forest: Colour
    forest_tint: Colour
    meadow: Colour
    rock: Colour
    snow: float
    """Share of open ground under snow, 0 to 1."""
    woods: float
    """Shifts the boundary between meadow and forest, -0.5 to 0.5."""
    relief: float
    """Strength of the small relief that the elevation model does not hold."""
    exposure: float
    """Mean brightness that the camera aims at, on a scale to 1."""
    white_balance: Colour
    contrast: float
    saturation: float
    blur: float
    """Standard deviation of the lens's point spread in pixels."""
    vignette: float
    grain: float
    """Standard deviation of the sensor noise in 8-bit steps at mid-gray."""
    jpeg_quality: int
    seed: int

    @property
    def has_shadows(self) -> bool:
        """Whether the sun comes through strongly enough to cast a shade that one sees."""
        return self.sun_light[0] > 0.15


class _Season(NamedTuple):
    forest: Colour
    forest_tint: Colour
    meadow: Colour
    snow: tuple[float, float]


_SEASONS = (
    _Season((0.050, 0.090, 0.032), (0.085, 0.120, 0.035), (0.150, 0.185, 0.060), (0.0, 0.0)),  # summer
    _Season((0.070, 0.115, 0.035), (0.120, 0.150, 0.050), (0.200, 0.240, 0.080), (0.0, 0.2)),  # spring
    _Season((0.180, 0.090, 0.030), (0.240, 0.150, 0.040), (0.240, 0.200, 0.095), (0.0, 0.0)),  # autumn
    _Season((0.095, 0.078, 0.062), (0.060, 0.075, 0.045), (0.230, 0.200, 0.140), (0.0, 0.3)),  # late autumn
    _Season((0.085, 0.078, 0.072), (0.055, 0.065, 0.055), (0.250, 0.220, 0.170), (0.5, 1.0)),  # winter
)


class _Weather(NamedTuple):
    share: float
    sun: tuple[float, float]
    sky: tuple[float, float]
    cloud_cover: tuple[float, float]
    greyness: tuple[float, float]
    haze_length: tuple[float, float]


_WEATHERS = (
    _Weather(0.33, (0.9, 1.15), (0.22, 0.36), (-1.0, -0.75), (0.0, 0.15), (7e3, 5e4)),  # clear
    _Weather(0.35, (0.8, 1.10), (0.26, 0.42), (-0.35, 0.25), (0.0, 0.3), (6e3, 4e4)),  # fair, with clouds
    _Weather(0.20, (0.0, 0.12), (0.55, 0.80), (0.15, 0.9), (0.75, 1.0), (6e3, 3e4)),  # overcast
    _Weather(0.12, (0.4, 0.90), (0.35, 0.55), (-1.0, -0.1), (0.4, 0.8), (4e3, 1e4)),  # misty
)
_SHARES = np.cumsum([weather.share for weather in _WEATHERS])


def draw_appearance(rng: Generator) -> Appearance:
    """Draw one appearance: the weather sets sun, sky and haze, the season the ground, the camera the rest."""
    weather = _WEATHERS[int(np.searchsorted(_SHARES[:-1], rng.random(), side="right"))]
    season = _SEASONS[rng.integers(len(_SEASONS))]
    sun_elevation = math.radians(rng.uniform(6.0, 62.0))
    warm = math.exp(-sun_elevation / math.radians(14.0))
    sun = rng.uniform(*weather.sun)
    horizon, zenith = _draw_sky(rng, rng.uniform(*weather.greyness), warm)
    ambient = rng.uniform(*weather.sky)
    ground = rng.uniform(0.75, 1.3)
    grey = rng.uniform(0.13, 0.26)
    return Appearance(
        sun_azimuth=rng.uniform(0.0, 2.0 * math.pi),
        sun_elevation=sun_elevation,
        sun_light=_scaled((1.0, 0.96 - 0.30 * warm, 0.90 - 0.60 * warm), sun),
        sky_light=_scaled((0.5 + 0.5 * horizon[0], 0.5 + 0.5 * horizon[1], 0.5 + 0.5 * horizon[2]), ambient),
        sky_horizon=horizon,
        sky_zenith=zenith,
        sun_glow=rng.uniform(0.1, 0.5) * min(sun, 1.0),
        haze_length=math.exp(rng.uniform(*np.log(weather.haze_length))),
        cloud_cover=rng.uniform(*weather.cloud_cover),
        cloud_scale=math.exp(rng.uniform(math.log(0.7), math.log(2.5))),
        cloud_white=rng.uniform(0.85, 1.1) if sun > 0.3 else rng.uniform(0.6, 0.9),
        forest=_scaled(season.forest, ground * rng.uniform(0.8, 1.2)),
        forest_tint=_scaled(season.forest_tint, ground * rng.uniform(0.8, 1.2)),
        meadow=_scaled(season.meadow, ground * rng.uniform(0.8, 1.2)),
        rock=(grey, grey * rng.uniform(0.9, 1.0), grey * rng.uniform(0.78, 0.98)),
        snow=rng.uniform(*season.snow),
        woods=rng.uniform(-0.2, 0.2),
        relief=rng.uniform(0.5, 1.0),
        exposure=rng.uniform(0.42, 0.62),
        white_balance=(math.exp(rng.normal(0.0, 0.06)), 1.0, math.exp(rng.normal(0.0, 0.08))),
        contrast=rng.uniform(0.9, 1.35),
        saturation=rng.uniform(0.7, 1.25),
        blur=rng.uniform(0.3, 0.65),
        vignette=rng.uniform(0.0, 0.35),
        grain=math.exp(rng.uniform(math.log(0.8), math.log(5.0))),
        jpeg_quality=int(rng.integers(75, 96)),
        seed=int(rng.integers(1 << 30)),
    )


def _draw_sky(rng: Generator, greyness: float, warm: float) -> tuple[Colour, Colour]:
    """Colours of a sky at the horizon and overhead; ``greyness`` 1 is a closed cover, ``warm`` 1 a low sun."""
    white = rng.uniform(0.60, 0.85)
    blue = rng.uniform(0.7, 1.2)
    horizon = (white * (0.84 + 0.30 * warm), white * (1.0 - 0.04 * warm), white * (1.18 - 0.45 * warm))
    zenith = (0.09 * blue, 0.22 * blue, 0.56 * blue)
    level = white * rng.uniform(0.7, 0.95)
    return _mixed(horizon, (white, white, white * 1.02), greyness), _mixed(
        zenith, (level, level, level * 1.03), greyness
    )


def _scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    r, g, b_ = (x + share * (y - x) for x, y in zip(a, b, strict=True))
    return (r, g, b_)
