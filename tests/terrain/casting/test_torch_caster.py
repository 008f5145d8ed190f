"""The caster on a device, run on the processor: against a brute force search of the surface, and against RayCaster."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from synthetic_terrain import HOME, NO_CURVATURE, camera_at_home, effective_radius, grid_dem, jacksboro

from crosslocate.config.app import conf_dir
from crosslocate.config.build import build
from crosslocate.errors import TerrainError
from crosslocate.geo import destination
from crosslocate.terrain.casting import torch_caster, torch_envelope
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.casting.torch_caster import TorchCaster
from crosslocate.terrain.elevation.dem import Dem, interpolate
from crosslocate.terrain.elevation.terrain import Terrain

TOUCH = 2e-3
"""Metres by which a ray may brush terrain that is not counted as hit (single precision posts of 1000 m: 6e-5)."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def on_cpu(elevation, *arguments, **named):
    return TorchCaster(elevation, *arguments, device="cpu", **named)


def triangulated(posts, column, row):
    """Height on triangles whose common side runs from the first to the last post of each cell; NaN outside."""
    rows, columns = posts.shape
    inside = (column >= 0) & (column <= columns - 1) & (row >= 0) & (row <= rows - 1)
    j = np.clip(np.floor(np.where(inside, column, 0)).astype(int), 0, columns - 2)
    i = np.clip(np.floor(np.where(inside, row, 0)).astype(int), 0, rows - 2)
    x, y = column - j, row - i
    nw, ne, sw, se = posts[i, j], posts[i, j + 1], posts[i + 1, j], posts[i + 1, j + 1]
    void = np.isnan(nw + ne + sw + se)
    height = np.where(x > y, nw + x * (ne - nw) + y * (se - ne), nw + y * (sw - nw) + x * (se - sw))
    return np.where(inside & ~void, height, np.nan)


def surface_at(caster, camera, azimuth, ground):
    """Height of what counts at ground distances along exact geodesics: first layer, coarsest level that will do."""
    terrain, sheets = caster.terrain, caster.terrain.sheets
    lon, lat = destination(camera.longitude, camera.latitude, azimuth, ground)
    height = np.full(len(ground), np.nan)
    open_ = np.ones(len(ground), bool)
    for layer, dem in enumerate(terrain.layers):
        column, row = dem.pixel_of(lon, lat)
        rows, columns = dem.shape
        here = open_ & (column >= 0) & (column <= columns - 1) & (row >= 0) & (row <= rows - 1)
        open_ &= ~here
        around = destination(camera.longitude, camera.latitude, np.radians([0, 90, 180, 270]), 1.0)
        c, r = dem.pixel_of(*around)
        area = abs((c[1] - c[3]) * (r[0] - r[2]) - (c[0] - c[2]) * (r[1] - r[3])) / 4
        level = np.zeros(len(ground), int)
        count = int((sheets.layer == layer).sum())
        if caster.detail is not None:
            footprint = ground / camera.focal_length / caster.detail * np.sqrt(area)
            level = np.clip(np.floor(np.log2(np.maximum(footprint, 1e-9))), 0, count - 1).astype(int)
        first = int(np.flatnonzero(sheets.layer == layer)[0])
        for _ in range(count):
            right, bottom = ((size[first + level] - 1) * 2**level for size in (sheets.columns, sheets.rows))
            level = np.where((level > 0) & ((column >= right) | (row >= bottom)), level - 1, level)
        for each in range(count):
            posts = sheets.view(first + each, terrain.posts)
            seen = here & (level == each)
            value = interpolate if caster.surface == "bilinear" else triangulated
            height[seen] = value(posts, column[seen] / 2**each, row[seen] / 2**each)
    return height


def clearance(caster, camera, azimuth, angle, ground):
    """Height of the terrain above a ray in metres; minus infinity in voids."""
    radius = effective_radius(caster, camera.latitude, azimuth)
    t = ground / radius
    # sine rule in the triangle (centre of the earth, camera, point of the ray), written for an earth that may be flat
    rise = 2.0 * np.sin(angle + t / 2) * np.sin(t / 2) / np.cos(t + angle)
    ray = camera.elevation + (radius + camera.elevation) * rise
    height = surface_at(caster, camera, azimuth, ground)
    return np.where(np.isnan(height), -np.inf, height - ray)


def assert_first_hit(caster, camera, hits, pixel, step, reach):
    azimuth, angle = (float(a[pixel]) for a in camera.ray_angles())
    ground = float(hits.ground_distance[pixel])
    before = np.arange(step / 2, ground * (1 - 1e-6) - 0.02 if ground > 0 else reach, step)
    if len(before):
        assert clearance(caster, camera, azimuth, angle, before).max() < TOUCH
    if ground > 0:
        near = clearance(caster, camera, azimuth, angle, np.maximum(ground + np.linspace(-0.01, 0.01, 9), 0))
        steep = TOUCH * (1 + abs(np.tan(angle)))
        assert near[0] < steep
        assert near.max() > -steep


