"""Light that reaches a camera from ground and sky: surface colours, sun and sky light, aerial haze, clouds.

Noise is computed for many pixels at once, all else, compiled, for one pixel at a time. Colours are linear RGB. East,
north and up are metres; the sun is a unit vector towards it. Nothing here is a physical atmosphere: the aim is the
variety of real photographs while relief, ridges and distance stay legible.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.imagery.appearance import Appearance, Colour
from crosslocate.terrain.imagery.landcover import SKY_CLASS, WATER
from crosslocate.terrain.imagery.noise import fractal_noises, textures, value_noise

_CLASS_WOODS = (0.0, 0.0, 0.30, -0.1, -0.22, -0.5)
_CLASS_ROCK = (0.0, 0.0, -0.35, 0.55, -0.25, -0.1)
_CLASS_SNOW = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_ICE_ALBEDO: Colour = (0.80, 0.84, 0.90)
_WATER_ALBEDO: Colour = (0.02, 0.04, 0.05)
_GROUND_SEED = 7  # the ground's texture belongs to the world, not to a photograph
_HAZE_EXTINCTION: Colour = (0.85, 1.0, 1.20)  # blue light is scattered most
_SNOW_BELT = 500.0  # metres of height from no snow to all snow
_RAGGED, _RAGGED_PIXELS = 110.0, 20.0  # how far from its border a class is seen, metres and pixels
_CHUNK = 16384  # pixels that are computed together
_CLOUDLESS = -0.7  # cloud cover up to which there are no clouds

# Octaves of the ground's texture: wavelength in metres and seed, first those that move the borders between classes.
_BORDER_OCTAVES = ((70.0, 10), (23.0, 11), (70.0, 12), (23.0, 13))
_GROUND_OCTAVES = ((55.0, 4), (7.0, 5), (1.6, 6), (0.35, 8), (47.0, 9), (170.0, 1), (38.0, 2), (16.0, 3))
_PATCH_OCTAVE = ((620.0, 0),)
_HAZE_LIGHT = 0.93  # brightness of the haze relative to the sky at the horizon


@njit
def _ramp(x: float) -> float:
    """Smooth step from 0 at x = 0 to 1 at x = 1."""
    x = min(1.0, max(0.0, x))
    return x * x * (3.0 - 2.0 * x)


@njit
def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))


@njit
def texture(east: float, north: float, wavelength: float, footprint: float, seed: int) -> float:
    """One octave of ground texture that fades where a pixel covers more than the wavelength; in [-0.5, 0.5]."""
    ratio = 1.5 * footprint / wavelength
    if ratio > 4.0:
        return 0.0
    return value_noise(east / wavelength, north / wavelength, seed) / (1.0 + ratio * ratio)


@njit
def clear_sky(look: Appearance, sun: Colour, ray: Colour) -> Colour:
    """Light from the sky without clouds along a unit ray; it is also the colour of the haze."""
    towards = ray[0] * sun[0] + ray[1] * sun[1] + ray[2] * sun[2]
    height = min(1.0, ray[2] * 1.9) ** 0.6 if ray[2] > 0.0 else 0.0
    glow = look.sun_glow * max(0.0, towards) ** 6 * (1.0 - 0.6 * height)
    colour = _mix(look.sky_horizon, look.sky_zenith, height)
    return (colour[0] + glow, colour[1] + 0.9 * glow, colour[2] + 0.7 * glow)


@njit
def _clouded(look: Appearance, sky: Colour, up: float, field: float, shade: float) -> Colour:
    """Sky behind clouds: ``field`` is their noise, ``shade`` that a little towards the sun."""
    cover = _ramp((field + look.cloud_cover) * 2.2) * _ramp(up * 14.0 + 0.35)
    lit = look.cloud_white * (0.86 - 0.45 * shade)
    lit_colour = (lit * (0.5 + 0.5 * look.sky_horizon[0]), lit * (0.5 + 0.5 * look.sky_horizon[1]), lit * 0.98)
    return _mix(sky, lit_colour, 0.92 * cover)


@njit
def _ground_albedo(
    look: Appearance, kind: int, elevation: float, slope: float, fine: float, patch: float, clump: float, tint: float
) -> tuple[Colour, float]:
    """Colour of the ground and its share of forest."""
    woods = _ramp(0.5 + 3.2 * (0.55 * patch + 0.35 * clump + _CLASS_WOODS[kind] + look.woods))
    rock = _ramp(2.5 * (slope - 0.62 + 0.9 * _CLASS_ROCK[kind] + 0.5 * clump + 0.3 * tint))
    forest = _mix(look.forest, look.forest_tint, _ramp(0.5 + 1.8 * (tint + 0.4 * patch)))
    open_ground = _mix(look.meadow, look.rock, rock)
    snow = (
        max(_CLASS_SNOW[kind], _ramp(2.0 * look.snow - 0.6 + 0.9 * patch + 0.6 * clump - 0.5 * slope))
        if (look.snow > 0.0 or _CLASS_SNOW[kind] > 0.0)
        else 0.0
    )
    above = (elevation - look.snow_line) / _SNOW_BELT
    if above > -1.0:  # the line is ragged, and the steepest walls are bare
        snow = max(snow, _ramp(0.5 + above + 0.8 * patch + 0.5 * clump - 0.9 * max(0.0, slope - 0.8)))
    open_ground = _mix(open_ground, _ICE_ALBEDO, snow)
    forest = _mix(forest, _ICE_ALBEDO, 0.18 * snow)
    rough = 1.0 + (0.9 * woods + 0.5 * (1.0 - woods) * (1.0 - 0.7 * snow)) * (0.8 * fine + 0.5 * clump)
    colour = _mix(open_ground, forest, woods)
    rough = max(0.25, rough)
    return (colour[0] * rough, colour[1] * rough, colour[2] * rough), woods


@njit
def ground_radiance(
    look: Appearance,
    sun: Colour,
    ray: Colour,
    kind: int,
    east: float,
    north: float,
    elevation: float,
    gradient_east: float,
    gradient_north: float,
    distance: float,
    pixel_angle: float,
    sunlit: float,
    noise: Any,
    patch: float,
) -> Colour:
    """Light that leaves the ground at a hit towards the camera, before the haze.

    Args:
        look: The photograph's appearance.
        sun: Unit vector to the sun.
        ray: Unit vector from the camera to the hit.
        kind: Class of the ground (constants of this module).
        east: Position, for the texture.
        north: Position, for the texture.
        elevation: Metres above sea level.
        gradient_east: Rise of the ground towards the east, metres per metre.
        gradient_north: Rise towards the north.
        distance: Ray length.
        pixel_angle: Angle that a pixel covers, radians.
        sunlit: 1 in the sun, 0 in a cast shadow.
        noise: Textures of `_GROUND_OCTAVES` there, [8].
        patch: Texture of `_PATCH_OCTAVE` there.
    """
    if kind == WATER:
        mirror = clear_sky(look, sun, (ray[0], ray[1], abs(ray[2])))
        share = (
            0.15
            + 0.75 * (1.0 - min(1.0, abs(ray[2]) * 4.0))
            + 0.2 * texture(east, 3.0 * north, 9.0, distance * pixel_angle, 91)
        )
        return _mix(_WATER_ALBEDO, mirror, min(0.95, max(0.05, share)))
    slope = math.sqrt(gradient_east * gradient_east + gradient_north * gradient_north)
    coarse = noise[0]
    fine = noise[1] + 0.7 * noise[2]
    fine += 0.6 * noise[3]
    patch = patch + 0.6 * noise[5]
    albedo, woods = _ground_albedo(look, kind, elevation, slope, fine, patch, noise[6], noise[7])
    gx = gradient_east + look.relief * (0.35 * coarse + 0.5 * fine)
    gy = gradient_north + look.relief * (0.35 * noise[4] - 0.4 * fine)
    up = 1.0 / math.sqrt(1.0 + gx * gx + gy * gy)
    lambert = max(0.0, (sun[2] - gx * sun[0] - gy * sun[1]) * up) * sunlit
    direct = (1.0 - 0.25 * woods) * lambert
    open_sky = 0.55 + 0.45 * up
    return (
        albedo[0] * (look.sun_light[0] * direct * 1.9 + look.sky_light[0] * open_sky),
        albedo[1] * (look.sun_light[1] * direct * 1.9 + look.sky_light[1] * open_sky),
        albedo[2] * (look.sun_light[2] * direct * 1.9 + look.sky_light[2] * open_sky),
    )


@njit
def through_haze(look: Appearance, light: Colour, air: Colour, distance: float) -> Colour:
    """Light after ``distance`` metres of air that takes some away and adds its own colour.

    The air between is darker than the sky behind it, and never takes everything: ridges far away stay visible.
    """
    depth = distance / look.haze_length
    red = look.haze_floor + (1.0 - look.haze_floor) * math.exp(-depth * _HAZE_EXTINCTION[0])
    green = look.haze_floor + (1.0 - look.haze_floor) * math.exp(-depth * _HAZE_EXTINCTION[1])
    blue = look.haze_floor + (1.0 - look.haze_floor) * math.exp(-depth * _HAZE_EXTINCTION[2])
    return (
        _HAZE_LIGHT * air[0] + (light[0] - _HAZE_LIGHT * air[0]) * red,
        _HAZE_LIGHT * air[1] + (light[1] - _HAZE_LIGHT * air[1]) * green,
        _HAZE_LIGHT * air[2] + (light[2] - _HAZE_LIGHT * air[2]) * blue,
    )


@njit
def _ragged(kind: Any, distance: Any, v: int, u: int, footprint: float, across: float, down: float) -> int:
    """Class of the ground a little beside a pixel, where the texture says: so borders between classes are ragged."""
    here = kind[v, u]
    if here == WATER:
        return here
    reach = min(_RAGGED / footprint, _RAGGED_PIXELS)
    a, b = v + round(reach * down), u + round(reach * across)
    if a < 0 or b < 0 or a >= kind.shape[0] or b >= kind.shape[1]:
        return here
    there, metres = kind[a, b], distance[a, b]
    if there in (SKY_CLASS, WATER) or abs(metres - distance[v, u]) > 0.1 * distance[v, u]:
        return here
    return there


def radiance(
    look: Appearance,
    rays: NDArray[np.float32],
    distance: NDArray[np.float32],
    ground: NDArray[np.float32],
    kind: NDArray[np.uint8],
    sunlit: NDArray[np.bool_],
    pixel_angle: float,
) -> NDArray[np.float32]:
    """Linear RGB image [H, W, 3] of the light that reaches the camera.

    Args:
        look: The photograph's appearance.
        rays: Unit vectors east, north, up, [H, W, 3].
        distance: Ray length in metres, negative in the sky, [H, W].
        ground: East and north position in metres, the rise of the ground to the east and north, and its elevation,
            [H, W, 5].
        kind: Class of the ground, [H, W].
        sunlit: False in a cast shadow, [H, W].
        pixel_angle: Angle that a pixel covers, radians.
    """
    image = np.empty((*distance.shape, 3), np.float32)
    level = math.cos(look.sun_elevation)
    sun = (level * math.sin(look.sun_azimuth), level * math.cos(look.sun_azimuth), math.sin(look.sun_elevation))
    sky = distance.ravel() < 0
    for pixels in _chunks(np.flatnonzero(sky)):
        _paint_sky(look, sun, rays, pixels, image)
    for pixels in _chunks(np.flatnonzero(~sky)):
        east, north, across, footprint = _footprints(rays, distance, ground, pixel_angle, pixels)
        border = _octaves(_BORDER_OCTAVES, east, north, across)
        noise = _octaves(_GROUND_OCTAVES, east, north, footprint)
        patch = _octaves(_PATCH_OCTAVE, east, north, np.zeros(len(pixels)))[0]
        _paint_ground(
            look, sun, rays, distance, ground, kind, sunlit, pixel_angle, pixels, border, noise.T.copy(), patch, image
        )
    return image


def _chunks(pixels: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (pixels[first : first + _CHUNK] for first in range(0, len(pixels), _CHUNK))


def _octaves(octaves: tuple[tuple[float, int], ...], east: Any, north: Any, footprint: Any) -> NDArray[np.float64]:
    wavelengths, seeds = zip(*octaves, strict=True)
    return textures(east, north, footprint, wavelengths, tuple(_GROUND_SEED + seed for seed in seeds))


def _paint_sky(look: Appearance, sun: Colour, rays: Any, pixels: Any, image: Any) -> None:
    if look.cloud_cover <= _CLOUDLESS:
        _fill_clear(look, sun, rays, pixels, image)
        return
    x, y = _cloud_places(look.cloud_scale, rays, pixels)
    field = fractal_noises(x, y, 4, look.seed)
    shade = fractal_noises(x + 0.25 * sun[0], y + 0.25 * sun[1], 2, look.seed)
    _fill_clouded(look, sun, rays, pixels, field, shade, image)


@njit(nogil=True, cache=True, error_model="numpy")
def _cloud_places(scale: float, rays: Any, pixels: Any) -> Any:
    """Where the rays of some pixels meet a layer overhead, seen in perspective."""
    width = rays.shape[1]
    x, y = np.empty(len(pixels)), np.empty(len(pixels))
    for n in range(len(pixels)):
        v, u = pixels[n] // width, pixels[n] % width
        plane = scale / (max(rays[v, u, 2], 0.0) + 0.12)
        x[n], y[n] = rays[v, u, 0] * plane, rays[v, u, 1] * plane
    return x, y


@njit(nogil=True, cache=True)
def _fill_clear(look: Appearance, sun: Colour, rays: Any, pixels: Any, image: Any) -> None:
    width = rays.shape[1]
    for pixel in pixels:
        v, u = pixel // width, pixel % width
        image[v, u, 0], image[v, u, 1], image[v, u, 2] = clear_sky(
            look, sun, (rays[v, u, 0], rays[v, u, 1], rays[v, u, 2])
        )


@njit(nogil=True, cache=True)
def _fill_clouded(look: Appearance, sun: Colour, rays: Any, pixels: Any, field: Any, shade: Any, image: Any) -> None:
    width = rays.shape[1]
    for n in range(len(pixels)):
        v, u = pixels[n] // width, pixels[n] % width
        sky = clear_sky(look, sun, (rays[v, u, 0], rays[v, u, 1], rays[v, u, 2]))
        image[v, u, 0], image[v, u, 1], image[v, u, 2] = _clouded(look, sky, rays[v, u, 2], field[n], shade[n])


@njit(nogil=True, cache=True)
def _footprints(rays: Any, distance: Any, ground: Any, pixel_angle: float, pixels: Any) -> Any:
    """Of some pixels: metres east and north, and metres that they cover across the ray and on the slope."""
    width, count = distance.shape[1], len(pixels)
    east, north, across, along = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for n in range(count):
        v, u = pixels[n] // width, pixels[n] % width
        x, y = ground[v, u, 2], ground[v, u, 3]
        slope = math.sqrt(x * x + y * y)
        facing = abs(rays[v, u, 2] - rays[v, u, 0] * x - rays[v, u, 1] * y) / math.sqrt(1.0 + slope * slope)
        east[n], north[n] = ground[v, u, 0], ground[v, u, 1]
        across[n] = distance[v, u] * pixel_angle
        along[n] = across[n] / math.sqrt(max(facing, 0.02))
    return east, north, across, along


@njit(nogil=True, cache=True)
def _paint_ground(
    look: Appearance,
    sun: Colour,
    rays: Any,
    distance: Any,
    ground: Any,
    kind: Any,
    sunlit: Any,
    pixel_angle: float,
    pixels: Any,
    border: Any,
    noise: Any,
    patch: Any,
    image: Any,
) -> None:
    """Fill some pixels; ``border`` [4, n], ``noise`` [n, 8] and ``patch`` [n] are the textures there."""
    width = distance.shape[1]
    for n in range(len(pixels)):
        v, u = pixels[n] // width, pixels[n] % width
        ray, metres = (rays[v, u, 0], rays[v, u, 1], rays[v, u, 2]), distance[v, u]
        east, north, rise_east, rise_north, elevation = ground[v, u]
        lit = 1.0 if sunlit[v, u] else 0.0
        across, down = border[0, n] + 0.6 * border[1, n], border[2, n] + 0.6 * border[3, n]
        near = _ragged(kind, distance, v, u, metres * pixel_angle, across, down)
        light = ground_radiance(
            look,
            sun,
            ray,
            near,
            east,
            north,
            elevation,
            rise_east,
            rise_north,
            metres,
            pixel_angle,
            lit,
            noise[n],
            patch[n],
        )
        air = clear_sky(look, sun, (ray[0], ray[1], 0.0 * ray[2]))
        image[v, u, 0], image[v, u, 1], image[v, u, 2] = through_haze(look, light, air, metres)
