"""One view of the terrain and the image files that are made of it."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import Hits, RayCaster
from crosslocate.terrain.casting.shade import shadowed
from crosslocate.terrain.imagery.appearance import Appearance, draw_appearance
from crosslocate.terrain.imagery.class_map import ClassMap
from crosslocate.terrain.imagery.coordinates import Coordinates
from crosslocate.terrain.imagery.landcover import SEGMENT_COLOURS, segments
from crosslocate.terrain.imagery.legend import UNKNOWN
from crosslocate.terrain.imagery.modalities import axial_depth, depth, edges, silhouettes
from crosslocate.terrain.imagery.photo import photo
from crosslocate.terrain.imagery.photo_settings import PhotoSettings
from crosslocate.terrain.imagery.relief import Ground, Relief
from crosslocate.terrain.imagery.sensor import decode_jpeg, encode_jpeg
from crosslocate.terrain.imagery.surface import normal_colours, surface_normals
from crosslocate.terrain.imagery.water import WaterMap
from crosslocate.terrain.job.files import encode_channels, encode_exr, encode_png, rounded_depth

DEPTH_TYPES: Mapping[str, type[np.floating]] = {"half": np.float16, "float": np.float32}


@dataclass(frozen=True)
class World:
    """What all views of a data set share: with a camera and a name it decides every image to the last bit.

    Attributes:
        caster: The terrain and how rays are cast into it.
        land_cover: Map of ground classes; None, and wherever it knows nothing: classes from elevation.
        seed: Seed of everything that is drawn.
        depth_type: ``half`` or ``float``: precision of depth files.
        photo: What simulated photographs look like.
    """

    caster: RayCaster
    land_cover: ClassMap | None = None
    seed: int = 0
    depth_type: str = "half"
    photo: PhotoSettings = field(default_factory=PhotoSettings)

    def __post_init__(self) -> None:
        if self.depth_type not in DEPTH_TYPES:
            raise ConfigError("images.depth_type", self.depth_type, DEPTH_TYPES)

    @cached_property
    def relief(self) -> Relief:
        """Slopes of the terrain."""
        return Relief(self.caster.terrain)

    @cached_property
    def water(self) -> WaterMap:
        """Open water of the terrain."""
        return WaterMap(self.caster.terrain)


class Scene:
    """A view: rays are cast once, every modality is made from the same hits.

    Args:
        world: The terrain and how it is rendered.
        camera: The camera.
        name: Name of the view; with the world's seed it decides the appearance of the photograph.
        hits: Of the camera, where it is cast already.
    """

    def __init__(self, world: World, camera: Camera, name: str, hits: Hits | None = None) -> None:
        self.world, self.camera, self.name = world, camera, name
        if hits is not None:
            self.hits = hits

    @cached_property
    def hits(self) -> Hits:
        """Where the rays meet the terrain."""
        return self.world.caster.cast(self.camera)

    @cached_property
    def ground(self) -> Ground:
        """The ground where the rays meet it."""
        return self.world.relief.at(self.hits)

    @cached_property
    def mapped(self) -> NDArray[np.uint8]:
        """Index of the ground's class in the legend of the land cover map, 255 where none is known, [H, W]."""
        classes, seen = np.full(self.hits.distance.shape, UNKNOWN, np.uint8), ~self.hits.sky
        if self.world.land_cover is not None:
            footprint = self.hits.distance[seen].astype(np.float64) / self.camera.focal_length
            place = self.hits.longitude[seen], self.hits.latitude[seen]
            classes[seen] = self.world.land_cover.at(*place, footprint)
        return classes

    @cached_property
    def segments(self) -> NDArray[np.uint8]:
        """Class of the ground at every pixel, [H, W]: that of the land cover map, else one from elevation."""
        found = segments(self.hits, self.ground, self.world.water)
        land_cover = self.world.land_cover
        return self._over(found, land_cover.legend.segments) if land_cover else found

    def sunlit(self, look: Appearance) -> NDArray[np.bool_]:
        """Where no other terrain hides the sun, [H, W]; under a closed sky nothing does."""
        if not look.has_shadows:
            return np.ones(self.hits.distance.shape, np.bool_)
        return ~shadowed(self.world.caster, self.hits, look.sun_azimuth, look.sun_elevation)

    def depth(self) -> NDArray[np.float32]:
        """Ray lengths in metres, -1 in the sky, [H, W], as precise as depth files."""
        return self._stored(depth(self.hits))

    def axial_depth(self) -> NDArray[np.float32]:
        """Depths along the optical axis in metres, -1 in the sky, [H, W], as precise as depth files."""
        return self._stored(axial_depth(self.hits))

    def silhouettes(self) -> NDArray[np.uint8]:
        """Outlines and skyline, 255 or 0, [H, W]."""
        return silhouettes(self.hits)

    def edges(self) -> NDArray[np.uint8]:
        """Outlines with their strength, skyline 255, [H, W]."""
        return edges(self.hits)

    @cached_property
    def coordinates(self) -> Coordinates:
        """Longitude, latitude and elevation of every pixel."""
        return Coordinates.of(self.hits)

    def segment_colours(self) -> NDArray[np.uint8]:
        """The classes' colours, RGB [H, W, 3]; those of the map's legend where it is asked for."""
        land_cover, image = self.world.land_cover, np.take(SEGMENT_COLOURS, self.segments, axis=0)
        return self._over(image, land_cover.legend.colours) if land_cover and land_cover.own_colours else image

    def normals(self) -> NDArray[np.float32]:
        """Unit normals, east-north-up at the hit, NaN in the sky, [H, W, 3]."""
        return surface_normals(self.hits, self.ground)

    def normal_colours(self) -> NDArray[np.uint8]:
        """Normals as colours, black in the sky, RGB [H, W, 3]."""
        return normal_colours(self.normals())

    @cached_property
    def look(self) -> Appearance:
        """Weather, light, season and camera of the photograph; drawn from the seed and the name."""
        stream = [self.world.seed, zlib.crc32(self.name.encode())]
        place = self.camera.longitude, self.camera.latitude
        return draw_appearance(default_rng(stream), self.world.photo, *place, default_rng([*stream, 1]))

    def photo(self) -> NDArray[np.uint8]:
        """The simulated photograph before JPEG takes its share, RGB [H, W, 3]."""
        return photo(self.hits, self.ground, self.segments, self.sunlit(self.look), self.look)

    def arrays(self, modality: str) -> NDArray[Any]:
        """What decoding the file of a modality gives, without the file where the format keeps every bit.

        Raises:
            ConfigError: There is no such modality.
        """
        return product(modality).array(self)

    def _over(self, image: NDArray[np.uint8], values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image [H, W, ...] with the legend's ``values`` [classes, ...] where the land cover map knows the class."""
        known, image = self.mapped != UNKNOWN, image.copy()
        image[known] = values[self.mapped[known]]
        return image

    def _stored(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return rounded_depth(values, DEPTH_TYPES[self.world.depth_type]).astype(np.float32)


def scenes(world: World, cameras: Sequence[Camera], names: Sequence[str]) -> Iterator[Scene]:
    """Views that are cast, each before it is given, or several at once where the caster does so.

    Raises:
        TerrainError: A camera cannot be cast, in the place of its view.
    """
    for name, hits in zip(names, world.caster.cast_all(cameras), strict=True):
        yield Scene(world, hits.camera, name, hits)


def _decoded_photo(scene: Scene) -> NDArray[np.uint8]:
    return decode_jpeg(_encoded_photo(scene))


def _encoded_photo(scene: Scene) -> bytes:
    return encode_jpeg(scene.photo(), scene.look.jpeg_quality)


def _encoded_coordinates(scene: Scene) -> bytes:
    return encode_channels(scene.coordinates.channels(), scene.coordinates.attributes())


def _decoded_coordinates(scene: Scene) -> NDArray[np.float64]:
    return scene.coordinates.positions()


def _png(image: Callable[[Scene], NDArray[np.uint8]]) -> "Product":
    return Product("png", lambda scene: encode_png(image(scene)), image)


def _exr(image: Callable[[Scene], NDArray[np.float32]]) -> "Product":
    return Product("exr", lambda scene: encode_exr(image(scene), DEPTH_TYPES[scene.world.depth_type]), image)


@dataclass(frozen=True)
class Product:
    """How a modality becomes a file.

    Attributes:
        suffix: Ending of the file's name.
        encode: The file's bytes.
        array: What decoding these bytes gives.
    """

    suffix: str
    encode: Callable[[Scene], bytes]
    array: Callable[[Scene], NDArray[Any]]


PRODUCTS: Mapping[str, Product] = {
    "photo": Product("jpg", _encoded_photo, _decoded_photo),
    "depth": _exr(Scene.depth),
    "axial_depth": _exr(Scene.axial_depth),
    "silhouettes": _png(Scene.silhouettes),
    "edges": _png(Scene.edges),
    "segments": _png(Scene.segment_colours),
    "normals": _png(Scene.normal_colours),
    "coordinates": Product("exr", _encoded_coordinates, _decoded_coordinates),
}
"""The modalities that can be rendered, and their files."""


def product(modality: str) -> Product:
    """How a modality becomes a file.

    Raises:
        ConfigError: There is no such modality.
    """
    if modality not in PRODUCTS:
        raise ConfigError("modality", modality, PRODUCTS)
    return PRODUCTS[modality]
