"""The sun against published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.terrain.imagery.sun import refraction, sun_coordinates, sun_position


def test_coordinates_of_the_example_of_meeus():
    """Astronomical Algorithms, example 25.a: 1992 October 13, 0h."""
    ascension, declination = sun_coordinates(np.datetime64("1992-10-13T00:00"))
    assert np.degrees(ascension) == pytest.approx(198.38083, abs=0.002)
    assert np.degrees(declination) == pytest.approx(-7.78507, abs=0.001)


def test_position_of_the_example_of_reda_and_andreas():
    """Solar Position Algorithm (2004), table A5.1: Golden, 17 October 2003, 12:30:30 at UTC - 7."""
    when = np.datetime64("2003-10-17T19:30:30")
    ascension, declination = sun_coordinates(when)
    assert np.degrees(ascension) == pytest.approx(202.22741, abs=0.01)
    assert np.degrees(declination) == pytest.approx(-9.31434, abs=0.01)
    azimuth, elevation = sun_position(when, -105.1786, 39.742476)
    assert np.degrees(azimuth) == pytest.approx(194.340241, abs=0.01)
    assert np.degrees(elevation) == pytest.approx(39.872046, abs=0.005)
    # at 820 mbar and 11 degrees: 0.8 of the refraction of a standard atmosphere
    assert np.degrees(elevation + 0.806 * refraction(elevation)) == pytest.approx(39.888378, abs=0.005)


@pytest.mark.parametrize(
    ("when", "declination"),
    [  # equinoxes and solstices as almanacs give them
        ("2024-03-20T03:06", 0.0),
        ("2024-06-20T20:51", 23.436),
        ("2024-09-22T12:44", 0.0),
        ("2024-12-21T09:21", -23.436),
    ],
)
def test_declination_at_equinoxes_and_solstices(when, declination):
    assert np.degrees(sun_coordinates(np.datetime64(when))[1]) == pytest.approx(declination, abs=0.003)


def test_the_sun_sets_when_its_upper_edge_is_gone():
    """Greenwich, 21 June 2024: sunrise 03:43, sunset 20:21 universal time (-0.833 degrees without refraction)."""
    minutes = np.datetime64("2024-06-21T00:00") + np.arange(1440).astype("timedelta64[m]")
    _, elevation = sun_position(minutes, 0.0, 51.4769)
    up = np.flatnonzero(np.degrees(elevation) > -0.833)
    assert abs(up[0] - (3 * 60 + 43)) <= 1
    assert abs(up[-1] - (20 * 60 + 21)) <= 1


@given(st.floats(-180, 180), st.floats(-89, 89), st.integers(0, 365 * 24 * 60))
def test_the_highest_sun_of_a_day_stands_on_the_meridian(longitude, latitude, minute):
    start = np.datetime64("2026-01-01T00:00") + np.timedelta64(minute, "m")
    azimuth, elevation = sun_position(start + np.arange(1440).astype("timedelta64[m]"), longitude, latitude)
    assert ((azimuth >= 0) & (azimuth < 2 * np.pi)).all()
    noon = int(np.argmax(elevation))
    if 0 < noon < 1439:
        _, declination = sun_coordinates(start + np.timedelta64(noon, "m"))
        assert np.degrees(elevation[noon]) == pytest.approx(90 - abs(latitude - np.degrees(declination)), abs=0.15)


def test_refraction_is_that_of_tables():
    """Saemundsson: 29' at the horizon, 5.3' at 10 degrees, 1' at 45 degrees."""
    minutes = 60 * np.degrees(refraction(np.radians([0.0, 10.0, 45.0, 89.0])))
    np.testing.assert_allclose(minutes, [28.98, 5.3, 1.0, 0.0], atol=0.15)
