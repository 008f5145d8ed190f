"""What varies between two photographs of the same view: weather, light, season and the camera that took them."""

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from crosslocate.terrain.imagery.photo_settings import (
    SEASONS,
    WEATHERS,
    Moment,
    PhotoSettings,
    season_of,
    snow_line,
    snow_phase,
)

Colour = tuple[float, float, float]
"""Linear red, green, blue."""

ANYTHING = PhotoSettings()

_FULL_SUN = math.sin(math.radians(6.0))  # sines of lower suns are in proportion to their light
_SNOW_LINE_SPREAD = 120.0  # metres


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
    haze_floor: float
    """Share of the ground's light that comes through however far it is."""
    cloud_cover: float
    """Threshold of the cloud field: -1 clear, +1 closed."""
    cloud_scale: float
    cloud_white: float
    forest: Colour
    forest_tint: Colour
    meadow: Colour
    rock: Colour
    snow: float
    """Share of open ground under snow, 0 to 1, at any height."""
    snow_line: float
    """Elevation in metres from which on all open ground is under snow."""
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
    snow_phase: float
    """Of ``photo_settings.snow_line``."""


_SEASONS = (
    _Season((0.050, 0.090, 0.032), (0.085, 0.120, 0.035), (0.150, 0.185, 0.060), (0.0, 0.0), 0.9),  # summer
    _Season((0.070, 0.115, 0.035), (0.120, 0.150, 0.050), (0.200, 0.240, 0.080), (0.0, 0.2), 0.3),  # spring
    _Season((0.180, 0.090, 0.030), (0.240, 0.150, 0.040), (0.240, 0.200, 0.095), (0.0, 0.0), 0.75),  # autumn
    _Season((0.095, 0.078, 0.062), (0.060, 0.075, 0.045), (0.230, 0.200, 0.140), (0.0, 0.3), 0.4),  # late autumn
    _Season((0.085, 0.078, 0.072), (0.055, 0.065, 0.055), (0.250, 0.220, 0.170), (0.5, 1.0), 0.05),  # winter
)


class _Weather(NamedTuple):
    share: float
    sun: tuple[float, float]
    sky: tuple[float, float]
    cloud_cover: tuple[float, float]
    greyness: tuple[float, float]
    haze_length: tuple[float, float]
    haze_floor: float = 0.12


_WEATHERS = (
    _Weather(0.33, (0.9, 1.15), (0.22, 0.36), (-1.0, -0.75), (0.0, 0.15), (7e3, 5e4)),  # clear
    _Weather(0.35, (0.8, 1.10), (0.26, 0.42), (-0.35, 0.25), (0.0, 0.3), (6e3, 4e4)),  # fair, with clouds
    _Weather(0.20, (0.0, 0.12), (0.55, 0.80), (0.15, 0.9), (0.75, 1.0), (6e3, 3e4)),  # overcast
    _Weather(0.12, (0.4, 0.90), (0.35, 0.55), (-1.0, -0.1), (0.4, 0.8), (4e3, 1e4)),  # misty
    _Weather(0.00, (0.0, 0.10), (0.55, 0.80), (0.2, 0.9), (0.9, 1.0), (3e2, 1.5e3), 0.0),  # fog
)


