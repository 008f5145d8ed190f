"""Smooth random fields for textures and clouds: value noise on an integer lattice (Perlin 1985, simplified).

Every value is a pure function of position and seed, so that the same ground looks the same from everywhere and an
image does not depend on what was rendered before it.
"""

import math

import numpy as np
from numba import njit

_ROTATE_COS, _ROTATE_SIN = 0.8, 0.6  # turns the lattice between octaves, so that its axes do not show


@njit(inline="always")
def hash_unit(i: int, j: int, seed: int) -> float:
    """A number in [0, 1) that looks random, from two integers and a seed."""
    n = (i * 374761393 + j * 668265263 + seed * 1442695041) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((n ^ (n >> 15)) & 0xFFFFFF) * (1.0 / 16777216.0)


@njit
def value_noise(x: float, y: float, seed: int) -> float:
    """Smooth noise in [-0.5, 0.5] with a wavelength of about two lattice units."""
    i, j = math.floor(x), math.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    a, b = hash_unit(i, j, seed), hash_unit(i + 1, j, seed)
    c, d = hash_unit(i, j + 1, seed), hash_unit(i + 1, j + 1, seed)
    top = a + fx * (b - a)
    return top + fy * (c + fx * (d - c) - top) - 0.5


@njit
def fractal_noise(x: float, y: float, octaves: int, seed: int) -> float:
    """Sum of octaves of value noise, each of half the wavelength and half the height; in [-1, 1]."""
    total, weight = 0.0, 1.0
    for octave in range(octaves):
        total += weight * value_noise(x, y, seed + octave)
        weight *= 0.5
        x, y = 2.0 * (_ROTATE_COS * x - _ROTATE_SIN * y) + 17.3, 2.0 * (_ROTATE_SIN * x + _ROTATE_COS * y) + 5.7
    return total


@njit
def hash_gaussian(i: int, j: int, seed: int) -> float:
    """A number of about unit normal distribution (sum of four uniforms, limits +-3.46)."""
    a, b = hash_unit(i, j, seed), hash_unit(i, j, seed + 101)
    c, d = hash_unit(j, i, seed + 211), hash_unit(j, i, seed + 307)
    return (a + b + c + d - 2.0) * np.sqrt(3.0)
