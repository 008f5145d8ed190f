"""Images that no file holds: they are rendered when they are read.

The path template of such images is ``live:database/depth/{name}``: role and modality, as in a folder. Beside the
catalog lie ``live.json``, which says how they are rendered, and the terrain. A path made of the template stands for
the bytes that a file of this view would hold, so whatever reads single images knows no difference; readers of many
rows get arrays instead, equal to what decoding these bytes would give.

This is the one place where `crosslocate.data` uses `crosslocate.terrain`: the renderer is imported, and the terrain
opened, when the first such image is read, by every process for itself.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crosslocate.errors import DataError, TerrainError

if TYPE_CHECKING:
    from crosslocate.data.catalog import Catalog
    from crosslocate.terrain.job.live_renderer import LiveRenderer

HEADER = "live.json"
"""File beside the catalogs of a data set without image files."""
SCHEME = "live:"
_POSE = ("longitude", "latitude", "elevation", "yaw", "pitch", "roll", "horizontal_fov")


class LivePath(NamedTuple):
    """What the path of a live image says.

    Attributes:
        root: Folder of `HEADER` and the catalogs.
        role: ``database`` or ``queries``.
        modality: Of the image.
        name: Of the view.
    """

    root: Path
    role: str
    modality: str
    name: str


def live_template(role: str, modality: str) -> str:
    """Path template of a modality that is rendered when it is read."""
    return f"{SCHEME}{role}/{modality}/{{name}}"


def is_live(template: str) -> bool:
    """Whether a path template, or a path, stands for images that are rendered when they are read."""
    return template.startswith(SCHEME) or f"/{SCHEME}" in template


def live_path(path: Path | str) -> LivePath | None:
    """The parts of a path, or of a template; None for one that leads to a file."""
    text = os.fspath(path)
    if not is_live(text):
        return None
    root, _, rest = f"/{text}".rpartition(f"/{SCHEME}")
    role, _, rest = rest.partition("/")
    modality, _, name = rest.partition("/")
    return LivePath(Path(root[1:]), role, modality, name)


def live_root(catalog: "Catalog", modality: str) -> Path | None:
    """Folder of `HEADER` for a modality of a catalog; None where its images are files."""
    found = live_path(catalog.template(modality))
    return None if found is None else catalog.root / found.root


def live_print(root: Path) -> str:
    """Hash of everything that live images depend on besides their cameras, 32 hexadecimal digits.

    Raises:
        DataError: There is no `HEADER`.
    """
    try:
        return hashlib.blake2b((Path(root) / HEADER).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(
            f"{Path(root) / HEADER}: {error.strerror}; the catalogs there name images that are rendered when they are "
            f"read, which needs {HEADER} and the terrain beside it"
        ) from None


def require_live(catalog: "Catalog", modality: str) -> bool:
    """Make sure that live images can be rendered, without rendering one; False where the images are files.

    Raises:
        DataError: The header or the terrain is missing or damaged, or there is no such modality.
    """
    found = live_path(catalog.template(modality))
    if found is None:
        return False
    _guarded(_renderer(catalog.root / found.root).require, found.modality)
    return True


def live_images(catalog: "Catalog", modality: str, rows: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """Images of rows, in the size that they are rendered in, as decoding their files would give them.

    Rows of one place that follow one another share work.

    Raises:
        DataError: One cannot be rendered; names its path and row.
    """
    root, files = live_root(catalog, modality), live_path(catalog.template(modality))
    assert root is not None
    assert files is not None
    renderer = _renderer(root)
    poses = np.stack([catalog.column(name)[rows] for name in _POSE], axis=1)
    for row, name, pose in zip(rows.tolist(), catalog.names(rows), poses.tolist(), strict=True):
        try:
            yield renderer.array(name, pose, files.modality)
        except TerrainError as error:
            path = catalog.image_path(modality, row)
            raise DataError(f"{path}: {error}; image of {catalog.describe(row)}") from None


def read_live(path: Path) -> bytes | None:
    """What the file of a live image would hold; None for a path that leads to a file.

    Raises:
        DataError: There is no such view, or it cannot be rendered.
    """
    found = live_path(path)
    if found is None:
        return None
    file = found.root / f"{found.role}.parquet"
    catalog = _catalog(file, file.stat().st_mtime_ns if file.exists() else None)
    row = pc.index(catalog.table["name"], pa.scalar(found.name, pa.string())).as_py()
    if row < 0:
        raise DataError(f"{path}: {catalog.path} has no view of this name")
    pose = [float(catalog.column(name)[row]) for name in _POSE]
    return _guarded(_renderer(found.root).encode, found.name, pose, found.modality, path=path)


@lru_cache(maxsize=4)
def _catalog(path: Path, _: int | None) -> "Catalog":
    """A catalog, read once as long as its file stays the same."""
    from crosslocate.data.catalog import read_catalog

    return read_catalog(path)


def _renderer(root: Path) -> "LiveRenderer":
    return _guarded(_opened, str(root), live_print(root), os.getpid())


@lru_cache(maxsize=2)
def _opened(root: str, _: str, __: int) -> "LiveRenderer":
    """The renderer of a data set; another one where what it says has changed, and in another process."""
    from crosslocate.terrain.job.live_renderer import LiveRenderer

    return LiveRenderer(Path(root))


def _guarded(work: Any, *arguments: Any, path: Path | None = None) -> Any:
    """Errors of the terrain are errors of the data set whose images it is rendered into."""
    try:
        return work(*arguments)
    except TerrainError as error:
        raise DataError(f"{path}: {error}" if path is not None else str(error)) from None
