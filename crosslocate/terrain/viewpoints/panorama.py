"""How much one sees from a position: skylines of many positions at once, good enough to compare them.

Samples of the surface at growing distances along straight lines of the rasters, not exact rays: a hundred times faster
than rendering a panorama, with skylines good to about half a degree.
"""

import numpy as np
from numpy.typing import NDArray

from crosslocate.geo import radii_of_curvature
from crosslocate.terrain.elevation.dem import Dem, interpolate
from crosslocate.terrain.elevation.terrain import Terrain

Floats = NDArray[np.float64]
AZIMUTHS = 48
_DISTANCES = np.geomspace(40.0, 20_000.0, 36)
_DROP = (1.0 - 0.13) / (2.0 * 6.371e6)  # curvature with refraction: metres per square metre
_MOST_RELIEF = 5.0  # degrees
_BLOCK = 4096


def skylines(terrain: Terrain, longitude: Floats, latitude: Floats, elevation: Floats) -> tuple[Floats, Floats]:
    """Elevation angle of the skyline in radians, and distance in metres of the ground at it, each [n, 48].

    Args:
        terrain: The terrain; where several layers cover a sample the finest counts.
        longitude: Degrees, [n].
        latitude: Degrees, [n].
        elevation: Of the eye in metres above sea level, [n].
    """
    directions = np.stack([np.sin(_azimuths()), np.cos(_azimuths())])
    starts = [dem.pixel_of(longitude, latitude) for dem in terrain.layers]
    steps = [np.linalg.inv(_metres(dem)) @ directions for dem in terrain.layers]
    slope = np.full((len(longitude), AZIMUTHS), -np.inf)
    reach = np.zeros_like(slope)
    for distance in _DISTANCES:
        ground = np.full(slope.shape, np.nan)
        for dem, (column, row), (right, down) in zip(terrain.layers, starts, steps, strict=True):
            if np.isnan(ground).any():
                found = interpolate(dem.elevation, column[:, None] + distance * right, row[:, None] + distance * down)
                ground = np.where(np.isnan(ground), found, ground)
        rise = (ground - elevation[:, None]) / distance - _DROP * distance
        higher = rise > slope  # false over voids and outside, where the ground is NaN
        slope, reach = np.where(higher, rise, slope), np.where(higher, distance, reach)
    return np.arctan(slope), reach


def view_scores(terrain: Terrain, longitude: Floats, latitude: Floats, elevation: Floats) -> Floats:
    """Score of positions, [n]: how much the skyline rises and falls within a picture, and how far one sees.

    The standard deviation of the skyline within 60 degrees, in degrees, mean over twelve headings; plus half the share
    of directions in which the skyline is at least 4 km away (in proportion below). Flat horizons look alike everywhere;
    hills and valleys are what a photograph can be recognised by. Beyond five degrees it is the wall before one's eyes.
    """
    scores = [
        _scores(*skylines(terrain, longitude[k : k + _BLOCK], latitude[k : k + _BLOCK], elevation[k : k + _BLOCK]))
        for k in range(0, len(longitude), _BLOCK)
    ]
    return np.concatenate([np.empty(0), *scores])


def _scores(skyline: Floats, reach: Floats) -> Floats:
    window = AZIMUTHS // 6 + 1
    views = np.stack([np.roll(skyline, -start, axis=1)[:, :window] for start in range(0, AZIMUTHS, AZIMUTHS // 12)])
    relief = np.degrees(views.std(axis=2).mean(axis=0))
    return np.asarray(np.minimum(relief, _MOST_RELIEF) + 0.5 * np.minimum(reach / 4000.0, 1.0).mean(axis=1), np.float64)


def _azimuths() -> Floats:
    return np.linspace(0.0, 2.0 * np.pi, AZIMUTHS, endpoint=False)


def _metres(dem: Dem) -> Floats:
    """Matrix from steps (column, row) to metres (east, north) at the centre of an elevation model, [2, 2]."""
    rows, columns = dem.shape
    column, row = 0.5 * (columns - 1), 0.5 * (rows - 1)
    lon, lat = dem.position_of(column + np.array([-0.5, 0.5, 0.0, 0.0]), row + np.array([0.0, 0.0, -0.5, 0.5]))
    meridional, normal = radii_of_curvature(lat.mean())
    east = np.radians(np.diff(lon)[::2]) * normal * np.cos(np.radians(lat.mean()))
    north = np.radians(np.diff(lat)[::2]) * meridional
    return np.stack([east, north])