def rough(seed, roughness, voids=0.03, posts=25, spacing=40.0, east=0.0, north=0.0):
    """Random posts around a place near HOME, low where cameras stand."""
    rng = np.random.default_rng(seed)
    height = rng.normal(0, roughness, (posts, posts)).astype(np.float32)
    height[rng.random((posts, posts)) < voids] = np.nan
    middle = posts // 2
    calm = slice(middle - 1, middle + 2)
    height[calm, calm] = np.minimum(np.nan_to_num(height[calm, calm]), 30)
    flat = grid_dem(lambda e, n: 0 * e, spacing=spacing, posts=posts)
    t = flat.transform
    return Dem(height, Affine(t.a, t.b, t.c + east, t.d, t.e, t.f + north), flat.crs)


poses = st.one_of(st.just(0.0), st.just(-np.pi / 2), st.floats(-1.5, 1.0))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    roughness=st.floats(0.0, 60.0),
    pitch=poses,
    surface=st.sampled_from(["bilinear", "triangles"]),
    detail=st.sampled_from([None, 1.0, 0.2]),
    layers=st.integers(1, 2),
)
def test_no_pixel_misses_or_overshoots_rough_terrain(seed, roughness, pitch, surface, detail, layers):
    rng = np.random.default_rng(seed)
    wide = rough(seed, roughness)
    away = rng.uniform(-250, 250, 2)
    fine = rough(seed + 1, roughness, posts=18, spacing=12.0, east=away[0], north=away[1])
    terrain = Terrain.of(fine, wide) if layers == 2 else Terrain.of(wide)
    caster = on_cpu(terrain, float(rng.choice([0.0, 0.13])), 3000.0, surface, detail)
    ground = max(float(terrain.elevation_at(*HOME)), surface_at(caster, camera_at_home(0.0), 0.0, np.zeros(1))[0])
    camera = camera_at_home(
        max(31.0, ground + 1.0), yaw=rng.uniform(0, 7), pitch=pitch, horizontal_fov=1.2, width=9, height=7
    )
    hits = caster.cast(camera)
    for row in range(7):
        for column in range(0, 9, 2):
            assert_first_hit(caster, camera, hits, (row, column), step=1.3, reach=700.0)


@pytest.mark.parametrize(
    ("seed", "surface", "detail", "layers"),
    [
        (0, "bilinear", None, 1),
        (1, "bilinear", 0.3, 1),
        (2, "triangles", None, 2),
        (3, "triangles", 0.3, 1),
        (4, "bilinear", 0.3, 2),
        (5, "bilinear", None, 2),
    ],
)
def test_the_ray_caster_sees_the_same(seed, surface, detail, layers):
    rng = np.random.default_rng(seed)
    wide = jacksboro()
    t = wide.transform
    raised = Dem(
        wide.elevation[150:230, 170:260] + 15, Affine(t.a, 0, t.c + 170 * t.a, 0, t.e, t.f + 150 * t.e), wide.crs
    )
    terrain = Terrain.of(raised, wide) if layers == 2 else Terrain.of(wide)
    arguments = (terrain, 0.13, 25_000.0, surface, detail)
    lon, lat = rng.uniform(-84.38, -84.1), rng.uniform(36.19, 36.42)
    pitch, roll = (0.0, 0.0) if seed % 2 else (rng.uniform(-0.5, 0.2), rng.uniform(-0.3, 0.3))
    height = float(terrain.elevation_at(lon, lat)) + rng.uniform(0.01, 60)
    camera = Camera(lon, lat, height, rng.uniform(0, 7), pitch, roll, 1.0, 80, 60)
    assert_same(RayCaster(*arguments).cast(camera).distance, on_cpu(*arguments).cast(camera).distance)


def assert_same(one, other):
    assert ((one < 0) == (other < 0)).mean() > 0.9995
    both = (one > 0) & (other > 0)
    assert both.any()
    assert np.isclose(one[both], other[both], rtol=1e-4).mean() > 0.999


@pytest.mark.parametrize("pitch", [0.0, -0.3, -np.pi / 2])
def test_a_camera_at_the_edge_of_a_cliff(pitch):
    dem = grid_dem(lambda e, n: np.where(n <= 0, 500.0, 0.0), spacing=10.0, posts=101)
    camera = camera_at_home(500.01, pitch=pitch, width=31, height=21)
    caster = on_cpu(dem, NO_CURVATURE)
    hits = caster.cast(camera)
    for row in range(0, 21, 7):
        for column in range(0, 31, 15):
            assert_first_hit(caster, camera, hits, (row, column), step=0.7, reach=450.0)


