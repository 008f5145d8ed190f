import json
from dataclasses import asdict

import numpy as np
import pytest
from synthetic_terrain import camera_at_home, grid_dem

from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.imagery.appearance import draw_appearance
from crosslocate.terrain.imagery.photo_settings import PhotoSettings, season_of, snow_line, snow_phase
from crosslocate.terrain.job.scene import Scene, World

CHAMONIX = (6.87, 45.92)


def looks(count=200, **settings):
    asked = PhotoSettings(**settings)
    return [
        draw_appearance(np.random.default_rng(k), asked, *CHAMONIX, np.random.default_rng([k, 1])) for k in range(count)
    ]


def test_with_nothing_asked_for_the_draws_are_those_of_a_bare_call():
    assert looks(20) == [draw_appearance(np.random.default_rng(k)) for k in range(20)]


@pytest.mark.parametrize("settings", [{"weather": "fog"}, {"season": "winter"}, {"date": "2024-07-15"}])
def test_what_is_left_open_does_not_change(settings):
    for plain, asked in zip(looks(20), looks(20, **settings), strict=True):
        for name in ("white_balance", "contrast", "saturation", "blur", "vignette", "jpeg_quality", "seed", "exposure"):
            assert getattr(plain, name) == getattr(asked, name)


def test_weathers_differ_in_sun_and_haze():
    by_name = {name: looks(80, weather=name) for name in ("clear", "fair", "overcast", "misty", "fog")}
    assert min(look.sun_light[0] for look in by_name["clear"]) > 0.85
    assert max(look.sun_light[0] for look in by_name["overcast"]) < 0.15
    assert max(look.haze_length for look in by_name["fog"]) < 1600 < min(look.haze_length for look in by_name["misty"])
    assert {look.haze_floor for look in by_name["fog"]} == {0.0}
    assert {look.haze_floor for look in looks(200)} == {0.12}  # fog is never drawn unless it is asked for
    two = looks(400, weather=["clear", "overcast"])
    assert np.mean([look.sun_light[0] < 0.15 for look in two]) == pytest.approx(0.20 / 0.53, abs=0.08)


def test_one_moment_is_the_same_for_all_and_the_sun_stands_there():
    suns = {(look.sun_azimuth, look.sun_elevation) for look in looks(20, date="2024-06-21", time="13:00", utc_offset=2)}
    assert len(suns) == 1
    azimuth, elevation = np.degrees(suns.pop())
    assert 115 < azimuth < 160  # 11:00 universal time, half an hour before noon
    assert elevation == pytest.approx(65, abs=3)
    noon = looks(1, date="2024-12-21", time="12:00")[0]  # mean solar time
    assert np.degrees(noon.sun_azimuth) == pytest.approx(180, abs=2)
    assert np.degrees(noon.sun_elevation) == pytest.approx(90 - CHAMONIX[1] - 23.4, abs=0.3)


def test_times_are_drawn_while_the_sun_is_up():
    elevations = np.degrees([look.sun_elevation for look in looks(200, date=["2024-01-01", "2024-12-31"])])
    assert elevations.min() >= 1.0
    assert elevations.max() > 55
    morning = looks(100, date="2024-03-20", time=["07:00", "09:00"])
    assert all(80 < np.degrees(look.sun_azimuth) < 135 for look in morning)
    assert len({look.sun_azimuth for look in morning}) > 50


def test_a_low_sun_is_red_and_weak():
    low, high = (looks(1, date="2024-06-21", time=time, weather="clear")[0] for time in ("04:40", "12:00"))
    assert np.degrees(low.sun_elevation) < 6
    assert low.sun_light[2] / low.sun_light[0] < 0.6 < 0.8 < high.sun_light[2] / high.sun_light[0]
    assert low.sun_light[0] < 0.8 * high.sun_light[0]


