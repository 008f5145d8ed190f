"""Terrains with closed forms and an independent ray marcher, for the tests of this folder."""

from collections.abc import Callable
from functools import cache

import numpy as np
from affine import Affine

from crosslocate.geo import destination, radii_of_curvature, wgs84
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.dem import Dem, embedded_dem

HOME = (11.3, 47.2)
"""Longitude and latitude of the origin of synthetic terrains."""

POLAR_GRID = f"+proj=aeqd +lon_0={HOME[0]} +lat_0={HOME[1]} +datum=WGS84 +units=m"
"""A CRS whose coordinates are geodesic distances east and north of HOME: closed forms hold exactly on its posts."""

NO_CURVATURE = 1.0 - 1e-9
"""Refraction that bends light almost along the earth: the world is flat."""


def east_north(dem: Dem, column, row):
    """Geodesic coordinates around HOME (metres east, north) of raster coordinates of any model."""
    lon, lat = dem.position_of(column, row)
    azimuth, _, distance = wgs84().inv(np.full_like(lon, HOME[0]), np.full_like(lat, HOME[1]), lon, lat)
    return distance * np.sin(np.radians(azimuth)), distance * np.cos(np.radians(azimuth))


def grid_dem(surface: Callable, spacing: float = 30.0, posts: int = 201) -> Dem:
    """A model of ``surface(east, north)`` on the polar grid, ``posts`` squared, with HOME at the central post."""
    half = (posts - 1) / 2 * spacing
    axis = np.arange(posts) * spacing - half
    east, north = np.meshgrid(axis, -axis)
    elevation = np.broadcast_to(surface(east, north), east.shape).astype(np.float32)
    return Dem(elevation, Affine(spacing, 0.0, -half, 0.0, -spacing, half), POLAR_GRID)


def dem_in(crs: str, transform: Affine, shape: tuple[int, int], surface: Callable) -> Dem:
    """A model of ``surface(east, north)`` around HOME in any CRS."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(float)
    bare = Dem(np.zeros(shape, np.float32), transform, crs)
    return Dem(surface(*east_north(bare, column, row)).astype(np.float32), transform, crs)


@cache
def jacksboro() -> Dem:
    return embedded_dem()


@cache
def jacksboro_caster() -> RayCaster:
    return RayCaster(jacksboro())


def camera_at_home(elevation: float, **changes) -> Camera:
    """A level camera at HOME that looks north: 41 x 31 pixels, 60 degrees; an odd size puts a pixel on the axis."""
    values = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "horizontal_fov": np.radians(60), "width": 41, "height": 31}
    return Camera(*HOME, elevation, **(values | changes))


def effective_radius(caster: RayCaster, latitude: float, azimuth: float) -> float:
    """Euler's radius of curvature along an azimuth, enlarged by refraction."""
    meridional, transverse = radii_of_curvature(latitude)
    inverse = np.cos(azimuth) ** 2 / meridional + np.sin(azimuth) ** 2 / transverse
    return float(1.0 / inverse / (1.0 - caster.refraction))


def clearance(caster: RayCaster, camera: Camera, azimuth: float, angle: float, ground: np.ndarray) -> np.ndarray:
    """Height of the terrain above a ray in metres at ground distances: exact geodesics, exact sphere, no shortcuts."""
    radius = effective_radius(caster, camera.latitude, azimuth)
    t = ground / radius
    # sine rule in the triangle (centre of the earth, camera, point of the ray)
    ray = (radius + camera.elevation) * np.cos(angle) / np.cos(t + angle) - radius
    terrain = caster.terrain.layers[0].elevation_at(*destination(camera.longitude, camera.latitude, azimuth, ground))
    return np.where(np.isnan(terrain), -np.inf, terrain - ray)
