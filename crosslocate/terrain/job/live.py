"""A data set without image files: what is written instead.

``live.json`` (`crosslocate.terrain.job.live_header`) holds everything but the cameras, and ``terrain`` beside it is the
prepared terrain. Together with a row of a catalog they give the image that a file would hold
(`crosslocate.terrain.job.live_renderer`). See `crosslocate.data.live` for how such images are asked for.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslocate.console import say
from crosslocate.data.live import HEADER, live_template
from crosslocate.drafts import draft_of
from crosslocate.errors import ConfigError, TerrainError
from crosslocate.terrain.casting.raycast import RayCaster
from crosslocate.terrain.elevation import prepared
from crosslocate.terrain.elevation.prepared import load_terrain, save_terrain
from crosslocate.terrain.job.live_header import TERRAIN, describe_live
from crosslocate.terrain.job.storage import Storage

if TYPE_CHECKING:
    from crosslocate.terrain.job.scene import World
    from crosslocate.terrain.job.specification import Images


@dataclass(frozen=True)
class Live(Storage):
    """No images at all: they are rendered when they are read. For as many views as descriptors can be kept of."""

    def parameters(self) -> dict[str, Any]:
        """Nothing can be chosen."""
        return {"kind": "live"}

    def template(self, role: str, modality: str, suffix: str) -> str:  # noqa: ARG002 - there is no file
        """A path that stands for an image."""
        return live_template(role, modality)

    def require(self, world: "World") -> None:
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

    def finish(self, root: Path, world: "World", images: "Images") -> bool:
        """Write the terrain, and last ``live.json``; what is there and the same stays."""
        return write_live(root, world, images)


def write_live(root: Path, world: "World", images: "Images") -> bool:
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


def _write_terrain(world: "World", folder: Path) -> bool:
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
