import numpy as np
from synthetic_terrain import HOME, grid_dem, jacksboro, jacksboro_caster

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.elevation.terrain import Terrain
from crosslocate.terrain.viewpoints.panorama import AZIMUTHS, skylines, view_scores


def at_home(*heights):
    count = len(heights)
    return np.full(count, HOME[0]), np.full(count, HOME[1]), np.array(heights, float)


def test_the_skyline_is_that_of_the_ray_caster():
    lon, lat = np.array([-84.25, -84.30]), np.array([36.30, 36.35])
    elevation = jacksboro().elevation_at(lon, lat) + 30.0
    angles, _ = skylines(Terrain.of(jacksboro()), lon, lat, elevation)
    for place in range(2):
        exact = []
        for step in range(AZIMUTHS):
            yaw = 2 * np.pi * step / AZIMUTHS
            camera = Camera(lon[place], lat[place], elevation[place], yaw, 0.0, 0.0, 0.004, 1, 201)
            sky = np.flatnonzero(jacksboro_caster().cast(camera).sky[:, 0])
            exact.append(camera.ray_angles()[1][sky.max(), 0] if len(sky) else np.nan)
        apart = np.degrees(np.abs(angles[place] - exact))
        assert np.median(apart) < 0.5
        assert np.mean(apart < 1.5) > 0.9


def test_an_even_rim_has_an_even_skyline_and_a_known_distance():
    dem = grid_dem(lambda e, n: np.where(np.hypot(e, n) > 1000.0, 150.0, 0.0), spacing=20.0, posts=301)
    angles, reach = skylines(Terrain.of(dem), *at_home(10.0))
    assert np.abs(np.degrees(angles) - np.degrees(np.arctan(140 / 1000))).max() < 1.3
    assert ((reach > 990) & (reach < 1250)).all()


def test_varied_relief_scores_more_than_a_plain_and_a_plain_more_than_a_crater():
    hills = grid_dem(lambda e, n: 150 * np.sin(e / 300) * np.cos(n / 400), spacing=40.0)
    plain = grid_dem(lambda e, n: 0.0 * e, spacing=40.0)
    crater = grid_dem(lambda e, n: 0.3 * np.minimum(np.hypot(e, n), 400.0), spacing=40.0)
    scores = [float(view_scores(Terrain.of(dem), *at_home(60.0))[0]) for dem in (hills, plain, crater)]
    assert scores[0] > 1.0 + scores[1]
    assert scores[1] > 0.3 + scores[2]


def test_scores_do_not_depend_on_the_company():
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-84.3, -84.2, 9), rng.uniform(36.25, 36.35, 9)
    elevation = jacksboro().elevation_at(lon, lat) + 5.0
    alone = [
        view_scores(Terrain.of(jacksboro()), lon[k : k + 1], lat[k : k + 1], elevation[k : k + 1])[0] for k in range(9)
    ]
    np.testing.assert_allclose(view_scores(Terrain.of(jacksboro()), lon, lat, elevation), alone, rtol=1e-12)
    assert view_scores(Terrain.of(jacksboro()), lon[:0], lat[:0], elevation[:0]).shape == (0,)
