"""Noise computed for many places at once is that of single places, to the last bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scalar_noise import fractal_noise, hash_gaussian

from crosslocate.terrain.imagery.noise import fractal_noises, gaussians, textures
from crosslocate.terrain.imagery.shading import texture

SEEDS = st.integers(0, (1 << 30) - 1)


@given(SEEDS, st.floats(0.3, 700.0), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_textures_are_those_of_single_places(seed, wavelength, draw):
    rng = np.random.default_rng(draw)
    scale = 10.0 ** rng.uniform(0, 6)
    east, north = rng.uniform(-scale, scale, (2, 700))
    footprint = wavelength * 10.0 ** rng.uniform(-2, 1, 700)
    footprint[:100] = 0.0
    footprint[512:] *= rng.choice([1.0, 1e3])  # a run that is all gone
    found = textures(east, north, footprint, (wavelength, 2.0 * wavelength), (seed, seed + 1))
    for k in range(2):
        expected = [
            texture(*place, (k + 1) * wavelength, width, seed + k)
            for *place, width in zip(east, north, footprint, strict=True)
        ]
        np.testing.assert_array_equal(found[k], expected)
    assert (found[:, :100] != 0).mean() > 0.9


@given(SEEDS, st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_octaves_are_those_of_single_places(seed, octaves):
    x, y = np.random.default_rng(octaves).uniform(-40, 40, (2, 50))
    expected = [fractal_noise(a, b, octaves, seed) for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(fractal_noises(x, y, octaves, seed), expected)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_grain_is_that_of_single_pixels(seed):
    expected = [[hash_gaussian(column, row, seed) for column in range(9)] for row in range(7)]
    np.testing.assert_array_equal(gaussians(7, 9, seed), expected)