def draw_appearance(
    rng: Generator,
    settings: PhotoSettings = ANYTHING,
    longitude: float = 0.0,
    latitude: float = 46.0,
    chosen: Generator | None = None,
) -> Appearance:
    """Draw one appearance: the weather sets sun, sky and haze, the season the ground, the camera the rest.

    Whatever the settings, the same numbers are drawn from ``rng`` in the same order, and used for what is left open.

    Args:
        rng: For everything that is left open.
        settings: What is asked for.
        longitude: Of the camera in degrees: decides with a date and a time where the sun stands.
        latitude: See ``longitude``.
        chosen: For choices within the settings; needed when there are any.

    Raises:
        TerrainError: The sun is not up when a photograph is asked for.
    """
    weather = _choose_weather(rng.random(), settings)
    season, line = _SEASONS[rng.integers(len(_SEASONS))], math.inf
    sun_elevation, sun_azimuth = math.radians(rng.uniform(6.0, 62.0)), None
    if chosen is not None:
        moment = settings.draw_moment(chosen, longitude, latitude)
        if moment is not None:
            sun_azimuth, sun_elevation = moment.sun_azimuth, moment.sun_elevation
        if moment is not None or settings.seasons:
            season, line = _season_at(chosen, settings, moment, latitude)
    scattered = 1.0 if math.isinf(line) else 0.0  # with a snow line there is no snow elsewhere
    warm = math.exp(-sun_elevation / math.radians(14.0))
    sun = rng.uniform(*weather.sun) * min(1.0, math.sin(sun_elevation) / _FULL_SUN)
    horizon, zenith = _draw_sky(rng, rng.uniform(*weather.greyness), warm)
    ambient = rng.uniform(*weather.sky)
    ground = rng.uniform(0.75, 1.3)
    grey = rng.uniform(0.13, 0.26)
    drawn_azimuth = rng.uniform(0.0, 2.0 * math.pi)
    return Appearance(
        sun_azimuth=drawn_azimuth if sun_azimuth is None else sun_azimuth,
        sun_elevation=sun_elevation,
        sun_light=_scaled((1.0, 0.96 - 0.30 * warm, 0.90 - 0.60 * warm), sun),
        sky_light=_scaled((0.5 + 0.5 * horizon[0], 0.5 + 0.5 * horizon[1], 0.5 + 0.5 * horizon[2]), ambient),
        sky_horizon=horizon,
        sky_zenith=zenith,
        sun_glow=rng.uniform(0.1, 0.5) * min(sun, 1.0),
        haze_length=math.exp(rng.uniform(*np.log(weather.haze_length))),
        haze_floor=weather.haze_floor,
        cloud_cover=rng.uniform(*weather.cloud_cover),
        cloud_scale=math.exp(rng.uniform(math.log(0.7), math.log(2.5))),
        cloud_white=rng.uniform(0.85, 1.1) if sun > 0.3 else rng.uniform(0.6, 0.9),
        forest=_scaled(season.forest, ground * rng.uniform(0.8, 1.2)),
        forest_tint=_scaled(season.forest_tint, ground * rng.uniform(0.8, 1.2)),
        meadow=_scaled(season.meadow, ground * rng.uniform(0.8, 1.2)),
        rock=(grey, grey * rng.uniform(0.9, 1.0), grey * rng.uniform(0.78, 0.98)),
        snow=scattered * rng.uniform(*season.snow),
        snow_line=line,
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


def _choose_weather(share: float, settings: PhotoSettings) -> _Weather:
    """The weather at a share in [0, 1) of those that are asked for."""
    among = [_WEATHERS[WEATHERS.index(name)] for name in settings.weathers] or list(_WEATHERS)
    shares = np.cumsum([weather.share for weather in among])
    if shares[-1] == 0.0:
        shares = np.arange(1.0, len(among) + 1.0)
    return among[int(np.searchsorted(shares[:-1] / shares[-1], share, side="right"))]


def _season_at(
    rng: Generator, settings: PhotoSettings, moment: Moment | None, latitude: float
) -> tuple[_Season, float]:
    """The season that is asked for, else that of the date; and its snow line, which differs from year to year."""
    among = settings.seasons or (season_of(moment.day, latitude),) if moment else settings.seasons
    season = _SEASONS[SEASONS.index(among[int(rng.integers(len(among)))])]
    phase = snow_phase(moment.day, latitude) if moment and not settings.seasons else season.snow_phase
    return season, snow_line(phase, latitude) + float(rng.normal(0.0, _SNOW_LINE_SPREAD))


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
