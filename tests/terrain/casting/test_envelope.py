from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from synthetic_terrain import effective_radius, jacksboro, jacksboro_caster

from crosslocate.errors import TerrainError
from crosslocate.geo import destination
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.envelope import Envelopes, sector_count
from crosslocate.terrain.casting.kernels.envelopes import survey
from crosslocate.terrain.casting.kernels.pieces import CHUNK
from crosslocate.terrain.casting.kernels.pitched import cast_rays
from crosslocate.terrain.casting.kernels.sectors import direction_of, sector_of
from crosslocate.terrain.casting.kernels.slabs import SLABS
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem, interpolate
from crosslocate.terrain.elevation.terrain import Terrain


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
    assert 0.3 < width.min() < width.max() < 1.2


def survey_sectors(caster, lon, lat, height, focal, count, rng):
    """Envelopes of some sectors around a place, and what of the terrain in them rises how far, beside the bound."""
    elevation = float(caster.terrain.elevation_at(lon, lat)) + height
    eye = caster.eye(lon, lat, elevation, focal)
    counts, starts, slopes = Envelopes.empty(focal)
    layer = caster.terrain.layers[0]
    for sector in rng.integers(0, len(counts), count):
        tracks = np.empty((1, 12)), np.empty((1, 12)), np.empty(8)
        work = np.empty(3 * CHUNK, np.int64), np.empty(CHUNK), np.empty(SLABS)
        entries = survey(caster.ground, eye, sector, len(counts), *tracks, *work, starts[sector], slopes[sector])
        start, slope = starts[sector, :entries], slopes[sector, :entries]
        assert start[0] == 0
        assert (np.diff(start) > 0).all()
        assert (np.diff(slope) > 0).all()
        for edge in (sector, *rng.uniform(sector, sector + 1, 3), sector + 1):
            azimuth = float(np.arctan2(*direction_of(4 * edge / len(counts))))
            distance = np.geomspace(0.5, 25_000, 3000)
            distance = distance[distance < eye.unit[0] * 2]  # from there on smoothed terrain is seen
            posts = on_triangles if caster.surface == "triangles" else interpolate
            column, row = layer.pixel_of(*destination(lon, lat, azimuth, distance))
            terrain = posts(layer.elevation, column, row)
            radius = effective_radius(caster, lat, azimuth)
            t = distance / radius
            seen = ((radius + terrain) * np.cos(t) - radius - elevation) / ((radius + terrain) * np.sin(t))
            bound = slope[np.searchsorted(start, distance, side="right") - 1]
            known = ~np.isnan(terrain)
            yield seen[known], bound[known], slope


@pytest.mark.parametrize("height", [0.5, 30.0, 300.0])
@pytest.mark.parametrize("surface", ["bilinear", "triangles"])
@pytest.mark.parametrize("detail", [None, 1.0])
def test_no_terrain_rises_above_the_envelope(height, surface, detail):
    caster = RayCaster(jacksboro(), surface=surface, detail=detail)
    for seen, bound, slope in survey_sectors(caster, -84.2306, 36.1983, height, 400.0, 40, np.random.default_rng(0)):
        assert (seen <= bound).all()
        if height > 1:
            assert np.max(seen) > slope[-2] - 0.2  # a bound that is of use


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32),
    st.floats(0.0, 400.0),
    st.floats(0.2, 200.0),
    st.sampled_from(["bilinear", "triangles"]),
    st.floats(10.0, 1500.0),
    st.sampled_from([0.0, -30.0, 46.0, 70.0, 84.0]),
    st.floats(0.1, 10.0),
)
def test_no_rough_terrain_rises_above_the_envelope(seed, rough, height, surface, focal, latitude, ratio):
    rng = np.random.default_rng(seed)
    hills = 400 * np.sin(np.arange(160) / 9)[:, None] * np.cos(np.arange(170) / 7)
    elevation = (1000 + hills + rough * rng.random((160, 170))).astype(np.float32)
    elevation[rng.random(elevation.shape) < 0.002] = np.nan
    across = ratio / 3600 / np.cos(np.radians(latitude))
    dem = Dem(elevation, Affine(across, 0, 7.0, 0, -1 / 3600, latitude), WGS84_CRS)
    caster = RayCaster(dem, surface=surface)
    lon, lat = (float(a) for a in dem.position_of(*rng.uniform(0, 158, 2)))
    assume(np.isfinite(dem.elevation_at(lon, lat)))
    for seen, bound, _ in survey_sectors(caster, lon, lat, height, focal, 12, rng):
        assert (seen <= bound).all()


