import json
import math

import numpy as np
import pytest
from affine import Affine
from elevation_files import hills, write_tiff
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslocate.errors import TerrainError
from crosslocate.geo import destination, geodesic_distance
from crosslocate.localization.relief_map import (
    find_terrain,
    post_spacing,
    relief_image,
    round_length,
)
from crosslocate.localization.window import Window, window_around
from crosslocate.terrain.elevation.dem import Dem, embedded_dem

degrees = st.floats(-60.0, 60.0)


@settings(max_examples=50, deadline=None)
@given(st.floats(-180.0, 180.0), degrees, st.floats(-2e4, 2e4), st.floats(-2e4, 2e4))
def test_metres_of_a_window_are_geodesic_to_one_percent_and_invert(longitude, latitude, x, y):
    window = Window(longitude, latitude, 1.0, 1.0)
    back = window.to_metres(*window.to_degrees(x, y))
    assert np.allclose(back, (x, y), atol=1e-3)
    distance = geodesic_distance(longitude, latitude, *window.to_degrees(x, y))
    assert distance == pytest.approx(math.hypot(x, y), rel=0.01, abs=1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3e4), st.floats(0, 6.28)), min_size=1, max_size=8), st.floats(0.5, 2.0))
def test_a_window_shows_all_positions_within_its_margin_and_has_the_aspect(places, aspect):
    metres, headings = np.array(places).T
    longitude, latitude = destination(179.9, 46.0, headings, metres)  # may cross the antimeridian
    window = window_around(longitude, latitude, aspect)
    x, y = window.to_metres(longitude, latitude)
    assert (np.abs(x) < 0.4 * window.width).all()
    assert (np.abs(y) < 0.4 * window.height).all()
    assert window.width / window.height == pytest.approx(aspect)
    assert window.height >= 6000.0


def test_a_window_is_moved_onto_the_terrain_but_not_away_from_the_positions():
    dem = ramp()  # 7.7 x 11.1 km around 7 E 46 N
    west, south, east, north = dem.bounds
    window = window_around([east - 0.01], [south + 0.01], 1.0, dem)
    x, y = window.to_metres([west, east], [south, north])
    assert x[1] == pytest.approx(window.width / 2, rel=1e-3)
    assert y[0] == pytest.approx(-window.height / 2, rel=1e-3)
    wide = window_around([east - 0.01], [46.0], 2.0, dem)  # wider than the terrain: the terrain stands in the middle
    assert wide.longitude == pytest.approx(7.0, abs=1e-6)
    outside = window_around([8.0], [46.0], 1.0, dem)
    assert abs(outside.to_metres(8.0, 46.0)[0]) <= 0.4501 * outside.width


@pytest.mark.parametrize(("metres", "expected"), [(1.0, 1.0), (9.9, 5.0), (2400.0, 2000.0), (20_000.0, 20_000.0)])
def test_scale_bars_have_round_lengths(metres, expected):
    assert round_length(metres) == expected


def ramp(void=False):
    """Rises 1 m per 10 m to the east; posts every 0.001 degrees around 7 E 46 N."""
    window = Window(7.0, 46.0, 0.0, 0.0)
    longitude = 6.95 + 0.001 * np.arange(101)
    elevation = np.tile(window.to_metres(longitude, 46.0)[0] / 10.0, (101, 1)).astype(np.float32)
    if void:
        elevation[:50] = np.nan
    return Dem(elevation, Affine(0.001, 0.0, 6.95, 0.0, -0.001, 46.05), "EPSG:4326")


def test_relief_is_lit_from_the_north_west():
    window = Window(7.0, 46.0, 4000.0, 2000.0)
    east = relief_image(ramp(), window, columns=80)
    dem = ramp()
    west = relief_image(Dem(-dem.elevation, dem.transform, dem.crs), window, columns=80)
    assert east.shape == (40, 80, 4)
    middle = (slice(15, 25), slice(35, 45), slice(0, 3))
    assert east[middle].mean() > west[middle].mean() + 0.1  # a slope facing west is bright
    assert (east[..., 3] == 1).all()


def test_relief_is_transparent_in_voids_and_outside_and_sharp_beside_them():
    image = relief_image(ramp(void=True), Window(7.0, 46.0, 20_000.0, 4000.0), columns=100)
    assert (image[:9, :, 3] == 0).all()  # the void north
    assert (image[11:, 40:60, 3] == 1).all()
    assert (image[:, :30, 3] == 0).all()  # west of the raster
    assert np.isfinite(image).all()
    assert (relief_image(ramp(), Window(8.0, 46.0, 1000.0, 1000.0), columns=10) == 0).all()


def test_post_spacing_is_in_metres():
    expected = geodesic_distance(7.0, 46.0, 7.001, 46.0)
    assert post_spacing(ramp(), Window(7.0, 46.0, 1.0, 1.0)) == pytest.approx(expected, rel=1e-3)


def test_the_terrain_of_a_map_is_the_one_that_the_views_show(tmp_path):
    assert find_terrain(tmp_path, None) is None
    manifest = {"format": 2, "counts": {}, "rendering": {"terrain": embedded_dem().fingerprint()}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert find_terrain(tmp_path, None).fingerprint() == embedded_dem().fingerprint()
    manifest["rendering"]["terrain"] = "another"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert find_terrain(tmp_path, None) is None
    with pytest.raises(TerrainError, match=r"alps\.tif does not exist"):
        find_terrain(tmp_path, str(tmp_path / "alps.tif"))


def test_a_map_shows_tiles_of_several_layers(tmp_path):
    coarse, fine = hills((60, 60), low=900, high=1000), hills((80, 80), low=1500, high=1600)
    write_tiff(tmp_path / "tiles/coarse.tif", coarse, (7.0, 46.0), 0.005)
    write_tiff(tmp_path / "tiles/fine.tif", fine, (7.1, 45.9), 0.001)
    terrain = find_terrain(tmp_path, str(tmp_path / "tiles"), tmp_path / "cache")
    assert terrain.fingerprint() == find_terrain(tmp_path, str(terrain.folder)).fingerprint()  # a prepared one
    inside, outside = Window(7.14, 45.86, 2000.0, 2000.0), Window(7.03, 45.97, 2000.0, 2000.0)
    assert post_spacing(terrain, inside) == pytest.approx(geodesic_distance(7.14, 45.86, 7.141, 45.86), rel=1e-3)
    assert post_spacing(terrain, outside) == pytest.approx(geodesic_distance(7.03, 45.97, 7.035, 45.97), rel=1e-3)
    for window in (inside, outside):
        image = relief_image(terrain, window, columns=40)
        assert (image[..., 3] == 1).all()
    assert terrain.elevation_at(7.14, 45.86) >= 1500 > 1001 > terrain.elevation_at(7.03, 45.97)
