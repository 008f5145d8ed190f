"""A data set without image files: what is written instead, and how images are made of it when they are read.

``live.json`` holds everything but the cameras, in plain values that are checked when they are read; ``terrain`` beside
it is the prepared terrain. Together with a row of a catalog they give the image that a file would hold. See
`crosslocate.data.live` for how such images are asked for.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.console import say
from crosslocate.data.live import HEADER, live_template
from crosslocate.drafts import draft_of
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.casting.camera import Camera
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation import prepared
from crosslocate.terrain.elevation.prepared import load_terrain, save_terrain
from crosslocate.terrain.imagery.class_map import ClassMap
from crosslocate.terrain.imagery.legend import Legend
from crosslocate.terrain.imagery.photo_settings import PhotoSettings
from crosslocate.terrain.job.manifest import RENDERER
from crosslocate.terrain.job.scene import Scene, World, product

if TYPE_CHECKING:
    from crosslocate.terrain.job.chunks import Chunk
    from crosslocate.terrain.job.records import Written
    from crosslocate.terrain.job.specification import Images
    from crosslocate.terrain.job.storage import Rendered

FORMAT = 1
TERRAIN = "terrain"
"""Folder of the prepared terrain."""
CASTER = ("refraction", "max_distance", "surface", "detail")
"""What a ray caster is made with besides the terrain."""
_AGAIN = (
    "start the command that made the data set (crosslocate.render container=live) again: it writes this anew, "
    "and takes no rendering"
)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "format": (int,),
    "renderer": (int,),
    "terrain": (str,),
    "caster": (dict,),
    "width": (int,),
    "height": (int,),
    "depth_type": (str,),
    "seed": (int,),
    "photo": (dict,),
    "land_cover": (type(None), dict),
}


@dataclass(frozen=True)
class Live:
    """No images at all: they are rendered when they are read. For as many views as descriptors can be kept of."""

    @property
    def views(self) -> None:
        """No chunk is rendered."""
        return None

    def parameters(self) -> dict[str, Any]:
        """Nothing can be chosen."""
        return {"kind": "live"}

    def template(self, role: str, modality: str, suffix: str) -> str:  # noqa: ARG002 - there is no file
        """A path that stands for an image."""
        return live_template(role, modality)

    def columns(self, start: int, stop: int) -> dict[str, NDArray[Any]]:  # noqa: ARG002 - `Storage`'s signature
        """None."""
        return {}

    def write(
        self, root: Path, drafts: Path, chunk: "Chunk", suffixes: Mapping[str, str], views: "Iterable[Rendered]"
    ) -> "Written":
        """There are no chunks."""
        raise NotImplementedError("live images are not written")

    def require(self, world: World) -> None:
        """Images are rendered by the processes that read them, on their processors.

        Raises:
            ConfigError: The terrain is seen by another caster than the one that readers use.
        """
        if type(world.caster) is not RayCaster:
            raise ConfigError(
                "terrain.caster", type(world.caster).__name__, "RayCaster with container=live",
                "Images are rendered by the processes that read them, on their processors",
            )  # fmt: skip

    @property
    def files(self) -> tuple[str, ...]:
        """The description and the terrain."""
        return HEADER, *(f"{TERRAIN}/{name}" for name in (prepared.HEADER, prepared.POSTS, prepared.TOPS))

    def finish(self, root: Path, world: World, images: "Images") -> bool:
        """Write the terrain, and last ``live.json``; what is there and the same stays."""
        return write_live(root, world, images)


def write_live(root: Path, world: World, images: "Images") -> bool:
    """Write what images of a world are rendered from when they are read.

    A terrain that is there and cannot be read is made again.

    Args:
        root: Folder of the catalogs.
        world: The terrain and how it is rendered.
        images: Their size.

    Returns:
        Whether something was missing, or is another now.

    Raises:
        UnwritableError: The terrain cannot be written, or another one is there.
        TerrainError: The terrain comes from a prepared one that is damaged.
    """
    path = Path(root) / HEADER
    header = (json.dumps(describe_live(path, world, images), indent=2, sort_keys=True) + "\n").encode()
    written = _write_terrain(world, path.with_name(TERRAIN))
    if path.is_file() and path.read_bytes() == header:
        return written
    draft = draft_of(path)
    draft.write_bytes(header)
    draft.replace(path)
    return True


def _write_terrain(world: World, folder: Path) -> bool:
    """Write the terrain where it is not; returns whether it was not."""
    if folder.is_dir():
        try:
            load_terrain(folder)
        except TerrainError as error:
            say(f"{error}; that is done now")
            shutil.rmtree(folder)
    there = folder.is_dir()
    save_terrain(world.caster.terrain, folder)
    return not there


def describe_live(path: Path, world: World, images: "Images") -> dict[str, Any]:
    """The content of ``live.json``, which is to lie at ``path``."""
    return {
        "format": FORMAT,
        "renderer": RENDERER,
        "terrain": world.caster.terrain.fingerprint(),
        "caster": {name: getattr(world.caster, name) for name in CASTER},
        "width": images.width,
        "height": images.height,
        "depth_type": world.depth_type,
        "seed": world.seed,
        "photo": asdict(world.photo),
        "land_cover": _described(path, world.land_cover),
    }


class LiveRenderer:
    """Renders the images of a data set without image files; the terrain is mapped, so that opening it takes no time.

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
                caster, _land_cover(self.path, header["land_cover"]), header["seed"], header["depth_type"], photo
            )
        except (ConfigError, TypeError, KeyError, IndexError, ValueError) as error:
            raise _damaged(self.path, error) from None

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
        return Scene(self.world, camera, name)


