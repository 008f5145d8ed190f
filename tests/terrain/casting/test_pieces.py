"""Pieces of tracks that are passed over together hold no terrain above the ray: by brute force along the track."""

import numpy as np
import pytest
from synthetic_terrain import jacksboro

from crosslocate.terrain.casting.kernels.pieces import CHUNK, PIECE, compare
from crosslocate.terrain.casting.kernels.tracks import follow, stretch
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import interpolate


@pytest.mark.parametrize("wide", [False, True])
def test_pieces_below_a_ray_hold_no_terrain_above_it(wide):
    caster = RayCaster(jacksboro())
    layer, ground = caster.terrain.layers[0], caster.ground
    lon, lat = (float(a) for a in layer.position_of(layer.shape[1] / 2, layer.shape[0] / 2))
    height = float(caster.terrain.elevation_at(lon, lat)) + 50.0
    eye = caster.eye(lon, lat, height, 400.0)
    rng = np.random.default_rng(0)
    paths, part, places, gaps = np.empty((1, 12)), np.empty(8), np.empty(3 * CHUNK, np.int64), np.empty(CHUNK)
    passed = met = 0
    for _ in range(300):
        azimuth, slope, s = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2), rng.uniform(500.0, 5000.0)
        curvature = follow(eye, np.sin(azimuth), np.cos(azimuth), paths)
        sheet = stretch(ground.table, ground.first, eye.unit, eye.stride, paths, s, 20_000.0, part)
        assert sheet == 0
        step, count = (2.0 if wide else 1.0) * PIECE / max(abs(part[1]), abs(part[4])), 12
        found = compare(
            ground.tops, ground.table, sheet, part, curvature, height, slope, s, step, count, wide, places, gaps
        )
        assert found == (gaps[:count] > 0).sum()
        d = np.linspace(s, s + count * step, 40 * count, endpoint=False)
        terrain = interpolate(layer.elevation, *(np.polyval(paths[0, k : k + 6][::-1], d) for k in (0, 6)))
        radius, t = 1 / curvature, d * curvature
        ray = (radius + height) * np.cos(np.arctan(slope)) / np.cos(np.arctan(slope) + t) - radius
        above = (terrain > ray).reshape(count, 40).any(1)
        assert (gaps[:count] > 0)[above].all()
        met += int(above.sum())
        passed += int((gaps[:count] <= 0).sum())
    assert met > 600
    assert passed > 600  # it is of use
