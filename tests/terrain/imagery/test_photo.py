from typing import get_type_hints

import cv2
import numpy as np
import pytest
from synthetic_terrain import NO_CURVATURE, camera_at_home, grid_dem, jacksboro_caster

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.imagery.appearance import Appearance, draw_appearance
from crosslocate.terrain.imagery.landcover import MEADOW
from crosslocate.terrain.imagery.noise import fractal_noises, gaussians, hash_unit, value_noise
from crosslocate.terrain.imagery.photo import photo, shaded_ground
from crosslocate.terrain.imagery.relief import Relief, metres_per_post
from crosslocate.terrain.imagery.sensor import develop, encode_jpeg
from crosslocate.terrain.imagery.shading import radiance, texture

CLEAR = draw_appearance(np.random.default_rng(1))._replace(
    sun_light=(1.0, 1.0, 1.0), cloud_cover=-1.0, haze_length=1e6, relief=0.0, snow=0.0, grain=0.0, blur=0.3
)


def light_of(caster, camera, look, sunlit=True):
    hits = caster.cast(camera)
    ground = shaded_ground(hits, Relief(caster.terrain).at(hits))
    kind = np.where(hits.sky, 0, MEADOW).astype(np.uint8)
    rays = camera.ray_directions().astype(np.float32)
    lit = np.full(hits.distance.shape, sunlit)
    return radiance(look, rays, hits.distance, ground, kind, lit, 1.0 / camera.focal_length), hits


def valley():
    """Two slopes of 45 degrees that rise to the east and west of the camera."""
    return RayCaster(grid_dem(lambda e, n: np.maximum(np.abs(e) - 100.0, 0.0)))


def test_the_slope_towards_the_sun_is_brighter():
    looks = {"west": CLEAR._replace(sun_azimuth=3 * np.pi / 2, sun_elevation=0.6)}
    east_slope, hits = light_of(valley(), camera_at_home(20.0, yaw=np.pi / 2), looks["west"])
    west_slope, _ = light_of(valley(), camera_at_home(20.0, yaw=3 * np.pi / 2), looks["west"])
    far = hits.distance > 150  # on the slope
    assert far.sum() > 100
    assert east_slope[far].mean() > 2.5 * west_slope[far].mean()


def test_cast_shade_takes_the_sun_and_leaves_the_sky():
    camera = camera_at_home(20.0, yaw=np.pi / 2)
    look = CLEAR._replace(sun_azimuth=3 * np.pi / 2, sun_elevation=0.6)
    lit, hits = light_of(valley(), camera, look, sunlit=True)
    shade, _ = light_of(valley(), camera, look, sunlit=False)
    assert 0.02 < shade[~hits.sky].mean() < 0.6 * lit[~hits.sky].mean()
    np.testing.assert_array_equal(shade[hits.sky], lit[hits.sky])


def test_distance_fades_into_the_colour_of_the_air():
    camera = Camera(-84.25, 36.3, 1500.0, 0.4, -0.2, 0.0, 1.0, 48, 36)
    thin, hits = light_of(jacksboro_caster(), camera, CLEAR)
    thick, _ = light_of(jacksboro_caster(), camera, CLEAR._replace(haze_length=3000.0))
    horizon = np.array(CLEAR.sky_horizon)
    far, near = hits.distance > 12_000, (hits.distance > 0) & (hits.distance < 2800)
    assert far.sum() > 20
    assert near.sum() > 20

    def gap(image, where):
        return np.abs(image[where] - horizon).mean()

    assert gap(thick, far) < 0.35 * gap(thin, far)
    assert gap(thick, near) > 0.4 * gap(thin, near)


def test_textures_lie_on_metres():
    dem = grid_dem(lambda e, n: 0.0 * e)
    np.testing.assert_allclose(metres_per_post(dem), [[30.0, 0.0], [0.0, -30.0]], atol=0.01)
    camera = camera_at_home(1500.0, pitch=-np.pi / 2)
    hits = RayCaster(dem, NO_CURVATURE).cast(camera)
    place = Relief(hits.terrain).at(hits).place
    right, up = camera.image_plane()
    np.testing.assert_allclose(place[..., 0] - place[15, 20, 0], np.broadcast_to(1500 * right, (31, 41)), atol=0.5)
    np.testing.assert_allclose(
        place[..., 1] - place[15, 20, 1], np.broadcast_to(1500 * up[:, None], (31, 41)), atol=0.5
    )


def test_texture_is_gone_where_a_pixel_covers_more_than_it():
    fine = [texture(float(x), 3.0, 7.0, 0.01, 5) for x in range(50)]
    coarse = [texture(float(x), 3.0, 7.0, 6.0, 5) for x in range(50)]
    assert np.ptp(fine) > 2 * np.ptp(coarse) > 0
    assert texture(3.0, 3.0, 7.0, 50.0, 5) == 0.0