def read_header(path: Path) -> dict[str, Any]:
    """``live.json``, whole and of the right types.

    Raises:
        TerrainError: It is missing or damaged, or of another format or renderer.
    """
    try:
        header = json.loads(path.read_bytes())
        for name, types in _TYPES.items():
            if not isinstance(header[name], types) or isinstance(header[name], bool):
                raise TypeError(f"{name} is {header[name]!r}")
        if unknown := sorted(header.keys() - _TYPES.keys()):
            raise TypeError(f"{', '.join(unknown)} is not known")
        if sorted(header["caster"]) != sorted(CASTER):
            raise TypeError(f"caster has {', '.join(sorted(header['caster']))}")
    except OSError as error:
        raise TerrainError(f"{path}: {error.strerror}") from None
    except KeyError as error:
        raise _damaged(path, f"{error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None
    for name, this in (("format", FORMAT), ("renderer", RENDERER)):
        if header[name] != this:
            raise TerrainError(
                f"{path} is of {name} {header[name]}, this version is of {this}: its images would be others; to "
                f"have those, {_AGAIN}"
            )
    return dict(header)


def _damaged(path: Path, why: object) -> TerrainError:
    return TerrainError(f"{path} is damaged ({why}); {_AGAIN}")


def _described(path: Path, land_cover: ClassMap | None) -> dict[str, Any] | None:
    """A land cover map: what images depend on, and where its files lie, from the data set where they lie in it."""
    if land_cover is None:
        return None
    root = path.parent.resolve()
    files = [sheet.path.resolve() for sheet in land_cover.sheets]
    places = [file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file) for file in files]
    return {"paths": places, **land_cover.parameters()}


def _land_cover(path: Path, found: Mapping[str, Any] | None) -> ClassMap | None:
    """The map that `_described` speaks of.

    Raises:
        TerrainError: Its files are missing, or are others.
    """
    if found is None:
        return None
    files = [path.parent / str(place) for place in found["paths"]]
    if gone := [str(file) for file in files if not file.is_file()]:
        raise TerrainError(
            f"{path}: the land cover map {', '.join(gone)} that its images are rendered with is not there; put it "
            f"back, or, where it lies elsewhere now, {_AGAIN}"
        )
    classes = {}
    for entry in found["legend"]["classes"]:
        first, *also = entry["values"]
        classes[first] = {name: entry[name] for name in ("segment", "name", "colour")} | {"also": also}
    legend = Legend(found["legend"]["name"], classes, found["legend"]["nodata"])
    land_cover = ClassMap([str(file) for file in files], legend, found["own_colours"])
    if json.loads(json.dumps(land_cover.parameters())) != {name: found[name] for name in found if name != "paths"}:
        raise TerrainError(f"{path}: the land cover maps {', '.join(found['paths'])} are not those it was written for")
    return land_cover
