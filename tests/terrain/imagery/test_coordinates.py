from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_terrain import jacksboro_caster

from crosslocate.errors import TerrainError
from crosslocate.geo import destination, geodesic_distance
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem
from crosslocate.terrain.imagery.coordinates import CHANNELS, Coordinates, read_coordinates
from crosslocate.terrain.job.files import encode_channels, encode_exr
from crosslocate.terrain.job.scene import PRODUCTS, Scene, World

CAMERA = Camera(-84.2306, 36.1983, 1090.0, 2.0, -0.05, 0.02, 1.0, 60, 45)


def in_file(scene, folder):
    path = folder / "coordinates.exr"
    path.write_bytes(PRODUCTS["coordinates"].encode(scene))
    return read_coordinates(path)


def test_coordinates_are_where_the_geodesics_end(tmp_path):
    scene = Scene(World(jacksboro_caster()), CAMERA, "view")
    read = in_file(scene, tmp_path)
    np.testing.assert_array_equal(read, scene.arrays("coordinates"))
    hits, seen = scene.hits, ~scene.hits.sky
    assert np.isnan(read[hits.sky]).all()
    lon, lat = destination(CAMERA.longitude, CAMERA.latitude, hits.azimuth[seen], hits.ground_distance[seen])
    off = geodesic_distance(lon, lat, read[seen][:, 0], read[seen][:, 1])
    assert off.max() < 0.01
    np.testing.assert_allclose(read[seen][:, 2], hits.elevation[seen], atol=0.001)
    # and the terrain is there
    ground = jacksboro_caster().terrain.elevation_at(read[seen][:, 0], read[seen][:, 1])
    np.testing.assert_allclose(read[seen][:, 2], ground, atol=0.6)


@settings(max_examples=25)
@given(st.floats(-180, 180), st.floats(-80, 80), st.floats(0, 360), st.floats(1.0, 100_000.0))
def test_a_centimetre_is_kept_everywhere_on_earth(longitude, latitude, heading, distance):
    lon, lat = (np.asarray(a, float) for a in destination(longitude, latitude, np.radians(heading), distance))
    camera = Camera(longitude, latitude, 100.0, 0.0, 0.0, 0.0, 1.0, 2, 2)
    position = {"longitude": lon.reshape(1, 1), "latitude": lat.reshape(1, 1), "elevation": np.full((1, 1), 4807.81)}
    again = Coordinates.of(SimpleNamespace(camera=camera, **position)).positions()[0, 0]
    assert geodesic_distance(float(lon), float(lat), again[0], again[1]) < 0.01
    assert again[2] == pytest.approx(4807.81, abs=0.001)


def test_a_view_across_the_antimeridian(tmp_path):
    posts = np.zeros((41, 61), np.float32)
    dem = Dem(posts, Affine(0.01, 0, 179.7, 0, -0.01, -16.8), "EPSG:4326")
    scene = Scene(World(RayCaster(dem)), Camera(179.95, -17.0, 300.0, np.pi / 2, -0.1, 0.0, 1.0, 12, 8), "view")
    read = in_file(scene, tmp_path)
    assert np.nanmax(read[..., 0]) > 180.0
    assert np.nanmin(read[..., 0]) > 179.9


def test_files_of_other_things_are_named(tmp_path):
    path = tmp_path / "x.exr"
    with pytest.raises(TerrainError, match="does not exist"):
        read_coordinates(path)
    path.write_bytes(b"nothing")
    with pytest.raises(TerrainError, match=r"x\.exr is not an OpenEXR file"):
        read_coordinates(path)
    path.write_bytes(encode_exr(np.ones((3, 4), np.float32)))
    with pytest.raises(TerrainError, match="longitude is missing; its channels are Y"):
        read_coordinates(path)
    path.write_bytes(encode_channels({name: np.ones((3, 4), np.float32) for name in CHANNELS}, {"longitude": 1.0}))
    with pytest.raises(TerrainError, match="latitude is missing"):
        read_coordinates(path)