def without_envelopes(caster, camera):
    """Lengths of rays that all start at the camera."""
    eye = caster.eye(camera.longitude, camera.latitude, camera.elevation, camera.focal_length)
    envelopes = Envelopes.empty(camera.focal_length)
    envelopes.counts[:], envelopes.starts[:, 0], envelopes.slopes[:, 0] = 1, 0.0, np.inf
    found = np.full((camera.height, camera.width), -1, np.float32)
    cast_rays(caster.ground, eye, camera.axes(), *camera.image_plane(), *envelopes, found)
    return found


def test_rays_of_a_pitched_camera_are_the_same_without_envelopes():
    caster = jacksboro_caster()
    ground = float(caster.terrain.elevation_at(-84.2306, 36.1983))
    camera = Camera(-84.2306, 36.1983, ground + 3, 1.0, -0.1, 0.2, 1.0, 90, 70)
    expected = without_envelopes(caster, camera)
    np.testing.assert_allclose(caster.cast(camera).distance, expected, rtol=1e-5)  # cells are entered elsewhere


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["bilinear", "triangles"]),
    st.sampled_from([None, 1.0]),
    st.sampled_from([46.0, 84.0]),
    st.floats(0.2, 5.0),
    st.floats(8.0, 200.0),
)
def test_no_ray_starts_behind_terrain_of_two_layers(seed, surface, detail, latitude, ratio, focal):
    rng = np.random.default_rng(seed)
    across = ratio / 1200 / np.cos(np.radians(latitude))

    def layer(rows, columns, east, south, finer):
        hills = 300 * np.sin(np.arange(rows) / rng.uniform(3, 12))[:, None] * np.cos(np.arange(columns) / 6)
        elevation = (1000 + hills + rng.choice([0, 100]) * rng.random((rows, columns))).astype(np.float32)
        corner = 7.0 + east * across, latitude - south / 1200
        return Dem(elevation, Affine(across / finer, 0, corner[0], 0, -1 / 1200 / finer, corner[1]), WGS84_CRS)

    inner, outer = layer(40, 50, rng.uniform(0, 60), rng.uniform(0, 60), 4), layer(80, 90, 0, 0, 1)
    caster = RayCaster(Terrain.of(inner, outer), surface=surface, detail=detail)
    dem = (inner, outer)[rng.integers(2)]
    lon, lat = (float(a) for a in dem.position_of(*rng.uniform(1, (dem.shape[1] - 2, dem.shape[0] - 2))))
    ground = caster.terrain.elevation_at(lon, lat)
    pose = float(rng.uniform(0, 7)), float(rng.uniform(-0.8, 0.4)), float(rng.uniform(-3, 3))
    fov = 2 * np.arctan(24 / focal)
    camera = Camera(lon, lat, float(ground) + float(rng.choice([6.0, 30.0, 200.0])), *pose, fov, 48, 36)
    try:
        found = caster.cast(camera).distance
    except TerrainError:  # triangles may stand above the bilinear surface
        reject()
    expected = without_envelopes(caster, camera)
    late = (expected > 0) & ((found < 0) | (found > expected * 1.001 + 0.02))
    if late.any():  # rays that touch the ground or a ridge end anywhere between those right below and above them
        beside = [without_envelopes(caster, replace(camera, elevation=camera.elevation + up)) for up in (-0.02, 0.02)]
        beside, found = np.where(np.less(beside, 0), np.inf, beside), np.where(found < 0, np.inf, found)
        assert (found[late] <= np.max(beside, axis=0)[late] * 1.001).all()


def on_triangles(posts, column, row):
    """Elevation of the triangles, cut from first to last post; NaN outside and in cells with a void post."""
    inside = (column >= 0) & (row >= 0) & (column < posts.shape[1] - 1) & (row < posts.shape[0] - 1)
    j, i = (np.where(inside, a, 0).astype(int) for a in (column, row))
    x, y = np.where(inside, column - j, 0), np.where(inside, row - i, 0)
    first, second, third, fourth = posts[i, j], posts[i, j + 1], posts[i + 1, j], posts[i + 1, j + 1]
    upper = first + x * (second - first) + y * (fourth - second)
    lower = first + x * (fourth - third) + y * (third - first)
    return np.where(inside, np.where(x > y, upper, lower), np.nan) + 0 * (first + second + third + fourth)
