"""What simulated photographs shall look like; whatever is left open is drawn anew for every view."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.imagery.sun import refraction, sun_position

SEASONS = ("summer", "spring", "autumn", "late autumn", "winter")
WEATHERS = ("clear", "fair", "overcast", "misty", "fog")
LOWEST_SUN = np.radians(1.0)
"""Apparent elevation of the sun below which no photograph is taken."""

_STARTS = ((80, "spring"), (172, "summer"), (259, "autumn"), (305, "late autumn"), (345, "winter"))  # days of a year
_YEAR = ("2025-01-01", "2025-12-31")
_TRIES = 64
_TROPIC = 23.44


class Moment(NamedTuple):
    """When a photograph is taken.

    Attributes:
        day: The date.
        sun_azimuth: Radians clockwise from true north.
        sun_elevation: Radians, as it appears (with refraction).
    """

    day: np.datetime64
    sun_azimuth: float
    sun_elevation: float


@dataclass(frozen=True)
class PhotoSettings:
    """Season, weather and time of simulated photographs; everything that is None is drawn for every view.

    Attributes:
        season: One of `SEASONS`, or a list of which one is drawn. None: as the date has it where one is known at the
            latitude, else any.
        weather: One of `WEATHERS`, or a list; None: all but fog, in shares of 33, 35, 20 and 12 %.
        date: ``YYYY-MM-DD``, or a list of the first and the last day. None while a time is given: any day of the
            season, or of the year.
        time: ``HH:MM``, or a list of the first and the last. None while a date is given: any time at which the sun is
            up. With neither a date nor a time the sun stands anywhere from 6 to 62 degrees high.
        utc_offset: Hours by which the clock is ahead of universal time; None: mean solar time (12:00 is near noon).

    Raises:
        ConfigError: A value that cannot work, with its key.
    """

    season: str | Sequence[str] | None = None
    weather: str | Sequence[str] | None = None
    date: str | Sequence[str] | None = None
    time: str | Sequence[str] | None = None
    utc_offset: float | None = None

    def __post_init__(self) -> None:
        for name, known in (("season", SEASONS), ("weather", WEATHERS)):
            chosen = self._listed(name)
            for value in chosen:
                if value not in known:
                    raise ConfigError(f"images.photo.{name}", value, known)
            if getattr(self, name) is not None and not chosen:
                raise ConfigError(f"images.photo.{name}", getattr(self, name), "null, a name, or a list of names")
        self.days()
        self.minutes()
        if self.utc_offset is not None and not -15.0 <= self.utc_offset <= 15.0:
            raise ConfigError("images.photo.utc_offset", self.utc_offset, "-15 to 15 hours, or null")

    @property
    def seasons(self) -> tuple[str, ...]:
        """The seasons that are asked for; none: all."""
        return self._listed("season")

    @property
    def weathers(self) -> tuple[str, ...]:
        """The weathers that are asked for; none: all but fog."""
        return self._listed("weather")

    def days(self) -> tuple[np.datetime64, np.datetime64] | None:
        """First and last day that are asked for."""
        found = self._range("date", r"\d{4}-\d\d-\d\d", "'YYYY-MM-DD', or a list of the first and the last day")
        if found is None:
            return None
        try:
            first, last = (np.datetime64(day, "D") for day in found)
        except ValueError:
            raise ConfigError("images.photo.date", self.date, "days of the calendar") from None
        if first > last:
            raise ConfigError("images.photo.date", self.date, "the first day before the last")
        return first, last

    def minutes(self) -> tuple[int, int] | None:
        """First and last minute of the day that are asked for."""
        found = self._range(
            "time", r"([01]?\d|2[0-3]):[0-5]\d", "'HH:MM' (in quotes), or a list of the first and the last time"
        )
        if found is None:
            return None
        first, last = (int(hours) * 60 + int(minutes) for hours, minutes in (time.split(":") for time in found))
        if first > last:
            raise ConfigError("images.photo.time", self.time, "the first time before the last")
        return first, last

    def draw_moment(self, rng: Generator, longitude: float, latitude: float) -> Moment | None:
        """When a photograph at a place (degrees) is taken; None where neither date nor time are asked for.

        Every minute of the day that is drawn at which the sun is up is as likely as any other.

        Raises:
            TerrainError: The sun is not up on these days at these times there.
        """
        days, minutes = self.days(), self.minutes()
        if days is None and minutes is None:
            return None
        first, last = days or tuple(np.datetime64(day, "D") for day in _YEAR)
        earliest, latest = minutes or (0, 1439)
        ahead = longitude / 15.0 if self.utc_offset is None else self.utc_offset
        clock = np.arange(earliest, latest + 1)
        for _ in range(1 if first == last else _TRIES):
            day = first + np.timedelta64(int(rng.integers(int((last - first).astype(int)) + 1)), "D")
            if days is None and self.seasons and season_of(day, latitude) not in self.seasons:
                continue
            seconds = np.round((clock - 60.0 * ahead) * 60.0).astype("timedelta64[s]")
            azimuth, elevation = sun_position(day.astype("datetime64[s]") + seconds, longitude, latitude)
            elevation = elevation + refraction(elevation)
            up = np.flatnonzero(elevation >= LOWEST_SUN)
            if len(up):
                k = int(up[rng.integers(len(up))])
                return Moment(day, float(azimuth[k]), float(elevation[k]))
        raise TerrainError(
            f"no photograph can be taken at latitude {latitude:.3f}, longitude {longitude:.3f} with "
            f"images.photo.date={self.date} time={self.time}: the sun is not {np.degrees(LOWEST_SUN):.0f} degree high"
        )

    def _listed(self, name: str) -> tuple[str, ...]:
        value = getattr(self, name)
        return () if value is None else (value,) if isinstance(value, str) else tuple(value)

    def _range(self, name: str, pattern: str, allowed: str) -> tuple[str, str] | None:
        value: Any = getattr(self, name)
        if value is None:
            return None
        ends = (value, value) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
        if len(ends) != 2 or not all(isinstance(end, str) and re.fullmatch(pattern, end) for end in ends):
            raise ConfigError(f"images.photo.{name}", value, allowed)
        return ends[0], ends[1]


def season_of(day: np.datetime64, latitude: float) -> str:
    """Season of a date: of the northern half of the year in the north, half a year later in the south.

    Between the tropics it is always summer.
    """
    if abs(latitude) < _TROPIC:
        return "summer"
    number = _day_of_year(day, latitude)
    return next((name for start, name in reversed(_STARTS) if number >= start), "winter")


def snow_line(phase: float, latitude: float) -> float:
    """Metres above which open ground is under snow, from the year's phase: 0 in late winter, 1 in late summer.

    Between two tables over the latitude: the line in late winter, and the line of lasting snow. Rounded to the usual
    heights of continental mountains; in the Alps 900 m in February, 1,800 m in the middle of May, 2,950 m in August.
    """
    lowest = np.interp(abs(latitude), (0, 28, 36, 46, 55, 60), (4700, 4200, 2200, 900, 100, 0))
    highest = np.interp(abs(latitude), (0, 28, 46, 60, 78), (4900, 5700, 2950, 1500, 300))
    return float(lowest + phase * (highest - lowest))


def snow_phase(day: np.datetime64, latitude: float) -> float:
    """The year's phase for `snow_line`: a cosine with its lowest point on the 19th of February."""
    return float(0.5 - 0.5 * np.cos(2 * np.pi * (_day_of_year(day, latitude) - 50) / 365.25))


def _day_of_year(day: np.datetime64, latitude: float) -> int:
    """Days since the last of December, in the south with half a year added."""
    number = int((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)) + 1
    return number if latitude >= 0 else (number + 182) % 365 + 1
