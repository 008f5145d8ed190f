import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.geo import geodesic_distance
from crosslocate.terrain.elevation.dem import WGS84_CRS, Affine, Dem
from crosslocate.terrain.elevation.describe import describe_terrain, missing_in
from crosslocate.terrain.elevation.plan import widened
from crosslocate.terrain.elevation.summary import united
from crosslocate.terrain.elevation.terrain import Terrain


def flat(west, north, columns=41, rows=31, spacing=0.01, elevation=100.0):
    return Dem(np.full((rows, columns), elevation, np.float32), Affine(spacing, 0, west, 0, -spacing, north), WGS84_CRS)


@given(st.floats(-170, 170), st.floats(-80, 80), st.floats(0.01, 5), st.floats(0.01, 5), st.floats(1, 300_000))
def test_a_halo_is_at_least_as_wide_as_asked_for(west, south, width, height, metres):
    area = (west, south, west + width, min(south + height, 85.0))
    wide = widened(area, metres)
    lon, lat = (area[0] + area[2]) / 2, (area[1] + area[3]) / 2
    assert geodesic_distance(lon, area[1], lon, wide[1]) >= metres * (1 - 1e-9) or wide[1] == -90
    assert geodesic_distance(lon, area[3], lon, wide[3]) >= metres * (1 - 1e-9) or wide[3] == 90
    for side in (0, 2):  # along the parallel of the middle, which is longer than the geodesic
        radius = 6_378_137.0 * np.cos(np.radians(lat))
        assert np.radians(abs(wide[side] - area[side])) * radius >= 0.999 * metres or wide[2] - wide[0] >= 360


def test_extent_is_in_kilometres_also_across_the_antimeridian():
    for west in (7.0, 179.8, -180.0):
        summary = describe_terrain(Terrain.of(flat(west, 46.3)))
        assert summary.extent_km[0] == pytest.approx(float(geodesic_distance(7.0, 46.15, 7.4, 46.15)) / 1000, rel=1e-6)
        assert summary.extent_km[1] == pytest.approx(float(geodesic_distance(7.0, 46.0, 7.0, 46.3)) / 1000, rel=1e-6)


def test_bounds_of_layers_on_both_sides_of_the_antimeridian():
    assert united([(179.0, -1.0, 180.0, 0.0), (-180.0, -2.0, -179.0, -0.5)]) == (179.0, -2.0, 181.0, 0.0)
    terrain = Terrain.of(flat(179.7, 10.0), flat(-179.9, 10.0, spacing=0.02))
    assert terrain.bounds == pytest.approx((179.7, 9.4, 180.9, 10.0))


def test_what_is_missing_is_told_by_side():
    terrain = Terrain.of(flat(7.0, 46.3))  # 7.0 to 7.4, 46.0 to 46.3
    inside, around = missing_in(terrain, (7.2, 46.1, 7.6, 46.2), 1000.0)
    assert inside == pytest.approx(0.5, abs=0.01)
    assert around["west"] == 0
    assert around["east"] == 1
    assert around["north"] == around["south"] == pytest.approx(0.5, abs=0.01)
    assert missing_in(terrain, (7.1, 46.1, 7.2, 46.2), 0.0) == (0.0, {})


def test_a_terrain_in_memory_tells_its_voids():
    dem = flat(7.0, 46.3)
    dem.elevation[3:5, 4:9] = np.nan
    dem.elevation[0, 0] = -3.5
    summary = describe_terrain(Terrain.of(dem))
    layer = summary.layers[0]
    assert (layer.left, layer.lowest, layer.highest, layer.tiles) == (10, -3.5, 100.0, 0)
    assert layer.fingerprint == dem.fingerprint()
    assert summary.warnings() == ["layer 1: 10 posts (0.8 %) have no elevation; rays pass through them"]