@pytest.mark.parametrize("surface", ["bilinear", "triangles"])
@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (-0.2, 0.3), (0.15, -2.0), (-np.pi / 2, 0.0)])
def test_a_tilted_plane_is_exact(pitch, roll, surface):
    a, b = 0.11, -0.07
    caster = on_cpu(grid_dem(lambda e, n: a * e + b * n), NO_CURVATURE, surface=surface)
    camera = camera_at_home(12.0, yaw=0.7, pitch=pitch, roll=roll)
    rays = camera.ray_directions()
    with np.errstate(divide="ignore"):
        expected = 12.0 / (a * rays[..., 0] + b * rays[..., 1] - rays[..., 2])
    inside = (expected > 0) & (expected * np.abs(rays[..., :2]).max(-1) < 2990)
    assert inside.any()
    np.testing.assert_allclose(caster.cast(camera).distance[inside], expected[inside], rtol=2e-6)


def test_layers_of_one_surface_are_seen_as_one():
    def plane(east, north):
        return 0.05 * east + 0.1 * north

    wide, fine = grid_dem(plane, spacing=40.0), grid_dem(plane, spacing=10.0, posts=41)
    one, two = on_cpu(wide, 0.13), on_cpu(Terrain.of(fine, wide), 0.13)
    for pitch in (0.0, -0.2):
        camera = camera_at_home(60.0, yaw=2.0, pitch=pitch, width=60, height=50)
        a, b = one.cast(camera).distance, two.cast(camera).distance
        np.testing.assert_array_equal(a > 0, b > 0)
        np.testing.assert_allclose(a, b, rtol=1e-5)


def views():
    """Level and other cameras of one size, two places, several lenses."""
    lon, lat = -84.2306, 36.1983
    return [
        Camera(lon + 0.01 * (k % 2), lat, 1200.0, k, pitch, 0.1 * pitch, 0.8 + 0.1 * (k % 3), 17, 11)
        for k, pitch in enumerate([0.0, -0.1, 0.0, 0.2, -0.1, 0.0, -1.0])
    ]


def test_many_cameras_are_cast_as_one_by_one():
    caster = on_cpu(jacksboro(), max_distance=9_000.0, detail=0.5)
    together = caster.cast_many(views())
    assert together.shape == (7, 11, 17)
    assert together.dtype == torch.float32
    for camera, distance in zip(views(), together, strict=True):
        np.testing.assert_array_equal(caster.cast(camera).distance, distance.numpy())


def test_all_cameras_are_cast_in_parts_with_the_bytes_of_one_by_one(monkeypatch):
    caster, cameras = on_cpu(jacksboro(), max_distance=9_000.0, detail=0.5), views()
    cameras[5] = replace(cameras[5], width=12, height=9)
    parts, cast_many = [], caster.cast_many
    monkeypatch.setattr(torch_caster, "PIXELS_AT_ONCE", 2 * 17 * 11)
    monkeypatch.setattr(caster, "cast_many", lambda some: parts.append(len(some)) or cast_many(some))
    found = list(caster.cast_all(iter(cameras)))
    assert parts == [2, 2, 1, 1, 1]  # two fit; one of another size stands alone
    assert [hits.camera for hits in found] == cameras
    for hits, camera in zip(found, cameras, strict=True):
        assert hits.distance.tobytes() == caster.cast(camera).distance.tobytes()


def test_the_camera_that_cannot_be_cast_is_the_one_that_fails():
    cameras = views()
    cameras[2] = replace(cameras[2], elevation=100.0)
    for caster in (on_cpu(jacksboro(), max_distance=9_000.0), RayCaster(jacksboro(), max_distance=9_000.0)):
        hits = caster.cast_all(cameras)
        for camera in cameras[:2]:
            np.testing.assert_array_equal(next(hits).distance, caster.cast(camera).distance)
        with pytest.raises(TerrainError, match=r"elevation 100\.00 m, is not above the terrain there"):
            next(hits)


@pytest.mark.parametrize("at_once", [1, 50, 300])
def test_small_parts_give_the_same_in_bounded_memory(at_once, monkeypatch):
    whole = on_cpu(jacksboro(), max_distance=9_000.0).cast_many(views())
    caster = on_cpu(jacksboro(), max_distance=9_000.0, strands_at_once=at_once)
    counts, march = [], caster._march

    def counted(terrain, strands, *others):
        counts.append(len(strands.base))
        march(terrain, strands, *others)

    monkeypatch.setattr(caster, "_march", counted)
    np.testing.assert_array_equal(whole, caster.cast_many(views()))
    assert max(counts) <= max(at_once, 17)  # a row or a level camera is not cut


