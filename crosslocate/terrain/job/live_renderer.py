"""Rendering the images of a data set without image files, when they are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.data.live import HEADER
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation.prepared import load_terrain
from crosslocate.terrain.imagery.photo_settings import PhotoSettings
from crosslocate.terrain.job.live_header import TERRAIN, damaged, land_cover_of, read_header
from crosslocate.terrain.job.recent_hits import RecentHits
from crosslocate.terrain.job.scene import Scene, World, product


class LiveRenderer:
    """Renders the images of a data set without image files; the terrain is mapped, so that opening it takes no time.

    A view whose images are asked for one after the other, or those of a batch of views, is cast once.

    Args:
        root: Folder of ``live.json``.

    Raises:
        TerrainError: It is missing or damaged, of a version that renders otherwise, or its terrain is another one.
    """

    def __init__(self, root: Path) -> None:
        self.path = Path(root) / HEADER
        header = read_header(self.path)
        terrain = load_terrain(self.path.with_name(TERRAIN))
        if terrain.fingerprint() != header["terrain"]:
            raise TerrainError(f"{self.path.with_name(TERRAIN)} is not the terrain that {self.path} was written for")
        self.width, self.height = header["width"], header["height"]
        try:
            caster = RayCaster(terrain, **header["caster"])
            photo = PhotoSettings(**header["photo"])
            self.world = World(
                caster, land_cover_of(self.path, header["land_cover"]), header["seed"], header["depth_type"], photo
            )
        except (ConfigError, TypeError, KeyError, IndexError, ValueError) as error:
            raise damaged(self.path, error) from None
        self.recent = RecentHits(caster)

    def require(self, modality: str) -> None:
        """Make sure that a modality can be rendered.

        Raises:
            TerrainError: It cannot.
        """
        try:
            product(modality)
        except ConfigError as error:
            raise TerrainError(f"{self.path}: {error}") from None

    def array(self, name: str, pose: Sequence[float], modality: str) -> NDArray[Any]:
        """What decoding the file of a view would give.

        Args:
            name: Of the view.
            pose: Longitude, latitude, elevation, yaw, pitch, roll and horizontal field of view, as in a catalog.
            modality: Which image.

        Raises:
            TerrainError: The camera cannot be rendered, or there is no such modality.
        """
        self.require(modality)
        return np.asarray(self._scene(name, pose).arrays(modality))

    def encode(self, name: str, pose: Sequence[float], modality: str) -> bytes:
        """What the file of a view would hold; see `array`."""
        self.require(modality)
        return product(modality).encode(self._scene(name, pose))

    def _scene(self, name: str, pose: Sequence[float]) -> Scene:
        longitude, latitude, elevation, yaw, pitch, roll, fov = pose
        camera = Camera(longitude, latitude, elevation, yaw, pitch, roll, fov, self.width, self.height)
        return Scene(self.world, camera, name, self.recent.cast(camera))
