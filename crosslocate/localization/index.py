"""A descriptor index: descriptors of a database, kept with what made them, so that a photograph is found in seconds.

An index is a folder with a `DescriptorStore` and ``index.json``, which says which catalog and split it holds. Its
fingerprint covers weights, architecture, preprocessing, precision, the views' names and poses, a sample of their
images, and the manifest of a rendered data set; an index of anything else is refused, never silently used.
`crosslocate.localization.building` makes one.
"""

import hashlib
import json
import math
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosslocate.config.build import build
from crosslocate.data.catalog import Catalog, catalog_path, read_catalog
from crosslocate.data.datamodule import CATALOGS
from crosslocate.errors import StoreError, UnwritableError
from crosslocate.lit.restore import Retriever
from crosslocate.localization.image_print import images_fingerprint
from crosslocate.retrieval.extraction_report import ExtractionReport
from crosslocate.retrieval.store import DescriptorStore
from crosslocate.terrain.job.manifest import MANIFEST

FORMAT = 3
HEADER, DESCRIPTORS = "index.json", "descriptors"
DTYPE = "float32"
"""Of stored descriptors where nobody asks for another."""
ALL = "all"
"""Stands for the whole catalog where a split is asked for."""


@dataclass(frozen=True, eq=False)
class DescriptorIndex:
    """A complete index.

    Args:
        path: Its folder.
        database: Views, in the order of the store's rows.
        store: Their descriptors.
        report: How making them went; None for an index that was opened.
    """

    path: Path
    database: Catalog
    store: DescriptorStore
    report: ExtractionReport | None = None


@dataclass(frozen=True)
class ViewFormat:
    """How a network wants its images.

    Args:
        size: (height, width) in pixels.
        match_fov: Radians, see `ImageReader`; of queries only.
    """

    size: tuple[int, int]
    match_fov: float | None

    @classmethod
    def of(cls, config: Any) -> "ViewFormat":
        """From the configuration of a training run."""
        height, width = config.dataset.size
        fov = config.dataset.match_fov
        return cls((int(height), int(width)), None if fov is None else math.radians(fov))


def data_root(config: Any, root: str | None) -> Path:
    """Folder of the data set to search: ``root``, or else that of the training run, made first when it can be."""
    if root is not None:
        return Path(root)
    folder = Path(config.dataset.root)
    if config.dataset.get("prepare") is not None:
        build(config.dataset.prepare)(folder)
    return folder


def read_database(root: Path, split: str) -> Catalog:
    """The database catalog of a data set, or one split of it; ``all`` for everything.

    Where every split has a catalog of its own, only one split can be asked for.
    """
    catalog = read_catalog(catalog_path(root, CATALOGS["database"], split))
    return catalog if split == ALL else catalog.split(split)


def index_fingerprint(retriever: Retriever, database: Catalog, dtype: str = DTYPE) -> str:
    """Hash of everything that the descriptors depend on, 32 hexadecimal digits; reads a few images.

    Raises:
        DataError: Images are missing or cannot be read.
    """
    manifest = database.root / MANIFEST
    rendered = hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else ""
    images = images_fingerprint(database, retriever.pipeline.compositions["database"].modalities)
    made = [retriever.precision, retriever.compiled, dtype]
    parts = [FORMAT, retriever.fingerprint, database.fingerprint(), rendered, images, *made]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def index_folder(cache: Path, retriever: Retriever, database: Catalog, dtype: str = DTYPE) -> Path:
    """Where an index lies when nobody says where: a folder named after its fingerprint."""
    return cache / "index" / index_fingerprint(retriever, database, dtype)


def open_index(retriever: Retriever, folder: Path, *, verify: bool = False) -> DescriptorIndex:
    """Open a finished index for a retriever, which must have been loaded as `made_with` says.

    Args:
        retriever: Embeds photographs.
        folder: Of the index.
        verify: Compare every descriptor with its checksum.

    Raises:
        StoreError: There is none, it is incomplete or damaged, or it was made with other weights, in another precision,
            or from other views.
    """
    header = read_header(folder)
    if (header["precision"], header["compile"]) != (retriever.precision, retriever.compiled):
        raise StoreError(
            f"{folder} was made with precision={header['precision']}, compile={header['compile']}, not with "
            f"precision={retriever.precision}, compile={retriever.compiled}"
        )
    database = read_database(Path(header["catalog"]).parent, header["split"])
    fingerprint = index_fingerprint(retriever, database, header["dtype"])
    store = DescriptorStore.open(folder / DESCRIPTORS, fingerprint, verify=verify)
    store.require_complete(database.name)
    return DescriptorIndex(folder, database, store)


def made_with(folder: Path) -> dict[str, Any]:
    """How to load the retriever for an index: keywords of `load_retriever`.

    Raises:
        StoreError: There is no index, or its header is damaged.
    """
    header = read_header(folder)
    return {"precision": header["precision"], "compiled": header["compile"]}


def read_header(folder: Path) -> dict[str, Any]:
    """``index.json`` of an index folder.

    Raises:
        StoreError: It is missing or damaged, or of another format.
    """
    path = folder / HEADER
    try:
        header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise StoreError(
                f"{path} has format {header['format']!r}; this version reads format {FORMAT}: "
                f"remove {folder} and build the index again"
            )
        for key in ("catalog", "split", "precision", "compile", "dtype"):
            header[key]
    except FileNotFoundError:
        raise StoreError(f"no index in {folder}: {HEADER} is missing; build one with crosslocate.index") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); remove {folder} and build the index again") from None
    return header


def write_header(index: DescriptorIndex, retriever: Retriever, split: str, checkpoint: str) -> None:
    """Write ``index.json`` of an index that may still be empty.

    Raises:
        UnwritableError: It cannot be written.
    """
    store = index.store
    header = {
        "format": FORMAT,
        "fingerprint": store.header.fingerprint,
        "catalog": str(index.database.path.resolve()),
        "split": split,
        "checkpoint": checkpoint,
        "views": len(index.database),
        "size": store.size,
        "dtype": store.header.dtype,
        "precision": retriever.precision,
        "compile": retriever.compiled,
        "batch_size": store.header.batch,
    }
    write_json(index.path / HEADER, header)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small file of an index; it appears whole or not at all.

    Raises:
        UnwritableError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableError(
            f"{path} cannot be written ({error.strerror}); descriptors that were made are kept: make room, and the "
            "same command continues"
        ) from error
