"""The ray caster against Embree, an independent one, on the same triangles and the true ellipsoid."""

from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import WGS84_CRS, Dem
from crosslocate.terrain.elevation.terrain import Terrain

pytest.importorskip("embreex", reason="embreex is not installed; closed forms and a marcher test the same")

SCRIPT = Path(__file__).parents[3] / "scripts" / "embree_caster.py"
POSES = {"level": (0, 0), "up": (20, -10), "down": (-20, 10), "rolled": (5, 10), "far down": (-60, 3)}


@cache
def embree_caster():
    spec = spec_from_file_location("embree_caster", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EmbreeCaster


@cache
def rough_terrain(posts=900):
    """Alpine heights over 30 km at one arc second: sharp ridges, 3,000 m of relief."""
    rng = np.random.default_rng(3)
    frequency = np.hypot(np.fft.fftfreq(posts)[:, None], np.fft.rfftfreq(posts)[None])
    frequency[0, 0] = 1.0
    heights = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((posts, posts))) * frequency**-1.9, s=(posts, posts))
    heights = 1800 + 500 * (heights - heights.mean()) / heights.std()
    return Terrain.of(Dem(heights.astype(np.float32), Affine(1 / 3600, 0, 11.0, 0, -1 / 3600, 47.0), WGS84_CRS))


@cache
def steepest_place():
    """Where the steepest cell is, away from the border: (longitude, latitude)."""
    dem = rough_terrain().layers[0]
    slope = np.hypot(*np.gradient(dem.elevation))[200:-200, 200:-200]
    row, column = np.unravel_index(int(np.argmax(slope)), slope.shape)
    return tuple(float(a) for a in dem.position_of(column + 200.4, row + 200.3))


PLACES = {"valley side, 60 m up": ((11.113, 46.881), 60.0), "5 m above the steepest slope": (None, 5.0)}


@cache
def yardstick(place):
    (position, height) = PLACES[place]
    lon, lat = position or steepest_place()
    eye = float(rough_terrain().elevation_at(lon, lat)) + height
    return lon, lat, eye, embree_caster()(rough_terrain().layers[0], lon, lat, eye)


@pytest.mark.parametrize("detail", [None, 1.0])
@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("place", PLACES)
def test_pictures_are_those_of_embree(place, pose, detail):
    lon, lat, eye, embree = yardstick(place)
    pitch, roll = np.radians(POSES[pose])
    yaws = (0.6, 2.7, 4.8) if pose == "level" else (0.6,)
    # coarse pixels, so that levels of detail are seen over 30 km
    cameras = [Camera(lon, lat, eye, yaw, pitch, roll, np.radians(60), 200, 200) for yaw in yaws]
    caster = RayCaster(rough_terrain(), refraction=0.0, surface="triangles", detail=detail)
    expected = np.stack([embree.cast(camera) for camera in cameras])
    found = np.stack([caster.cast(camera).distance for camera in cameras])
    seen = (expected > 0) & (found > 0)
    off = np.abs(found[seen] / expected[seen] - 1)
    assert seen.mean() > 0.05
    assert ((expected > 0) != (found > 0)).mean() <= 1e-3
    assert np.median(off) <= 2e-3
    assert np.quantile(off, 0.99) <= 1e-2
    if detail is None:  # the same surface: only rounding differs
        assert np.median(off) <= 2e-5
        assert np.quantile(off, 0.99) <= 2e-4
        assert ((expected > 0) != (found > 0)).mean() <= 1e-4


def test_bilinear_cells_look_like_triangles_from_afar():
    lon, lat, eye, embree = yardstick("valley side, 60 m up")
    camera = Camera(lon, lat, eye, 0.6, 0.0, 0.0, np.radians(60), 200, 200)
    expected = embree.cast(camera)
    found = RayCaster(rough_terrain(), refraction=0.0).cast(camera).distance
    seen = (expected > 0) & (found > 0)
    assert ((expected > 0) != (found > 0)).mean() <= 2e-3
    assert np.median(np.abs(found[seen] / expected[seen] - 1)) <= 2e-3
