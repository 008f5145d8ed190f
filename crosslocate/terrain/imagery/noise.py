"""Smooth random fields for textures and clouds: value noise on an integer lattice (Perlin 1985, simplified).

Every value is a pure function of position and seed, so that the same ground looks the same from everywhere and an
image does not depend on what was rendered before it.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROTATE_COS, _ROTATE_SIN = 0.8, 0.6  # turns the lattice between octaves, so that its axes do not show
_FADED = 4.0  # footprints in wavelengths, times 1.5, from which on a texture is gone
_RUN = 512  # places that are looked at together


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


def textures(
    east: Floats, north: Floats, footprint: Floats, wavelengths: tuple[float, ...], seeds: tuple[int, ...]
) -> Floats:
    """Octaves of texture at places, each faded where a pixel covers more than its wavelength, ``[octaves, n]``.

    Each is `value_noise` in units of the wavelength, over 1 + r^2 with r = 1.5 footprint / wavelength, 0 from r = 4 on.

    Args:
        east: Metres, ``[n]``.
        north: Metres, ``[n]``.
        footprint: Metres of ground that a pixel covers, ``[n]``.
        wavelengths: Metres, of each octave.
        seeds: Of each octave.
    """
    found = np.empty((len(seeds), len(east)))
    _fill_textures(east, north, footprint, np.array(wavelengths), np.array(seeds), found)
    return found


def fractal_noises(x: Floats, y: Floats, octaves: int, seed: int) -> Floats:
    """Sum of octaves of `value_noise`, each of half the wavelength and half the height, ``[n]``; in [-1, 1]."""
    total = np.zeros(len(x))
    _add_octaves(x, y, octaves, seed, total)
    return total


def gaussians(rows: int, columns: int, seed: int) -> Floats:
    """Numbers of about unit normal distribution (sums of four uniforms, limits +-3.46), ``[rows, columns]``.

    Each is a function of its column, its row and the seed.
    """
    found = np.empty((rows, columns))
    _fill_gaussians(seed, found)
    return found


@njit(inline="always")
def _shift(seed: int) -> Any:
    return np.uint32((seed * 1442695041) & 0xFFFFFFFF)


@njit(inline="always")
def _hash_unit32(i: Any, j: Any, shift: Any) -> float:
    """`hash_unit` in 32-bit arithmetic, which vectorizes; ``shift`` is what its seed adds."""
    n = np.uint32(np.uint32(np.uint32(i) * np.uint32(374761393)) + np.uint32(np.uint32(j) * np.uint32(668265263)))
    n = np.uint32(n + shift)
    n = np.uint32(np.uint32(n ^ (n >> np.uint32(13))) * np.uint32(1274126177))
    n = np.uint32(np.uint32(n ^ (n >> np.uint32(16))) * np.uint32(2246822519))
    n = np.uint32(np.uint32(n ^ (n >> np.uint32(15))) & np.uint32(0xFFFFFF))
    return np.float64(np.int32(n)) * (1.0 / 16777216.0)


@njit(inline="always")
def _noise32(x: float, y: float, shift: Any) -> float:
    """`value_noise` without branches, bit by bit the same."""
    left, low = np.floor(x), np.floor(y)
    fx, fy = x - left, y - low
    i, j = np.int32(left), np.int32(low)
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    a, b = _hash_unit32(i, j, shift), _hash_unit32(i + 1, j, shift)
    c, d = _hash_unit32(i, j + 1, shift), _hash_unit32(i + 1, j + 1, shift)
    top = a + fx * (b - a)
    return top + fy * (c + fx * (d - c) - top) - 0.5


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_textures(east: Any, north: Any, footprint: Any, wavelengths: Any, seeds: Any, found: Any) -> None:
    count = len(east)
    for first in range(0, count, _RUN):
        end = min(first + _RUN, count)
        least = footprint[first:end].min()
        for k in range(len(seeds)):
            length, shift = wavelengths[k], _shift(seeds[k])
            if 1.5 * least / length > _FADED:
                found[k, first:end] = 0.0
                continue
            for n in range(first, end):
                ratio = 1.5 * footprint[n] / length
                value = _noise32(east[n] / length, north[n] / length, shift) / (1.0 + ratio * ratio)
                found[k, n] = 0.0 if ratio > _FADED else value


@njit(nogil=True, cache=True)
def _fill_gaussians(seed: int, found: Any) -> None:
    first, second, third, fourth = _shift(seed), _shift(seed + 101), _shift(seed + 211), _shift(seed + 307)
    for v in range(found.shape[0]):
        for u in range(found.shape[1]):
            i, j = np.int32(u), np.int32(v)
            a, b = _hash_unit32(i, j, first), _hash_unit32(i, j, second)
            c, d = _hash_unit32(j, i, third), _hash_unit32(j, i, fourth)
            found[v, u] = (a + b + c + d - 2.0) * np.sqrt(3.0)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_octaves(x: Any, y: Any, octaves: int, seed: int, total: Any) -> None:
    weight = 1.0
    at, up = x.copy(), y.copy()
    for octave in range(octaves):
        shift = _shift(seed + octave)
        for n in range(len(x)):
            a, b = at[n], up[n]
            total[n] += weight * _noise32(a, b, shift)
            at[n] = 2.0 * (_ROTATE_COS * a - _ROTATE_SIN * b) + 17.3
            up[n] = 2.0 * (_ROTATE_SIN * a + _ROTATE_COS * b) + 5.7
        weight *= 0.5
