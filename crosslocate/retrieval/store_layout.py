"""The files of a descriptor store: laid out whole and published at once, and found to be of the right size."""

import math
import shutil
from pathlib import Path

import numpy as np

from crosslocate.drafts import draft_of, remove_abandoned
from crosslocate.errors import StoreError
from crosslocate.retrieval.row_file import reserve
from crosslocate.retrieval.store_header import HEADER, StoreHeader, read_header

DESCRIPTORS, COVERAGE, CHECKSUMS = "descriptors.bin", "coverage.bin", "checksums.bin"


def parts(header: StoreHeader) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Files of a store beside the header: name, dtype and shape; in the order in which a row is written."""
    return (
        (DESCRIPTORS, header.dtype, (header.rows, header.size)),
        (CHECKSUMS, "uint32", (header.rows,)),
        (COVERAGE, "uint8", (header.rows,)),
    )


def make_store(path: Path, header: StoreHeader) -> None:
    """Lay out an empty store in ``path``, unless there is one, also by another process in the meantime.

    Raises:
        StoreError: There is no room for it.
    """
    remove_abandoned(path)
    if path.exists():
        return
    draft = draft_of(path)
    try:
        _lay_out(draft, header)
        _publish(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_layout(path: Path) -> StoreHeader:
    """The header of the store in ``path``, whose files have the sizes that it promises.

    Raises:
        StoreError: There is no store, or it is damaged.
    """
    header = read_header(path)
    for name, size in _bytes(header).items():
        found = (path / name).stat().st_size if (path / name).is_file() else 0
        if found != size:
            raise StoreError(
                f"{path / name} has {found} bytes where {size} are expected; the store is damaged: remove {path} and "
                "extract the descriptors again"
            )
    return header


def _bytes(header: StoreHeader) -> dict[str, int]:
    return {name: math.prod(shape) * np.dtype(dtype).itemsize for name, dtype, shape in parts(header)}


def _lay_out(folder: Path, header: StoreHeader) -> None:
    folder.mkdir(parents=True)
    try:
        for name, size in _bytes(header).items():
            reserve(folder / name, size)
        (folder / HEADER).write_bytes(header.to_bytes())
    except OSError as error:
        free = shutil.disk_usage(folder.parent).free / 2**30
        need = sum(_bytes(header).values()) / 2**30
        raise StoreError(
            f"no room for {need:.2f} GiB of descriptors in {folder.parent} ({free:.2f} GiB free): {error}"
        ) from error


def _publish(draft: Path, path: Path) -> None:
    try:
        draft.rename(path)
    except OSError:
        if not (path / HEADER).is_file():  # otherwise another process was first, with an equally empty store
            raise
