"""One view of the terrain and the image files that are made of it."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import Hits, RayCaster
from crosslocate.terrain.casting.shade import shadowed
from crosslocate.terrain.imagery.appearance import Appearance, draw_appearance
from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS, segments
from crosslocate.terrain.imagery.modalities import depth, silhouettes
from crosslocate.terrain.imagery.photo import photo
from crosslocate.terrain.imagery.relief import Relief
from crosslocate.terrain.imagery.sensor import encode_jpeg
from crosslocate.terrain.job.files import encode_exr, encode_png

DEPTH_TYPES: Mapping[str, type[np.floating]] = {"half": np.float16, "float": np.float32}


@dataclass(frozen=True)
class World:
    """What all views of a data set share."""

    caster: RayCaster
    relief: Relief
    seed: int
    depth_type: str

    def __post_init__(self) -> None:
        if self.depth_type not in DEPTH_TYPES:
            raise ConfigError("depth_type", self.depth_type, DEPTH_TYPES)


class Scene:
    """A view: rays are cast once, every modality is made from the same hits.

    Args:
        world: The terrain and how it is rendered.
        camera: The camera.
        name: Name of the view; with the world's seed it decides the appearance of the photograph.
    """

    def __init__(self, world: World, camera: Camera, name: str) -> None:
        self.world, self.camera, self.name = world, camera, name

    @cached_property
    def hits(self) -> Hits:
        """Where the rays meet the terrain."""
        return self.world.caster.cast(self.camera)

    @cached_property
    def segments(self) -> NDArray[np.uint8]:
        """Class of the ground at every pixel, [H, W]."""
        return segments(self.world.caster.terrain.layers[0], self.hits)

    def sunlit(self, look: Appearance) -> NDArray[np.bool_]:
        """Where no other terrain hides the sun, [H, W]; under a closed sky nothing does."""
        if not look.has_shadows:
            return np.ones(self.hits.distance.shape, np.bool_)
        return ~shadowed(self.world.caster, self.hits, look.sun_azimuth, look.sun_elevation)

    def encode_depth(self) -> bytes:
        """EXR of the ray lengths."""
        return encode_exr(depth(self.hits), DEPTH_TYPES[self.world.depth_type])

    def encode_silhouettes(self) -> bytes:
        """Gray PNG of depth edges and skyline."""
        return encode_png(silhouettes(self.hits))

    def encode_segments(self) -> bytes:
        """RGB PNG of the classes' colours."""
        return encode_png(SEGMENT_COLOURS[self.segments])

    def encode_photo(self) -> bytes:
        """JPEG of the simulated photograph; its appearance depends on (seed, name) only."""
        look = draw_appearance(default_rng([self.world.seed, zlib.crc32(self.name.encode())]))
        image = photo(self.world.relief, self.camera, self.hits, self.segments, self.sunlit(look), look)
        return encode_jpeg(image, look.jpeg_quality)


@dataclass(frozen=True)
class Product:
    """How a modality becomes a file."""

    suffix: str
    encode: Callable[[Scene], bytes]


PRODUCTS: Mapping[str, Product] = {
    "photo": Product("jpg", Scene.encode_photo),
    "depth": Product("exr", Scene.encode_depth),
    "silhouettes": Product("png", Scene.encode_silhouettes),
    "segments": Product("png", Scene.encode_segments),
}
"""The modalities that can be rendered, and their files."""


def path_templates(role: str, names: Iterable[str]) -> dict[str, str]:
    """Path of a role's images by modality, relative to the data set, with ``{name}`` for the view.

    Raises:
        ConfigError: A modality cannot be rendered.
    """
    for name in names:
        if name not in PRODUCTS:
            raise ConfigError(f"terrain.{role}_modalities", name, PRODUCTS)
    return {name: f"{role}/{name}/{{name}}.{PRODUCTS[name].suffix}" for name in names}
