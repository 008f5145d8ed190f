"""Light that reaches a camera from ground and sky: surface colours, sun and sky light, aerial haze, clouds.

Compiled for one pixel at a time. Colours are linear RGB. East, north and up are metres; the sun is a unit vector
towards it. Nothing here is a physical atmosphere: the aim is the variety of real photographs while relief, ridges and
distance stay legible, as they are in a photograph.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosslocate.terrain.imagery.appearance import Appearance, Colour
from crosslocate.terrain.imagery.noise import fractal_noise, value_noise

SKY, WATER, FOREST, ROCK, MEADOW, ICE = range(6)
_CLASS_WOODS = (0.0, 0.0, 0.30, -0.1, -0.22, -0.5)
_CLASS_ROCK = (0.0, 0.0, -0.35, 0.55, -0.25, -0.1)
_CLASS_SNOW = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_ICE_ALBEDO: Colour = (0.80, 0.84, 0.90)
_WATER_ALBEDO: Colour = (0.02, 0.04, 0.05)
_GROUND_SEED = 7  # the ground's texture belongs to the world, not to a photograph
_HAZE_EXTINCTION: Colour = (0.85, 1.0, 1.20)  # blue light is scattered most
_SNOW_BELT = 500.0  # metres of height from no snow to all snow
_RAGGED, _RAGGED_PIXELS = 110.0, 20.0  # how far from its border a class is seen, metres and pixels
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
def sky_radiance(look: Appearance, sun: Colour, ray: Colour, clouds: bool) -> Colour:
    """Light from the sky along a unit ray; without clouds it is also the colour of the haze."""
    towards = ray[0] * sun[0] + ray[1] * sun[1] + ray[2] * sun[2]
    height = min(1.0, max(0.0, ray[2] * 1.9)) ** 0.6
    glow = look.sun_glow * max(0.0, towards) ** 6 * (1.0 - 0.6 * height)
    colour = _mix(look.sky_horizon, look.sky_zenith, height)
    red, green, blue = colour[0] + glow, colour[1] + 0.9 * glow, colour[2] + 0.7 * glow
    if not clouds or look.cloud_cover <= -0.7:
        return (red, green, blue)
    plane = look.cloud_scale / (max(ray[2], 0.0) + 0.12)  # a layer overhead, seen in perspective
    x, y = ray[0] * plane, ray[1] * plane
    field = fractal_noise(x, y, 4, look.seed)
    cover = _ramp((field + look.cloud_cover) * 2.2) * _ramp(ray[2] * 14.0 + 0.35)
    lit = look.cloud_white * (0.86 - 0.45 * fractal_noise(x + 0.25 * sun[0], y + 0.25 * sun[1], 2, look.seed))
    lit_colour = (lit * (0.5 + 0.5 * look.sky_horizon[0]), lit * (0.5 + 0.5 * look.sky_horizon[1]), lit * 0.98)
    return _mix((red, green, blue), lit_colour, 0.92 * cover)


@njit
def _ground_albedo(
    look: Appearance,
    kind: int,
    east: float,
    north: float,
    elevation: float,
    slope: float,
    footprint: float,
    fine: float,
) -> tuple[Colour, float]:
    """Colour of the ground and its share of forest."""
    patch = value_noise(east / 620.0, north / 620.0, _GROUND_SEED) + 0.6 * texture(
        east, north, 170.0, footprint, _GROUND_SEED + 1
    )
    clump = texture(east, north, 38.0, footprint, _GROUND_SEED + 2)
    tint = texture(east, north, 16.0, footprint, _GROUND_SEED + 3)
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
    """
    if kind == WATER:
        mirror = sky_radiance(look, sun, (ray[0], ray[1], abs(ray[2])), False)
        share = (
            0.15
            + 0.75 * (1.0 - min(1.0, abs(ray[2]) * 4.0))
            + 0.2 * texture(east, 3.0 * north, 9.0, distance * pixel_angle, 91)
        )
        return _mix(_WATER_ALBEDO, mirror, min(0.95, max(0.05, share)))
    slope = math.sqrt(gradient_east * gradient_east + gradient_north * gradient_north)
    facing = abs(ray[2] - ray[0] * gradient_east - ray[1] * gradient_north) / math.sqrt(1.0 + slope * slope)
    footprint = distance * pixel_angle / math.sqrt(max(facing, 0.02))
    coarse = texture(east, north, 55.0, footprint, _GROUND_SEED + 4)
    fine = texture(east, north, 7.0, footprint, _GROUND_SEED + 5) + 0.7 * texture(
        east, north, 1.6, footprint, _GROUND_SEED + 6
    )
    fine += 0.6 * texture(east, north, 0.35, footprint, _GROUND_SEED + 8)
    albedo, woods = _ground_albedo(look, kind, east, north, elevation, slope, footprint, fine)
    gx = gradient_east + look.relief * (0.35 * coarse + 0.5 * fine)
    gy = gradient_north + look.relief * (0.35 * texture(east, north, 47.0, footprint, _GROUND_SEED + 9) - 0.4 * fine)
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
def _ragged(
    kind: NDArray[np.uint8],
    distance: NDArray[np.float32],
    v: int,
    u: int,
    east: float,
    north: float,
    footprint: float,
) -> int:
    """Class of the ground a little beside a pixel, where the texture says: so borders between classes are ragged."""
    here = kind[v, u]
    if here == WATER:
        return here
    reach = min(_RAGGED / footprint, _RAGGED_PIXELS)
    across = texture(east, north, 70.0, footprint, _GROUND_SEED + 10) + 0.6 * texture(
        east, north, 23.0, footprint, _GROUND_SEED + 11
    )
    down = texture(east, north, 70.0, footprint, _GROUND_SEED + 12) + 0.6 * texture(
        east, north, 23.0, footprint, _GROUND_SEED + 13
    )
    a, b = v + round(reach * down), u + round(reach * across)
    if a < 0 or b < 0 or a >= kind.shape[0] or b >= kind.shape[1]:
        return here
    there, metres = kind[a, b], distance[a, b]
    if there in (SKY, WATER) or abs(metres - distance[v, u]) > 0.1 * distance[v, u]:
        return here
    return there


@njit(nogil=True, cache=True)
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
    height, width = distance.shape
    image = np.empty((height, width, 3), np.float32)
    level = math.cos(look.sun_elevation)
    sun = (level * math.sin(look.sun_azimuth), level * math.cos(look.sun_azimuth), math.sin(look.sun_elevation))
    for v in range(height):
        for u in range(width):
            ray = (float(rays[v, u, 0]), float(rays[v, u, 1]), float(rays[v, u, 2]))
            metres = float(distance[v, u])
            if metres < 0.0:
                colour = sky_radiance(look, sun, ray, True)
            else:
                east, north, rise_east, rise_north, elevation = ground[v, u]
                lit = 1.0 if sunlit[v, u] else 0.0
                near = _ragged(kind, distance, v, u, east, north, metres * pixel_angle)
                light = ground_radiance(
                    look, sun, ray, near, east, north, elevation, rise_east, rise_north, metres, pixel_angle, lit
                )
                air = sky_radiance(look, sun, (ray[0], ray[1], 0.0), False)
                colour = through_haze(look, light, air, metres)
            image[v, u, 0], image[v, u, 1], image[v, u, 2] = colour
    return image