def test_no_photograph_without_sun():
    with pytest.raises(TerrainError, match=r"latitude 45\.920.*date=2024-06-21 time=02:00.*1 degree"):
        looks(1, date="2024-06-21", time="02:00")
    polar = PhotoSettings(date="2024-12-21")
    with pytest.raises(TerrainError, match="no photograph"):
        polar.draw_moment(np.random.default_rng(0), 20.0, 78.0)


def test_the_date_brings_the_season():
    assert season_of(np.datetime64("2024-07-20"), 46) == season_of(np.datetime64("2024-01-20"), -46) == "summer"
    assert season_of(np.datetime64("2024-02-01"), 46) == season_of(np.datetime64("2024-08-01"), -46) == "winter"
    assert season_of(np.datetime64("2024-12-31"), 46) == "winter"
    assert season_of(np.datetime64("2024-10-10"), 46) == "autumn"
    assert season_of(np.datetime64("2024-01-20"), 3) == "summer"
    greens = {look.meadow[1] > look.meadow[0] for look in looks(20, date="2024-07-15")}
    browns = {look.meadow[1] > look.meadow[0] for look in looks(20, date="2024-02-15")}
    assert (greens, browns) == ({True}, {False})
    assert {look.meadow[1] > look.meadow[0] for look in looks(20, date="2024-02-15", season="summer")} == {True}


def test_a_season_alone_leaves_the_sun_open():
    for plain, winter in zip(looks(20), looks(20, season="winter"), strict=True):
        assert (plain.sun_azimuth, plain.sun_elevation) == (winter.sun_azimuth, winter.sun_elevation)
        assert winter.snow == 0.0
        assert plain.snow_line == np.inf


@pytest.mark.parametrize(
    ("day", "metres"), [("2024-02-20", 900), ("2024-05-15", 1800), ("2024-08-20", 2950), ("2024-12-20", 1400)]
)
def test_the_snow_line_goes_up_and_down_with_the_year(day, metres):
    assert snow_line(snow_phase(np.datetime64(day), 46.0), 46.0) == pytest.approx(metres, abs=120)


def test_snow_lies_above_the_line():
    """Looking down on a slope from 1,000 to 4,000 m in the middle of May."""
    dem = grid_dem(lambda e, n: 2500 + 0.25 * e, 60.0)
    camera = camera_at_home(16_000.0, pitch=-np.pi / 2, horizontal_fov=0.8, width=120, height=40)
    settings = PhotoSettings(date="2024-05-15", time="12:00", weather="clear")
    scene = Scene(World(RayCaster(dem), photo=settings), camera, "view")
    bright = scene.photo().astype(float).min(axis=-1)
    height = scene.hits.elevation
    line = scene.look.snow_line
    assert 1400 < line < 2200
    assert bright[height > line + 700].mean() > 1.6 * bright[height < line - 500].mean()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"season": "rain"}, r"images\.photo\.season='rain'.*summer"),
        ({"weather": ["clear", "hail"]}, r"images\.photo\.weather='hail'"),
        ({"weather": []}, r"images\.photo\.weather"),
        ({"date": "15.7.2024"}, r"images\.photo\.date='15\.7\.2024'.*YYYY-MM-DD"),
        ({"date": "2024-02-30"}, r"images\.photo\.date='2024-02-30'.*calendar"),
        ({"date": ["2024-05-01", "2024-04-01"]}, "first day before the last"),
        ({"time": 870}, r"images\.photo\.time=870.*in quotes"),
        ({"time": "25:00"}, r"images\.photo\.time='25:00'"),
        ({"time": ["12:00", "11:00"]}, "first time before the last"),
        ({"utc_offset": 20}, r"images\.photo\.utc_offset=20"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, key):
    with pytest.raises(ConfigError, match=key):
        PhotoSettings(**settings)


def test_settings_are_plain_values():
    settings = PhotoSettings(season=["winter"], date=["2024-01-01", "2024-02-01"])
    assert json.loads(json.dumps(asdict(settings)))["date"] == ["2024-01-01", "2024-02-01"]
