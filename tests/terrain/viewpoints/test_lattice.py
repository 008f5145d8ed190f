import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.geo import geodesic_distance, wgs84
from crosslocate.terrain.viewpoints.lattice import Lattice, latitude_at, meridian_arc


def test_lengths_along_the_meridian_are_geodesics():
    lat = np.linspace(-90.0, 90.0, 721)
    zero = np.zeros_like(lat)
    _, _, exact = wgs84().inv(zero, zero, zero, lat)
    np.testing.assert_allclose(np.abs(meridian_arc(lat)), exact, atol=1e-6)
    np.testing.assert_allclose(latitude_at(meridian_arc(lat)), lat, atol=1e-11)


@pytest.mark.parametrize("spacing", [50.0, 500.0, 2000.0, 30_000.0])
@pytest.mark.parametrize("latitude", [-85.0, -47.3, 0.1, 27.9, 45.8, 69.5, 80.0, 84.9])
def test_neighbours_are_the_spacing_apart_within_a_percent(spacing, latitude):
    lattice = Lattice(spacing)
    row, column = lattice.cells(np.array([7.0]), np.array([latitude]))
    row = row + np.arange(-3, 4)
    rows = np.abs(lattice.latitude(row + 0.5)) <= 85.2
    row = row[rows]
    lon, lat = lattice.middles(row, column * 0)
    east, _ = lattice.middles(row, column * 0 + 1)
    np.testing.assert_allclose(geodesic_distance(lon, lat, east, lat), spacing, rtol=0.01)
    np.testing.assert_allclose(geodesic_distance(lon[:-1], lat[:-1], lon[:-1], lat[1:]), spacing, rtol=0.001)


POSITIONS = st.tuples(st.floats(-180.0, 180.0), st.floats(-89.9, 89.9), st.floats(20.0, 200_000.0))


@given(POSITIONS)
def test_a_position_lies_in_its_cell(position):
    lon, lat, spacing = position
    lattice = Lattice(spacing)
    row, column = lattice.cells(lon, lat)
    south, north = lattice.latitude(row), lattice.latitude(row + 1)
    assert south - 1e-9 <= lat <= north + 1e-9
    width = 360.0 / lattice.columns(row)
    assert 0 <= column < lattice.columns(row)
    within = np.mod(lon + 180.0, 360.0) - column * width
    assert -1e-9 <= within <= width + 1e-9


@given(POSITIONS)
def test_the_middle_of_a_cell_is_in_the_cell(position):
    lattice = Lattice(position[2])
    cell = lattice.cells(*position[:2])
    lon, lat = lattice.middles(*cell)
    assert tuple(int(k) for k in lattice.cells(lon, lat)) == tuple(int(k) for k in cell)
    assert -180.0 <= lon < 180.0


def test_columns_close_round_the_earth():
    lattice = Lattice(500.0)
    row = np.array([28000, 28000])
    last = lattice.columns(row) - 1
    lon, lat = lattice.middles(row, np.array([0, last[0]]))
    assert geodesic_distance(lon[0], lat[0], lon[1], lat[1]) == pytest.approx(500.0, rel=0.01)


@pytest.mark.parametrize("latitude", [0.0, 46.0, 75.0])
def test_the_distance_to_the_edge_is_that_of_the_nearest_point_of_another_cell(latitude):
    lattice, rng = Lattice(2000.0), np.random.default_rng(1)
    lon, lat = rng.uniform(6.9, 7.1, 40), latitude + rng.uniform(-0.1, 0.1, 40)
    edge = lattice.to_edge(lon, lat)
    row, column = lattice.cells(lon, lat)
    heading = np.linspace(0.0, 360.0, 720, endpoint=False)
    for scale, outside in ((0.98, False), (1.02, True)):
        ring_lon, ring_lat, _ = wgs84().fwd(
            *(np.repeat(v, 720) for v in (lon, lat)), np.tile(heading, 40), np.repeat(edge * scale, 720)
        )
        other_row, other_column = (k.reshape(40, 720) for k in lattice.cells(ring_lon, ring_lat))
        left = ((other_row != row[:, None]) | (other_column != column[:, None])).any(axis=1)
        assert (left == outside).all()