def test_noise_is_bounded_continuous_and_repeatable():
    at = np.linspace(-40, 40, 4001)
    values = np.array([value_noise(x, 0.3 * x, 11) for x in at])
    assert np.abs(values).max() <= 0.5
    assert np.ptp(values) > 0.7
    assert np.abs(np.diff(values)).max() < 0.06  # steps of 0.02 lattice units
    assert np.abs(fractal_noises(at, 0.3 * at, 4, 2)).max() <= 1.0
    assert value_noise(1.5, 2.5, 7) == value_noise(1.5, 2.5, 7) != value_noise(1.5, 2.5, 8)


def test_hashes_are_uniform_and_normal():
    uniform = np.array([hash_unit(i, j, 3) for i in range(-60, 60) for j in range(60)])
    normal = gaussians(60, 100, 3)
    np.testing.assert_allclose(np.histogram(uniform, 10, (0, 1))[0] / 720, 1, atol=0.2)
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.05


@pytest.mark.parametrize("brightness", [0.01, 0.2, 5.0])
def test_the_camera_exposes_for_its_mean(brightness):
    light = np.full((24, 32, 3), brightness, np.float32)
    look = CLEAR._replace(exposure=0.5, vignette=0.0, white_balance=(1.0, 1.0, 1.0), contrast=1.0, saturation=1.0)
    # brighter than _BRIGHT is taken for sky and may wash out
    image = develop(light, look)
    assert image.std() < 1
    assert (abs(image.mean() / 255 - 0.49) < 0.03) if brightness < 0.3 else image.min() == 255


def test_brighter_light_never_gives_a_darker_pixel():
    light = np.repeat(np.geomspace(1e-3, 20, 400, dtype=np.float32)[None, :, None], 3, axis=2)
    image = develop(np.repeat(light, 30, axis=0), CLEAR._replace(vignette=0.0))[15].astype(int)
    assert (np.diff(image, axis=0) >= 0).all()
    assert image[0].max() < 40 < 250 < image[-1].min()


def test_a_photograph_is_a_function_of_its_arguments():
    caster, camera = jacksboro_caster(), Camera(-84.25, 36.3, 900.0, 0.4, 0.05, 0.02, 1.0, 40, 30)
    hits = caster.cast(camera)
    kind = np.where(hits.sky, 0, MEADOW).astype(np.uint8)
    lit = np.ones(hits.distance.shape, bool)
    look, other = (draw_appearance(np.random.default_rng(seed)) for seed in (5, 6))
    ground = Relief(caster.terrain).at(hits)
    first = photo(hits, ground, kind, lit, look)
    assert first.shape == (30, 40, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(photo(hits, ground, kind, lit, look), first)
    assert np.abs(photo(hits, ground, kind, lit, other).astype(int) - first).mean() > 5


def test_the_skyline_shows_in_nearly_every_photograph():
    """Sky and terrain differ at the skyline: what the network is to find is in the picture."""
    caster, camera = jacksboro_caster(), Camera(-84.25, 36.3, 700.0, 1.4, 0.0, 0.0, 1.0, 64, 48)
    hits = caster.cast(camera)
    ground, lit = Relief(caster.terrain).at(hits), np.ones(hits.distance.shape, bool)
    kind = np.where(hits.sky, 0, MEADOW).astype(np.uint8)
    edge = hits.sky[:-3] & ~hits.sky[3:]  # sky, and terrain three rows below
    visible = []
    for seed in range(60):
        image = photo(hits, ground, kind, lit, draw_appearance(np.random.default_rng(seed))).astype(float)
        visible.append(np.linalg.norm(image[:-3][edge].mean(axis=0) - image[3:][edge].mean(axis=0)) > 12)
    assert np.mean(visible) > 0.9


def test_appearances_cover_weather_and_season():
    looks = [draw_appearance(np.random.default_rng(seed)) for seed in range(300)]
    assert {type(value) for value in looks[0]} <= {float, int, tuple, np.float64}
    assert len(get_type_hints(Appearance)) == len(looks[0])
    sun = np.array([look.sun_light[0] for look in looks])
    assert 0.1 < (sun < 0.15).mean() < 0.3  # overcast
    assert 0.1 < np.mean([look.snow > 0.4 for look in looks]) < 0.3
    haze = np.array([look.haze_length for look in looks])
    assert haze.min() < 5000
    assert haze.max() > 35_000
    assert len({look.seed for look in looks}) == 300


def test_jpeg_keeps_colours_in_order():
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    data = encode_jpeg(image, 95)
    assert data == encode_jpeg(image, 95)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - image).max() < 12
    assert len(encode_jpeg(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), 40)) < 6000
