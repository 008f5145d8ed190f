"""Where to look: the cameras of the database views and of the simulated photographs of places."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.viewpoints.cameras import CameraTable
from crosslocate.terrain.viewpoints.names import numbered, suffixed
from crosslocate.terrain.viewpoints.places import Places
from crosslocate.terrain.viewpoints.poses import PoseDistribution
from crosslocate.terrain.viewpoints.positions import Positions

Floats = NDArray[np.float64]
_STREAM = 2  # of random numbers
_ATTEMPTS = 40


def database_cameras(places: Places, *, headings: int, horizontal_fov: float) -> CameraTable:
    """Views of every place at equal steps of heading from north, pitch and roll 0; fov in radians."""
    count = len(places)
    degrees = np.tile(np.arange(headings) * (360.0 / headings), count)
    place = np.repeat(np.arange(count, dtype=np.int32), headings)
    names = [
        f"p{p:04d}_h{round(10 * d):04d}" if 360 % headings else f"p{p:04d}_h{round(d):03d}"
        for p, d in zip(place, degrees, strict=True)
    ]
    still, fov = np.zeros(len(place)), np.full(len(place), horizontal_fov)
    return CameraTable.at(
        places, place, place, name=np.array(names), yaw=np.radians(degrees), pitch=still, roll=still, horizontal_fov=fov
    )


def view_table(positions: Positions, *, headings: int, first: float, fov: float) -> CameraTable:
    """Views of the database: all round each position, or the one that a list gives.

    Args:
        positions: With altitudes and splits; places are numbered in their order. Pitch, roll and field of view of a
            position count for all views there.
        headings: Views of a position without heading, at equal steps.
        first: Heading of the first of them in radians.
        fov: Horizontal field of view in radians where a position has none.
    """
    given = np.isfinite(positions.yaw)
    counts = np.where(given, 1, headings)
    place = np.repeat(np.arange(len(positions), dtype=np.int32), counts)
    number = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    degrees = np.mod(np.degrees(first) + np.arange(headings) * (360.0 / headings), 360.0)
    whole = bool((degrees == np.rint(degrees)).all())
    suffixes = numbered("_h", np.rint(degrees if whole else 10 * degrees).astype(np.int64), 3 if whole else 4)
    one = given[place]
    return CameraTable.at(
        positions,
        place,
        place,
        name=suffixed(positions.name, suffixes, np.where(one, -1, number), place),
        yaw=np.where(one, positions.yaw[place], np.radians(degrees)[number % headings]),
        pitch=np.nan_to_num(positions.pitch)[place],
        roll=np.nan_to_num(positions.roll)[place],
        horizontal_fov=np.where(np.isnan(positions.fov), fov, positions.fov)[place],
    )


def query_cameras(
    caster: RayCaster,
    places: Places,
    per_place: Mapping[str, int],
    poses: PoseDistribution,
    *,
    terrain_share: tuple[float, float],
    aspect: float,
    seed: int,
    workers: int = 1,
) -> CameraTable:
    """Cameras of simulated photographs: poses as people hold cameras, at the places' own positions.

    Nobody photographs bare sky, or nothing but the ground at his feet: yaw, pitch and roll are drawn again (up to 40
    times) until the terrain covers a share of the picture within ``terrain_share``. The fields of view keep their
    distribution; on the embedded terrain, which is flatter than the Alps, 5, 50 and 95 % of the pitches become -16, -1
    and 13 degrees instead of -18, -2 and 15.

    Args:
        caster: Sees the terrain.
        places: The positions.
        per_place: Queries of a place, by split; none where a split is not named.
        poses: Distribution of the angles.
        terrain_share: Smallest and largest share of the picture covered by terrain.
        aspect: Width over height of the images.
        seed: Seed; the poses of a place depend on it and on the place's number only.
        workers: Threads.
    """

    def of_place(place: int) -> list[Floats]:
        rng = default_rng([seed, _STREAM, place])
        at = (float(places.longitude[place]), float(places.latitude[place]), float(places.altitude[place]))
        return [
            draw_pose(caster, at, poses, terrain_share, aspect, rng)
            for _ in range(per_place.get(str(places.split[place]), 0))
        ]

    with ThreadPoolExecutor(workers) as pool:
        drawn = list(pool.map(of_place, range(len(places))))
    counts = [len(angles) for angles in drawn]
    place = np.repeat(np.arange(len(places), dtype=np.int32), counts)
    names = [f"p{p:04d}_q{q:02d}" for p, count in enumerate(counts) for q in range(count)]
    yaw, pitch, roll, fov = np.concatenate([np.reshape(angles, (-1, 4)) for angles in drawn]).T
    name = np.array(names, np.str_)  # of no queries too
    return CameraTable.at(places, place, place, name=name, yaw=yaw, pitch=pitch, roll=roll, horizontal_fov=fov)


def draw_pose(
    caster: RayCaster,
    at: tuple[float, float, float],
    poses: PoseDistribution,
    terrain_share: tuple[float, float],
    aspect: float,
    rng: Generator,
    known: tuple[float, float, float] = (math.nan, math.nan, math.nan),
) -> Floats:
    """Yaw, pitch, roll and horizontal field of view (radians) of one photograph; see `query_cameras`.

    ``known`` are pitch, roll and field of view that are not drawn, NaN where they are.
    """
    fov = _known(known[2], float(poses.draw_fields_of_view(rng, 1)[0]))
    for _ in range(_ATTEMPTS):
        yaw, pitch, roll = (float(angle[0]) for angle in poses.draw_directions(rng, 1))
        pitch, roll = _known(known[0], pitch), _known(known[1], roll)
        distance = caster.cast(Camera(*at, yaw, pitch, roll, fov, 16, max(1, round(16 / aspect)))).distance
        if terrain_share[0] <= (distance >= 0.0).mean() <= terrain_share[1]:
            break
    return np.array([yaw, pitch, roll, fov])


def _known(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value
