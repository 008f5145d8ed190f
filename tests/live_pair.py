"""The same data set twice, for tests: as image files, and as a set whose images are rendered when they are read."""

import math
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_bounds
from synthetic_terrain import jacksboro

from crosslocate.data.catalog import write_catalog
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.imagery.class_map import ClassMap
from crosslocate.terrain.imagery.legend import Legend
from crosslocate.terrain.imagery.photo_settings import PhotoSettings
from crosslocate.terrain.job.live import Live
from crosslocate.terrain.job.scene import PRODUCTS, Scene, World
from crosslocate.terrain.job.specification import Images
from crosslocate.terrain.viewpoints.cameras import CameraTable

WIDTH, HEIGHT, FOV = 32, 24, math.radians(60.0)
HEADINGS = 4
SPLITS = ("train", "train", "train", "val", "val", "test", "test")
MODALITIES = tuple(PRODUCTS)
EYE = 60.0
"""Metres above the ground."""


def world(land_cover: ClassMap | None = None, **changes) -> World:
    caster = RayCaster(jacksboro(), **{"max_distance": 30_000.0, "surface": "triangles", "detail": 1.0, **changes})
    return World(caster, land_cover, seed=3, photo=PhotoSettings(season=["summer", "winter"], date="2024-07-01"))


def land_cover(path: Path, value: int = 7) -> ClassMap:
    """A map that knows the western half of the terrain, which is all of one class; its file is written now."""
    west, south, east, north = jacksboro().bounds
    transform = from_bounds(west, south, (west + east) / 2, north, 40, 40)
    shape = {"width": 40, "height": 40, "count": 1, "dtype": "uint8", "crs": "EPSG:4326", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", nodata=0, **shape) as file:
        file.write(np.full((40, 40), value, np.uint8), 1)
    town = {"segment": "rock", "name": "town", "colour": [200, 10, 10], "also": [8, 9]}
    pond = {"segment": "water", "name": "pond", "colour": [10, 10, 200]}
    return ClassMap([path], Legend("test", {7: town, 3: pond}, nodata=[0]), own_colours=True)


def cameras(prefix: str, yaw: np.ndarray, tilt: float) -> CameraTable:
    """Cameras of all places; ``yaw`` [places, views of a place], tilts up to ``tilt`` radians."""
    count = yaw.shape[1]
    place = np.repeat(np.arange(len(SPLITS)), count)
    west, south, east, north = jacksboro().bounds
    longitude, latitude = (
        west + (east - west) * (0.2 + 0.1 * place),
        south + (north - south) * (0.4 + 0.1 * (place % 3)),
    )
    ground = jacksboro().elevation_at(longitude, latitude)
    rng = np.random.default_rng(len(prefix))
    return CameraTable(
        name=np.array([f"{prefix}{p}_{k % count}" for k, p in enumerate(place)]),
        place=place.astype(np.int32),
        split=np.array(SPLITS)[place],
        longitude=longitude,
        latitude=latitude,
        elevation=ground + EYE,
        yaw=yaw.ravel(),
        pitch=rng.uniform(-tilt, tilt, len(place)),
        roll=rng.uniform(-tilt, tilt, len(place)) / 4,
        horizontal_fov=np.full(len(place), FOV),
    )


def tables() -> dict[str, CameraTable]:
    """Database at even headings, level; queries at the same places: of the first of each, the view itself."""
    even = np.tile(np.arange(HEADINGS) * (2 * np.pi / HEADINGS), (len(SPLITS), 1))
    database, queries = cameras("v", even, 0.0), cameras("query", even[:, :2] + [0.0, 0.3], 0.1)
    first = np.arange(len(queries)) % 2 == 0
    queries.pitch[first] = queries.roll[first] = 0.0
    return {"database": database, "queries": queries}


def write_files(root: Path, of: World) -> Path:
    """The set with a file for every image."""
    for role, table in tables().items():
        templates = {name: f"{role}/{name}/{{name}}.{PRODUCTS[name].suffix}" for name in MODALITIES}
        for row, view in enumerate(table.name):
            scene = Scene(of, table.camera(row, WIDTH, HEIGHT), str(view))
            for name, template in templates.items():
                path = root / template.format(name=view)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(PRODUCTS[name].encode(scene))
        write_catalog(root / f"{role}.parquet", table.columns(), role, templates)
    return root


def write_live(root: Path, of: World) -> Path:
    """The set without image files."""
    storage = Live()
    root.mkdir(parents=True, exist_ok=True)
    for role, table in tables().items():
        templates = {name: storage.template(role, name, PRODUCTS[name].suffix) for name in MODALITIES}
        write_catalog(root / f"{role}.parquet", table.columns(), role, templates)
    storage.finish(root, of, Images(WIDTH, HEIGHT))
    return root
