import numpy as np
import pytest
from synthetic_terrain import NO_CURVATURE, camera_at_home, grid_dem, jacksboro_caster

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.imagery.modalities import axial_depth, depth, edges, hidden_share, silhouettes


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


def brute_hidden_share(hits):
    """The definition pixel by pixel."""
    z = axial_depth(hits).astype(float)
    near = np.where(hits.sky, 0.0, 1.0 / z)
    height, width = near.shape
    share = np.zeros(near.shape)

    def at(v, u):
        return near[min(max(v, 0), height - 1), min(max(u, 0), width - 1)]

    for v in range(height):
        for u in range(width):
            for dv, du in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                here, there = at(v, u), at(v + dv, u + du)
                if here == 0:
                    continue
                if there == 0:
                    share[v, u] = np.inf
                    continue
                from_here = (2 * here - at(v - dv, u - du)) - there
                from_there = here - (2 * there - at(v + 2 * dv, u + 2 * du))
                share[v, u] = max(share[v, u], min(from_here, from_there) / here)
    return share


def test_hidden_share_is_its_definition():
    hits = jacksboro_caster().cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, 0.05, 0.1, 1.0, 60, 45))
    np.testing.assert_allclose(hidden_share(hits), brute_hidden_share(hits), rtol=1e-3, atol=1e-4)


def walls(*heights_at):
    """Walls across the view north of the camera: height by distance."""

    def surface(e, n):
        height = np.zeros(np.broadcast_shapes(e.shape, n.shape))
        for distance, top in heights_at:
            height = np.where(n == distance, top, height)
        return height

    return cast(surface, camera_at_home(30.0, horizontal_fov=0.3, width=41, height=61))


@pytest.mark.parametrize(("near", "far"), [(500, 1500), (500, 600), (500, 1900)])
def test_strength_is_the_logarithm_of_the_ratio_of_distances(near, far):
    hits = walls((near, 35.0), (far, 600.0))
    column = edges(hits)[:, 20]
    edge = int(np.argmax((hits.distance[:, 20] < near + 30) & ~hits.sky[:, 20]))
    expected = 254 * np.log(axial_depth(hits)[edge - 1, 20] / axial_depth(hits)[edge, 20]) / np.log(10)
    assert column[edge] == pytest.approx(expected, abs=4)
    assert expected == pytest.approx(254 * np.log10(far / near), abs=8)


def test_the_skyline_has_full_strength_and_nothing_else_has():
    hits = jacksboro_caster().cast(Camera(-84.2306, 36.1983, 1090.0, 2.0, 0.0, 0.1, 1.0, 250, 190))
    strength = edges(hits)
    assert strength.dtype == np.uint8
    beside = np.zeros(hits.sky.shape, bool)
    beside[1:] |= hits.sky[:-1]
    beside[:-1] |= hits.sky[1:]
    beside[:, 1:] |= hits.sky[:, :-1]
    beside[:, :-1] |= hits.sky[:, 1:]
    np.testing.assert_array_equal(strength == 255, beside & ~hits.sky)
    assert len(np.unique(strength)) > 30
    np.testing.assert_array_equal(edges(hits, jump=0.1) > 0, silhouettes(hits) > 0)
    assert (edges(hits, full_ratio=100.0) <= strength).all()
