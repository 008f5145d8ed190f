from functools import partial

import numpy as np
import pytest
from affine import Affine
from synthetic_terrain import jacksboro

from crosslocate.errors import TerrainError
from crosslocate.geo import destination
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.casting.torch_caster import TorchCaster
from crosslocate.terrain.casting.track import TOLERANCE_METRES, fit_ground_track, fit_ground_tracks
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem
from crosslocate.terrain.elevation.terrain import Terrain

ZEROS = np.zeros((3, 3), np.float32)
MODELS = {
    "one arc second, Alps": (Dem(ZEROS, Affine(1 / 3600, 0, 11, 0, -1 / 3600, 48), WGS84_CRS), 11.4, 47.3),
    "one arc second, Norway": (Dem(ZEROS, Affine(1 / 3600, 0, 11, 0, -1 / 3600, 62), WGS84_CRS), 11.4, 61.3),
    "UTM, edge of the zone": (Dem(ZEROS, Affine(30, 0, 700_000, 0, -30, 5_300_000), "EPSG:32632"), 11.9, 47.3),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("radius", "metres"), [(30_000.0, 1e-3), (100_000.0, 0.1)])
def test_tracks_follow_exact_geodesics(model, radius, metres):
    dem, lon, lat = MODELS[model]
    track = fit_ground_track(dem, lon, lat, radius)
    rng = np.random.default_rng(3)
    for azimuth in rng.uniform(0, 2 * np.pi, 20):
        distance = radius * np.sqrt(rng.uniform(0, 1, 30))
        exact = dem.pixel_of(*destination(lon, lat, azimuth, distance))
        found = track.positions(azimuth, distance)
        posts = np.hypot(found[0] - exact[0], found[1] - exact[1]).max()
        assert posts * 30.0 < metres
    assert track.error * 30.0 < metres


def test_jacobian_is_the_local_scale():
    track = fit_ground_track(jacksboro(), -84.2, 36.3, 10_000.0)
    north = 1 / (6_356_000.0 * np.pi / 180 / 1200)  # about one post every 92.5 m northward, rows grow southward
    expected = [[north / np.cos(np.radians(36.3)), 0], [0, -north]]
    np.testing.assert_allclose(track.jacobian, expected, rtol=0.01, atol=1e-9)


def test_a_pole_is_refused_with_the_error_in_posts():
    dem = Dem(ZEROS, Affine(0.001, 0, 0, 0, -0.001, 90), WGS84_CRS)
    with pytest.raises(TerrainError, match=r"posts off, 0\.02 allowed; use a smaller max_distance, or .*EPSG:3413"):
        fit_ground_track(dem, 0.0, 89.9, 30_000.0)


@pytest.mark.parametrize("latitude", [69.0, 75.0, -77.0])
def test_a_fine_layer_in_a_coarse_one_far_north(latitude):
    step = 2 / 111_320
    near = np.full((400, 400), 100, np.float32)
    fine = Dem(near, Affine(step, 0, 10 - 200 * step, 0, -step, latitude + 200 * step), WGS84_CRS)
    wide = np.full((1000, 1000), 100, np.float32)
    coarse = Dem(wide, Affine(0.02, 0, 0, 0, -0.006, latitude + 3), WGS84_CRS)
    caster = RayCaster(Terrain.of(fine, coarse), max_distance=150_000.0, refraction=0.0)
    camera = Camera(10.0, latitude, 200.0, 0.3, 0.0, 0.0, 1.0, 40, 31)
    alone = RayCaster(coarse, max_distance=150_000.0, refraction=0.0).cast(camera)
    hits = caster.cast(camera)
    np.testing.assert_allclose(hits.distance, alone.distance, rtol=1e-5)
    seen = ~hits.sky
    inside = fine.pixel_of(hits.longitude[seen], hits.latitude[seen])
    found = tuple(values[seen] for values in hits.pixel(0))
    here = (np.abs(inside[0] - 200) < 200) & (np.abs(inside[1] - 200) < 200)
    assert np.abs(found[0] - inside[0])[here].max(initial=0.0) * 2.0 < TOLERANCE_METRES
    assert (np.abs(found[0][~here] - 200) > 199).any()


@pytest.mark.parametrize("kilometres", [10, 100])
def test_tracks_reach_as_far_as_their_layers(kilometres):
    tiny = Dem(ZEROS, Affine(1e-5, 0, 11, 0, -1e-5, 70), WGS84_CRS)
    wide = Dem(np.zeros((500, 500), np.float32), Affine(0.02, 0, 6, 0, -0.01, 72.5), WGS84_CRS)
    first, second = fit_ground_tracks([tiny, wide], 11.0, 70.0, kilometres * 1000.0)
    assert (first.radius, second.radius) == (kilometres * 100.0, kilometres * 1000.0)
    for azimuth in np.linspace(0, 6, 7):  # where it is only used to tell that the layer is not there
        exact = tiny.pixel_of(*destination(11.0, 70.0, azimuth, kilometres * 1000.0))
        found = first.positions(azimuth, np.array(kilometres * 1000.0))
        assert np.hypot(found[0] - exact[0], found[1] - exact[1]) < 0.01 * np.hypot(*exact)


@pytest.mark.parametrize(("east", "south"), [(99, 40), (40, 99), (99, 99)])
@pytest.mark.parametrize("pitch", [0.0, -0.2])
@pytest.mark.parametrize("caster", [RayCaster, partial(TorchCaster, device="cpu")])
def test_a_camera_on_the_last_posts_sees_the_terrain_beside_it(east, south, pitch, caster):
    step = 1 / 1024  # exact in binary, so that the camera is exactly on the border
    dem = Dem(np.full((100, 100), 100, np.float32), Affine(step, 0, 7, 0, -step, 47), WGS84_CRS)
    camera = Camera(7 + east * step, 47 - south * step, 130.0, np.radians(315), pitch, 0.0, 1.0, 20, 15)
    assert [float(value) for value in dem.pixel_of(camera.longitude, camera.latitude)] == [east, south]
    hits = caster(dem).cast(camera)
    assert (~hits.sky[-3:]).all()
    ray = camera.ray_directions()[-1, 10]
    assert hits.distance[-1, 10] == pytest.approx(-30.0 / ray[2], rel=1e-3)
