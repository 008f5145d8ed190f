"""How the images of a data set are kept: as files, in tar shards, or (`crosslocate.terrain.job.live`) not at all."""

import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosslocate.errors import ConfigError
from crosslocate.terrain.job.chunks import Chunk, label_of
from crosslocate.terrain.job.records import Written, settle

if TYPE_CHECKING:
    from crosslocate.terrain.job.scene import World
    from crosslocate.terrain.job.specification import Images

Rendered = tuple[str, Mapping[str, bytes]]
"""Name of a view, and the bytes of its files by modality."""


class Storage(ABC):
    """A way to keep a data set's images, or what they are made of. An object of plain values."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What decides where an image lies, as JSON holds it."""

    @abstractmethod
    def template(self, role: str, modality: str, suffix: str) -> str:
        """Path template of a modality's images for the catalog, relative to the data set."""

    def columns(self, start: int, stop: int) -> dict[str, NDArray[Any]]:  # noqa: ARG002 - for those that need some
        """Columns of the catalog that the templates need beside the name, for rows ``start`` to ``stop``."""
        return {}

    def require(self, world: "World") -> None:  # noqa: B027 - most can keep images of any world
        """Make sure that images of a world can be kept so, before anything is done.

        Raises:
            ConfigError: They cannot.
        """

    @property
    def files(self) -> tuple[str, ...]:
        """What `finish` writes, relative to the data set."""
        return ()

    def finish(self, root: Path, world: "World", images: "Images") -> bool:  # noqa: ARG002 - for those that write
        """Write what belongs beside catalogs and images, when all of these are there; what is there and the same stays.

        Returns:
            Whether something was written.
        """
        return False


class ImageStorage(Storage):
    """A way to keep images that are rendered ahead, chunk by chunk.

    Attributes:
        views: Views of a chunk.
    """

    views: int

    @abstractmethod
    def write(
        self, root: Path, drafts: Path, chunk: Chunk, suffixes: Mapping[str, str], views: Iterable[Rendered]
    ) -> Written:
        """Put the views of a chunk in their place, each file whole or not at all, and safe on the disk.

        Args:
            root: Folder of the data set.
            drafts: A folder of this process alone on the same file system.
            chunk: Which one.
            suffixes: Of the files, by modality.
            views: Rendered, sorted by name.

        Returns:
            Size and SHA-256 of every file, by path relative to ``root``.
        """


def views_per_chunk(storage: Storage) -> int | None:
    """Views of a chunk; None where no image is rendered ahead."""
    return storage.views if isinstance(storage, ImageStorage) else None


@dataclass(frozen=True)
class Files(ImageStorage):
    """A file an image: ``database/depth/{name}.exr``. For some hundred thousand images.

    Attributes:
        views: Views of a chunk, the piece of work that is done or not done when a process is killed.
    """

    views: int = 120

    def __post_init__(self) -> None:
        _require_views(self.views)

    def parameters(self) -> dict[str, Any]:
        """Files lie where they lie whatever the size of a chunk, but records of other chunks do not go together."""
        return {"kind": "files", **asdict(self)}

    def template(self, role: str, modality: str, suffix: str) -> str:
        """A folder for every role and modality."""
        return f"{role}/{modality}/{{name}}.{suffix}"

    def write(
        self, root: Path, drafts: Path, chunk: Chunk, suffixes: Mapping[str, str], views: Iterable[Rendered]
    ) -> Written:
        """Write file by file."""
        written: Written = {}
        for modality in suffixes:
            (root / chunk.role / modality).mkdir(parents=True, exist_ok=True)
        for name, images in views:
            for modality, data in images.items():
                path = self.template(chunk.role, modality, suffixes[modality]).format(name=name)
                draft = drafts / "image"
                draft.write_bytes(data)
                written[path] = settle(draft, root / path)
        _sync_folders(root / chunk.role / modality for modality in suffixes)
        return written


@dataclass(frozen=True)
class Shards(ImageStorage):
    """Tar archives of some thousand images: ``database/depth/00012.tar/{name}.exr``. For millions of images.

    A shard holds the images of one modality of a chunk, sorted by name, with all dates zero: the same images give the
    same bytes. Archives are read in place (`crosslocate.data.storage`).

    Attributes:
        views: Views of a shard.
    """

    views: int = 1200

    def __post_init__(self) -> None:
        _require_views(self.views)

    def parameters(self) -> dict[str, Any]:
        """The size of the shards."""
        return {"kind": "shards", **asdict(self)}

    def template(self, role: str, modality: str, suffix: str) -> str:
        """An archive for every chunk, in a folder for every role and modality."""
        return f"{role}/{modality}/{{shard}}.tar/{{name}}.{suffix}"

    def columns(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """The shard of every row."""
        first, last = start // self.views, max(start, stop - 1) // self.views
        labels = np.array([label_of(number) for number in range(first, last + 1)], np.str_)
        return {"shard": labels[np.arange(start, stop) // self.views - first]}

    def write(
        self, root: Path, drafts: Path, chunk: Chunk, suffixes: Mapping[str, str], views: Iterable[Rendered]
    ) -> Written:
        """Write an archive for every modality while views are rendered, and put them in their places at the end."""
        with ExitStack() as stack:
            archives = {
                modality: stack.enter_context(tarfile.open(drafts / f"{modality}.tar", "w", format=tarfile.PAX_FORMAT))
                for modality in suffixes
            }
            for name, images in views:
                for modality, data in images.items():
                    member = tarfile.TarInfo(f"{name}.{suffixes[modality]}")
                    member.size = len(data)
                    archives[modality].addfile(member, BytesIO(data))
        written: Written = {}
        for modality in suffixes:
            folder = root / chunk.role / modality
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{chunk.label}.tar"
            written[str(path.relative_to(root))] = settle(drafts / f"{modality}.tar", path)
        _sync_folders(root / chunk.role / modality for modality in suffixes)
        return written


def _require_views(views: int) -> None:
    if views < 1:
        raise ConfigError("container.views", views, "1 or more")


def _sync_folders(folders: Iterator[Path] | Iterable[Path]) -> None:
    """Make the names of new files safe on the disk."""
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
