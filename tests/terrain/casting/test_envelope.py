import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_terrain import effective_radius, jacksboro_caster

from crosslocate.geo import destination
from crosslocate.terrain.casting.envelope import ring_distances, sector_count
from crosslocate.terrain.casting.kernels import clear_until, direction_of, sector_of, survey


@settings(deadline=None)  # the first call compiles
@given(st.floats(-np.pi, np.pi), st.integers(256, 4096))
def test_a_direction_lies_between_the_edges_of_its_sector(azimuth, sectors):
    east, north = np.sin(azimuth), np.cos(azimuth)
    sector = sector_of(east, north, sectors)
    left, right = (np.array(direction_of(4 * edge / sectors)) for edge in (sector, sector + 1))
    middle = left + right
    turn = [a[0] * b[1] - a[1] * b[0] for a, b in ((left, (east, north)), ((east, north), right))]
    assert max(turn) <= 1e-12  # diamond angles grow clockwise
    assert middle @ (east, north) > 0


def test_sectors_are_about_a_pixel_wide():
    count = sector_count(600.0)
    edges = np.array([direction_of(4 * k / count) for k in range(count + 1)])
    turn = np.arctan2(edges[1:, 0], edges[1:, 1]) - np.arctan2(edges[:-1, 0], edges[:-1, 1])
    width = np.abs(np.mod(turn + np.pi, 2 * np.pi) - np.pi) * 600.0
    assert 0.5 < width.min() < width.max() < 1.5


def test_rings_reach_as_far_as_asked():
    rings = ring_distances(30_000.0)
    assert rings[0] == 0
    assert rings[-2] < 30_000 * 1.1
    assert rings[-1] >= 30_000
    assert (np.diff(rings) > 0).all()


@pytest.mark.parametrize("height", [2.0, 300.0])
def test_no_terrain_rises_above_the_envelope(height):
    caster, lon, lat = jacksboro_caster(), -84.2306, 36.1983
    elevation = float(caster.terrain.layers[0].elevation_at(lon, lat)) + height
    eye = caster.eye(lon, lat, elevation)
    rings = ring_distances(30_000.0)
    envelopes = np.empty((512, len(rings) - 1))
    rng = np.random.default_rng(0)
    for sector in rng.integers(0, 512, 12):
        survey(caster.arrays, eye, sector, rings, np.empty(12), np.empty(12), envelopes)
        envelope = envelopes[sector]
        assert (np.diff(envelope) >= 0).all()
        for edge in rng.uniform(sector, sector + 1, 3):
            azimuth = float(np.arctan2(*direction_of(4 * edge / 512)))
            distance = np.geomspace(0.5, 25_000, 800)
            terrain = caster.terrain.layers[0].elevation_at(*destination(lon, lat, azimuth, distance))
            radius = effective_radius(caster, lat, azimuth)
            t = distance / radius
            slope = ((radius + terrain) * np.cos(t) - radius - elevation) / ((radius + terrain) * np.sin(t))
            bound = envelope[np.searchsorted(rings, distance, side="right") - 1]
            known = ~np.isnan(terrain)
            assert (slope[known] <= bound[known]).all()
            assert np.max(slope[known]) > envelope[-1] - 0.2  # a bound that is of use


def test_rays_start_at_the_first_ring_that_may_stop_them():
    rings, envelope = np.array([0.0, 1.0, 2.0, 4.0]), np.array([-0.5, 0.1, 0.1])
    starts = [clear_until(envelope, rings, slope) for slope in (-0.6, -0.5, -0.4, 0.1, 0.11)]
    assert starts == [0.0, 0.0, 1.0, 1.0, np.inf]