def test_starting_far_out_changes_nothing(monkeypatch):
    camera = Camera(-84.2306, 36.1983, 1100.0, 1.0, -0.1, 0.2, 1.0, 60, 45)
    far = on_cpu(jacksboro(), detail=0.5).cast(camera).distance
    monkeypatch.setattr(torch_envelope, "starts", lambda envelopes, place, directions: 0.0 * directions.scale)
    assert_same(on_cpu(jacksboro(), detail=0.5).cast(camera).distance, far)


@pytest.mark.parametrize("yaw", [np.pi / 2, np.pi])
@pytest.mark.parametrize("layers", [1, 2])
def test_terrain_beyond_the_last_posts_of_coarse_levels_is_seen(yaw, layers):
    # 206 posts: level 3, which counts at the border, ends with post 200; the wall begins at post 202
    flat = grid_dem(lambda e, n: 0 * e, posts=206)
    height = flat.elevation.copy()
    height[202:], height[:, 202:] = 1500, 1500
    dems = [Dem(height, flat.transform, flat.crs), grid_dem(lambda e, n: 0 * e, spacing=60.0, posts=401)][:layers]
    caster = on_cpu(Terrain.of(*dems), detail=0.1)
    camera = camera_at_home(50.0, yaw=yaw, pitch=0.05, roll=0.1, width=40, height=30)
    hits = caster.cast(camera)
    assert (hits.ground_distance > 3000).mean() > 0.2
    for pixel in ((8, 20), (2, 35)):
        assert_first_hit(caster, camera, hits, pixel, step=3.0, reach=3070.0)


def test_no_camera_is_no_image():
    assert len(on_cpu(jacksboro()).cast_many([])) == 0


def test_a_caster_is_the_same_after_pickling():
    caster = on_cpu(jacksboro(), max_distance=9_000.0, surface="triangles", detail=2.0)
    again = pickle.loads(pickle.dumps(caster))
    np.testing.assert_array_equal(caster.cast_many(views()), again.cast_many(views()))


def test_cameras_that_cannot_be_cast_are_refused():
    dem = jacksboro()
    posts = dem.elevation.copy()
    posts[100, 100] = np.nan
    caster = on_cpu(Dem(posts, dem.transform, dem.crs))
    good = Camera(-84.2306, 36.1983, 1200.0, 0.0, 0.0, 0.0, 1.0, 8, 6)
    lon, lat = (float(a) for a in dem.position_of(100.2, 99.9))
    for position, message in (
        ((10.0, 47.0, 500.0), r"\(10\.000000, 47\.000000\).*outside"),
        ((lon, lat, 5000.0), "void"),
        ((-84.2306, 36.1983, 100.0), "elevation 100.00 m, is not above the terrain there"),
    ):
        with pytest.raises(TerrainError, match=message):
            caster.cast_many([good, Camera(*position, 0.0, 0.0, 0.0, 1.0, 8, 6)])
    with pytest.raises(TerrainError, match="8 x 6 and of 9 x 6"):
        caster.cast_many([good, Camera(-84.2306, 36.1983, 1200.0, 0.0, 0.0, 0.0, 1.0, 9, 6)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refraction": 1.0}, "refraction is 1.0"),
        ({"max_distance": np.nan}, "max_distance is nan"),
        ({"surface": "smooth"}, "surface is 'smooth'; allowed: bilinear, triangles"),
        ({"detail": 0.0}, "detail is 0.0"),
        ({"strands_at_once": 0}, "strands_at_once is 0"),
        ({"device": "abacus"}, "device is 'abacus'"),
        ({"device": "cuda:99"}, "device is 'cuda:99', but torch sees"),
    ],
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(TerrainError, match=message):
        TorchCaster(jacksboro(), **({"device": "cpu"} | arguments))


def test_configuration_may_choose_it():
    terrain = OmegaConf.load(conf_dir() / "terrain" / "sample.yaml")
    changes = ["caster._target_=crosslocate.terrain.casting.torch_caster.TorchCaster", "caster.device=cpu"]
    terrain.merge_with_dotlist(changes)
    caster = build(terrain.caster)(build(terrain.elevation))
    assert type(caster) is TorchCaster
    assert caster.device == torch.device("cpu")
    assert caster.max_distance == terrain.caster.max_distance


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("surface", ["bilinear", "triangles"])
def test_a_gpu_sees_the_same(surface):
    arguments = {"max_distance": 20_000.0, "surface": surface, "detail": 0.5}
    here = on_cpu(jacksboro(), **arguments).cast_many(views())
    there = TorchCaster(jacksboro(), device="cuda", **arguments).cast_many(views())
    assert there.is_cuda
    assert_same(here.numpy(), there.cpu().numpy())
