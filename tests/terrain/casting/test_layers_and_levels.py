"""Layers, levels of detail and surfaces: equal surfaces give equal pictures, and nothing is seen through seams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_terrain import HOME, NO_CURVATURE, camera_at_home, dem_in, grid_dem, jacksboro, jacksboro_caster

from crosslocate.errors import TerrainError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.casting.shade import shadowed
from crosslocate.terrain.elevation.dem import WGS84_CRS, Affine, Dem
from crosslocate.terrain.elevation.sheets import fill_tops
from crosslocate.terrain.elevation.terrain import Terrain

UTM = "EPSG:32632"


def plane(east, north):
    return 0.08 * east - 0.05 * north


def subsampled(terrain):
    """The same terrain with levels that are not smoothed: on a plane all of them are the plane, up to the border."""
    for sheet in np.flatnonzero(terrain.sheets.level > 0):
        terrain.sheets.view(sheet, terrain.posts)[:] = terrain.sheets.view(sheet - 1, terrain.posts)[::2, ::2]
    fill_tops(terrain.posts, terrain.tops, terrain.sheets)
    return terrain


@settings(max_examples=25, deadline=None)
@given(
    yaw=st.floats(0, 6.3),
    pitch=st.one_of(st.just(0.0), st.floats(-1.5, 0.4)),
    roll=st.sampled_from([0.0, 0.3]),
    detail=st.sampled_from([None, 1.0, 0.2]),
    surface=st.sampled_from(["bilinear", "triangles"]),
)
def test_a_plane_in_layers_and_levels_is_the_plane(yaw, pitch, roll, detail, surface):
    fine, coarse = grid_dem(plane, 10.0, 81), grid_dem(plane, 50.0, 161)
    roll = roll if pitch else 0.0
    camera = camera_at_home(9.0, yaw=yaw, pitch=pitch, roll=roll)
    terrain = subsampled(Terrain.of(fine, coarse))
    hits = RayCaster(terrain, NO_CURVATURE, surface=surface, detail=detail).cast(camera)
    rays = camera.ray_directions()
    with np.errstate(divide="ignore"):
        expected = 9.0 / (0.08 * rays[..., 0] - 0.05 * rays[..., 1] - rays[..., 2])
    reach = expected * np.abs(rays[..., :2]).max(-1)
    inside = (expected > 0) & (reach < 3900)
    np.testing.assert_allclose(hits.distance[inside], expected[inside], rtol=1e-5)
    assert hits.sky[(expected < 0) | (reach > 4100)].all()


@pytest.mark.parametrize("pitch", [0.0, -0.15])
def test_a_terrain_cut_into_layers_looks_like_the_whole(pitch):
    whole = jacksboro()
    inner = slice(100, 181), slice(150, 251)
    fine = Dem(whole.elevation[inner], whole.transform @ Affine.translation(150, 100), WGS84_CRS)
    one, other = (RayCaster(t, max_distance=20_000.0) for t in (whole, Terrain.of(fine, whole)))
    for place, height in (((203.3, 141.6), 4), ((203.3, 141.6), 200), ((120.3, 80.2), 600)):  # inside, and outside
        lon, lat = (float(a) for a in whole.position_of(*place))
        seen = set()
        for yaw in (0.0, 1.6, 2.4, 3.2, 4.8):
            camera = Camera(lon, lat, float(whole.elevation_at(lon, lat)) + height, yaw, pitch, 0.0, 1.0, 90, 70)
            expected, found = one.cast(camera), other.cast(camera)
            close = np.isclose(found.distance, expected.distance, rtol=2e-4)
            assert close.mean() > 0.9995  # rays that touch a ridge may fall on either side of it
            seen |= set(np.unique(found.layer))
        assert seen >= ({0} if height == 4 else {0, 1})


def test_rays_cross_the_gap_between_two_layers_of_different_grids():
    def hill(east, north):
        return 300.0 * np.exp(-((east - 4000) ** 2 + north**2) / 5e5)

    near = grid_dem(lambda e, n: 0 * e, 20.0, 61)
    far = dem_in(UTM, Affine(30, 0, 677_000, 0, -30, 5_231_500), (100, 100), hill)
    east, north = 0.5 * np.pi, 0.0
    caster = RayCaster(Terrain.of(near, far), 0.0)
    assert far.contains(*far.position_of(50, 50))
    for pitch in (0.0, 1e-9):
        hits = caster.cast(Camera(*HOME, 20.0, east, pitch, north, 0.5, 101, 101))
        assert set(np.unique(hits.layer)) == {-1, 0, 1}
        hill_seen = hits.layer == 1
        assert hits.ground_distance[hill_seen].min() > 2000
        assert hits.elevation[hill_seen].max() > 200


def test_a_coarse_layer_below_a_fine_one_leaves_no_crack():
    fine = grid_dem(lambda e, n: 100.0 + 0 * e, 10.0, 41)
    coarse = grid_dem(lambda e, n: 0.0 * e, 40.0, 101)
    hits = RayCaster(Terrain.of(fine, coarse), NO_CURVATURE).cast(camera_at_home(150.0, pitch=-0.5, horizontal_fov=1.5))
    assert not hits.sky[np.degrees(hits.camera.ray_angles()[1]) < -8].any()
    up = RayCaster(
        Terrain.of(grid_dem(lambda e, n: 0 * e, 10.0, 41), grid_dem(lambda e, n: 100 + 0 * e, 40.0, 101)), NO_CURVATURE
    )
    wall = up.cast(camera_at_home(50.0))
    low = wall.camera.ray_angles()[1] < np.arctan2(50, 200 * np.sqrt(2)) - 0.02
    assert not wall.sky[low].any()  # the step at the seam stands like a wall
    ahead = np.maximum(np.abs(wall.east), np.abs(wall.north))
    assert np.nanmax(ahead) < 200.1


@pytest.mark.parametrize("pitch", [0.0, -1e-3])
def test_a_wall_right_behind_the_border_of_a_layer_is_seen(pitch):
    """Blocks of the pyramid of tops reach beyond the last cells of a layer; steps over them must not."""
    fine = grid_dem(lambda e, n: 0 * e, 10.0, 41)
    coarse = grid_dem(lambda e, n: 300.0 * ((np.abs(e) > 215) & (np.abs(e) < 255)), 10.0, 201)
    caster = RayCaster(Terrain.of(fine, coarse), NO_CURVATURE)
    for yaw in (0.5 * np.pi, 1.5 * np.pi):
        hits = caster.cast(camera_at_home(100.0, yaw=yaw, pitch=pitch, horizontal_fov=0.5))
        assert not hits.sky.any()
        assert np.nanmax(np.abs(hits.east)) < 225
    ground = caster.cast(camera_at_home(100.0, yaw=0.5 * np.pi, pitch=-np.pi / 2, horizontal_fov=0.5))
    for azimuth in (0.5 * np.pi, 1.5 * np.pi):
        assert shadowed(caster, ground, azimuth, 0.3).all()


def test_a_camera_between_the_patch_and_the_triangles_is_on_the_right_side_of_either():
    posts = np.zeros((41, 41), np.float32)
    posts[20, 20] = posts[21, 21] = 40.0
    flat = grid_dem(lambda e, n: 0 * e, 10.0, 41)
    dem = Dem(posts, flat.transform, flat.crs)
    lon, lat = (float(a) for a in dem.position_of(20.5, 20.5))  # the diagonal is at 40 m, the patch at 20 m
    camera = Camera(lon, lat, 30.0, 0.0, 0.0, 0.0, 1.0, 20, 15)
    assert RayCaster(dem, NO_CURVATURE).cast(camera).distance.shape == (15, 20)
    with pytest.raises(TerrainError, match="not above the terrain there: 40"):
        RayCaster(dem, NO_CURVATURE, surface="triangles").cast(camera)


@pytest.mark.parametrize("pitch", [0.0, -0.1])
def test_levels_of_detail_change_little(pitch):
    exact, lon, lat = jacksboro_caster(), -84.2306, 36.1983
    eye = float(jacksboro().elevation_at(lon, lat)) + 20
    camera = Camera(lon, lat, eye, 2.0, pitch, 0.0, 1.0, 120, 90)  # 90 m posts: level 1 from 20 km on
    coarse = RayCaster(jacksboro(), detail=0.25).cast(camera)  # from 5 km on
    fine = exact.cast(camera)
    near = (fine.ground_distance < 4500) & ~fine.sky
    np.testing.assert_allclose(coarse.distance[near], fine.distance[near], rtol=1e-5)
    assert (coarse.sky != fine.sky).mean() < 0.01
    both = ~coarse.sky & ~fine.sky
    assert not np.array_equal(coarse.distance, fine.distance)
    assert np.median(np.abs(coarse.distance[both] / fine.distance[both] - 1)) < 0.01


def test_triangles_are_cut_from_the_first_post_to_the_last():
    posts = np.zeros((41, 41), np.float32)
    posts[20, 20] = 40.0  # under the camera, where the diagonal of the cell to the south-east begins
    flat = grid_dem(lambda e, n: 0 * e, 10.0, 41)
    dem = Dem(posts, flat.transform, flat.crs)
    camera = camera_at_home(100.0, pitch=-np.pi / 2, horizontal_fov=0.4, width=101, height=101)
    for surface, middle in (("triangles", 20.0), ("bilinear", 10.0)):
        hits = RayCaster(dem, NO_CURVATURE, surface=surface).cast(camera)
        south_east = np.argmin(np.hypot(hits.east - 5, hits.north + 5))
        north_east = np.argmin(np.hypot(hits.east - 5, hits.north - 5))
        assert hits.elevation.ravel()[south_east] == pytest.approx(middle, abs=1.5)
        assert hits.elevation.ravel()[north_east] == pytest.approx(0.0 if surface == "triangles" else 10.0, abs=1.5)
    assert posts.shape == (41, 41)


@pytest.mark.parametrize("height", [0.01, 5.0])
def test_a_camera_just_above_the_ground_sees_the_ground_at_its_feet(height):
    caster = jacksboro_caster()
    lon, lat = -84.2306, 36.1983
    eye = float(caster.terrain.elevation_at(lon, lat)) + height
    for pitch, roll in ((-1.2, 0.0), (-np.pi / 2, 0.0), (-0.9, 0.4)):
        hits = caster.cast(Camera(lon, lat, eye, 1.0, pitch, roll, 0.6, 40, 30))
        assert not hits.sky.any()
        assert hits.distance.max() < 8 * height
        assert hits.distance.min() > 0.3 * height


def test_posts_are_visible_where_the_line_of_sight_is_free():
    """Brute force over straight profiles decides which posts are in sight; the picture must say the same."""
    caster = jacksboro_caster()
    dem, lon, lat = jacksboro(), -84.2306, 36.1983
    camera = Camera(lon, lat, float(dem.elevation_at(lon, lat)) + 10, 2.2, 0.0, 0.0, 1.0, 300, 220)
    hits = caster.cast(camera)
    rng = np.random.default_rng(2)
    column0, row0 = (float(a) for a in dem.pixel_of(lon, lat))
    right, up, forward = camera.axes()
    results = []
    for _ in range(8000):
        j, i = rng.integers(5, dem.shape[1] - 5), rng.integers(5, dem.shape[0] - 5)
        place = dem.position_of(float(j), float(i))
        offset = local(lon, lat, camera.elevation, *place, float(dem.elevation[i, j]), caster.refraction)
        if offset @ forward <= 1000:
            continue
        x, y = offset @ right / (offset @ forward), offset @ up / (offset @ forward)
        v, w = x * camera.focal_length + 150, 110 - y * camera.focal_length
        if not (1 <= v < 299 and 1 <= w < 219):
            continue
        around = hits.distance[int(w - 0.5) : int(w + 1.5), int(v - 0.5) : int(v + 1.5)]
        length = np.linalg.norm(offset)
        share = np.linspace(0.002, 0.998, 1500)  # straight in the raster: good to metres, so ties are left out
        profile = dem.elevation_at(*dem.position_of(column0 + share * (j - column0), row0 + share * (i - row0)))
        radius = 6_371_000 / (1 - caster.refraction)
        reach = np.hypot(offset[0], offset[1])
        drop = (share * reach) ** 2 / 2 / radius
        between = (share * reach > 50) & ((1 - share) * reach > 60)  # not the cells of the camera and of the post
        clear = np.min((camera.elevation + share * offset[2] - (profile - drop))[between])
        if -8 < clear < 1:
            continue
        if clear > 0:  # seen: hit there, or the surface there is so steep that neighbours straddle it
            right_ = np.abs(around / length - 1).min() < 0.05 or (around.min() < length < around.max())
        else:  # hidden: the ray through it ends before
            right_ = 0 < hits.distance[int(w), int(v)] < length * 0.9995
        results.append((clear > 0, right_))
    visible, agree = np.array(results).T
    assert visible.sum() > 60
    assert (~visible).sum() > 60
    assert agree[visible].mean() > 0.97
    assert agree[~visible].mean() > 0.97


def local(lon, lat, eye, to_lon, to_lat, height, refraction):
    """East, north and up of a point as light arrives: on the sphere, enlarged for refraction."""
    from crosslocate.geo import wgs84

    azimuth, _, distance = wgs84().inv(lon, lat, float(to_lon), float(to_lat))
    radius = 6_371_000 / (1 - refraction)
    a = np.radians(azimuth)
    return np.array([distance * np.sin(a), distance * np.cos(a), height - eye - distance**2 / 2 / radius])
