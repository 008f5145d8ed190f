"""Where the sun stands at a place and a moment, to a hundredth of a degree.

Low-accuracy solar coordinates of Meeus, Astronomical Algorithms (2nd edition 1998), chapters 12, 13 and 25; refraction
by Saemundsson's formula, chapter 16. Universal time is taken for dynamical time: a minute, 0.0007 degrees of longitude.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_J2000 = np.datetime64("2000-01-01T12:00:00", "ms")


def sun_coordinates(when: NDArray[np.datetime64]) -> tuple[Floats, Floats]:
    """Apparent right ascension and declination of the sun in radians at moments of universal time."""
    t = _days(when) / 36525.0
    mean_longitude = 280.46646 + t * (36000.76983 + t * 0.0003032)
    anomaly = np.radians(357.52911 + t * (35999.05029 - t * 0.0001537))
    centre = (
        (1.914602 - t * (0.004817 + t * 0.000014)) * np.sin(anomaly)
        + (0.019993 - t * 0.000101) * np.sin(2 * anomaly)
        + 0.000289 * np.sin(3 * anomaly)
    )
    node = np.radians(125.04 - 1934.136 * t)
    longitude = np.radians(mean_longitude + centre - 0.00569 - 0.00478 * np.sin(node))
    obliquity = np.radians(23.4392911 - t * (0.0130042 + t * (1.64e-7 - t * 5.036e-7)) + 0.00256 * np.cos(node))
    ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
    return np.mod(ascension, 2 * np.pi), np.arcsin(np.sin(obliquity) * np.sin(longitude))


def sun_position(when: NDArray[np.datetime64], longitude: float, latitude: float) -> tuple[Floats, Floats]:
    """Azimuth (clockwise from true north) and elevation of the sun's centre in radians, without refraction.

    Args:
        when: Moments of universal time, of any shape.
        longitude: Degrees, east positive.
        latitude: Degrees.
    """
    ascension, declination = sun_coordinates(when)
    days = _days(when)
    t = days / 36525.0
    sidereal = 280.46061837 + 360.98564736629 * days + t * t * (0.000387933 - t / 38_710_000.0)
    hour = np.radians(np.mod(sidereal + longitude, 360.0)) - ascension
    phi = np.radians(latitude)
    elevation = np.arcsin(np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour))
    south = np.arctan2(np.sin(hour), np.cos(hour) * np.sin(phi) - np.tan(declination) * np.cos(phi))
    return np.mod(south + np.pi, 2 * np.pi), elevation


def refraction(elevation: Floats) -> Floats:
    """Radians by which air lifts what stands at a true elevation (radians); 0.48 degrees at the horizon."""
    degrees = np.degrees(np.maximum(elevation, np.radians(-1.0)))
    return np.radians(1.02 / 60.0 / np.tan(np.radians(degrees + 10.3 / (degrees + 5.11))))


def _days(when: NDArray[np.datetime64]) -> Floats:
    """Days since noon of the first of January 2000."""
    return np.asarray((np.asarray(when, "datetime64[ms]") - _J2000) / np.timedelta64(86_400_000, "ms"), np.float64)
