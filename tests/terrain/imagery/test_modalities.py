import numpy as np
import pytest
from synthetic_terrain import NO_CURVATURE, camera_at_home, grid_dem, jacksboro_caster

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.imagery.modalities import axial_depth, depth, silhouettes


def cast(surface, camera, spacing=10.0, posts=401):
    return RayCaster(grid_dem(surface, spacing, posts), NO_CURVATURE).cast(camera)


def test_depth_is_the_ray_length_and_the_sky_is_minus_one():
    hits = cast(lambda e, n: 0 * e, camera_at_home(30.0))
    image = depth(hits)
    assert image.dtype == np.float32
    _, angle = camera_at_home(30.0).ray_angles()
    assert image[-1, 20] == pytest.approx(30.0 / np.sin(-angle[-1, 20]), rel=1e-5)
    assert (image[:15] == -1.0).all()


def test_axial_depth_is_the_ray_projected_on_the_axis():
    camera = camera_at_home(30.0, pitch=-0.4, roll=0.3, yaw=1.0)
    hits = cast(lambda e, n: 0.05 * e, camera)
    cosine = camera.ray_directions() @ camera.axes()[2]
    expected = np.where(hits.sky, -1.0, hits.distance * cosine)
    np.testing.assert_allclose(axial_depth(hits), expected, rtol=1e-6)


@pytest.mark.parametrize("roll", [0.0, 0.4])
@pytest.mark.parametrize("eye", [3.0, 300.0])
def test_a_plane_has_no_outline_but_its_horizon(eye, roll):
    hits = cast(lambda e, n: 0 * e, camera_at_home(eye, roll=roll, width=81, height=61))
    lines = silhouettes(hits) > 0
    assert lines.any()
    below = np.zeros_like(lines)
    below[1:] |= hits.sky[:-1]
    below[:, 1:] |= hits.sky[:, :-1]
    below[:, :-1] |= hits.sky[:, 1:]
    np.testing.assert_array_equal(lines, below & ~hits.sky)


def test_a_near_ridge_is_outlined_on_its_own_side():
    def two_walls(e, n):
        return np.where(n == 500, 60.0, np.where(n == 1500, 400.0, 0.0))

    camera = camera_at_home(30.0, horizontal_fov=0.5, width=61, height=61)
    hits = cast(two_walls, camera)
    lines = silhouettes(hits) > 0
    for column in (0, 30, 60):
        near = (hits.ground_distance[:, column] < 550) & ~hits.sky[:, column]
        edge = int(np.argmax(near))
        assert lines[edge, column]
        assert not lines[edge - 1, column]  # the farther side is not part of the outline
        assert lines[:, column].sum() == 2 - (not hits.sky[0, column])  # the ridge, and the skyline where it shows
    assert set(np.unique(silhouettes(hits))) == {0, 255}
    assert silhouettes(hits).dtype == np.uint8


def test_outlines_of_real_terrain_are_thin_and_include_the_skyline():
    caster = jacksboro_caster()
    hits = caster.cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, 0.0, 0.0, 1.0, 250, 190))
    lines = silhouettes(hits) > 0
    skyline = np.argmax(~hits.sky, axis=0)
    assert lines[skyline, np.arange(250)].all()
    assert not lines[hits.sky].any()
    assert 250 / lines.size < lines.mean() < 0.06


def test_a_larger_jump_draws_fewer_lines():
    hits = jacksboro_caster().cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, 0.0, 0.0, 1.0, 250, 190))
    fine, coarse = (silhouettes(hits, jump) > 0 for jump in (0.05, 0.5))
    assert coarse.sum() < fine.sum()
    assert fine[coarse].all()
