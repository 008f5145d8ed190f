"""Noise at one place at a time, written the plain way: what the compiled loops over many places must equal."""

import numpy as np

from crosslocate.terrain.imagery.noise import hash_unit, value_noise

COSINE, SINE = 0.8, 0.6


def fractal_noise(x, y, octaves, seed):
    """Sum of octaves of value noise, each of half the wavelength and half the height; in [-1, 1]."""
    total, weight = 0.0, 1.0
    for octave in range(octaves):
        total += weight * value_noise(x, y, seed + octave)
        weight *= 0.5
        x, y = 2.0 * (COSINE * x - SINE * y) + 17.3, 2.0 * (SINE * x + COSINE * y) + 5.7
    return total


def hash_gaussian(i, j, seed):
    """Sum of four uniforms."""
    a, b = hash_unit(i, j, seed), hash_unit(i, j, seed + 101)
    c, d = hash_unit(j, i, seed + 211), hash_unit(j, i, seed + 307)
    return (a + b + c + d - 2.0) * np.sqrt(3.0)
