"""The header of a data set without image files: all that its images depend on but cameras and terrain.

``live.json`` holds plain values, written by `describe_live` and checked by `read_header`. A map of ground classes is
described by what images depend on and by where its files lie: from the data set where they lie in it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.errors import TerrainError
from crosslocate.terrain.imagery.class_map import ClassMap
from crosslocate.terrain.imagery.legend import Legend
from crosslocate.terrain.job.manifest import RENDERER

if TYPE_CHECKING:
    from crosslocate.terrain.job.scene import World
    from crosslocate.terrain.job.specification import Images

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


def describe_live(path: Path, world: "World", images: "Images") -> dict[str, Any]:
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
        raise damaged(path, f"{error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(path, error) from None
    for name, this in (("format", FORMAT), ("renderer", RENDERER)):
        if header[name] != this:
            raise TerrainError(
                f"{path} is of {name} {header[name]}, this version is of {this}: its images would be others; to "
                f"have those, {_AGAIN}"
            )
    return dict(header)


def damaged(path: Path, why: object) -> TerrainError:
    """The error of a header that holds what it should not."""
    return TerrainError(f"{path} is damaged ({why}); {_AGAIN}")


def _described(path: Path, land_cover: ClassMap | None) -> dict[str, Any] | None:
    """A land cover map: what images depend on, and where its files lie, from the data set where they lie in it."""
    if land_cover is None:
        return None
    root = path.parent.resolve()
    files = [sheet.path.resolve() for sheet in land_cover.sheets]
    places = [file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file) for file in files]
    return {"paths": places, **land_cover.parameters()}


def land_cover_of(path: Path, found: Mapping[str, Any] | None) -> ClassMap | None:
    """The map of ground classes that a header speaks of, None where it speaks of none.

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
