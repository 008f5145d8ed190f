"""The header of a descriptor store: what it holds, in a file in which every flipped bit is noticed."""

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosslocate.errors import StoreError

FORMAT = 2
DTYPES = ("float32", "float16")
HEADER = "header.json"


@dataclass(frozen=True)
class StoreHeader:
    """What a store holds: ``rows`` x ``size`` numbers of ``dtype``, made from what ``fingerprint`` identifies.

    Args:
        rows: Number of descriptors.
        size: Numbers in one descriptor.
        dtype: float32 or float16.
        fingerprint: Of what the descriptors were made from.
        batch: Rows that were embedded together, from row 0 on; 0: nobody said. Descriptors depend on it in their last
            bits.
    """

    rows: int
    size: int
    dtype: str = "float32"
    fingerprint: str = ""
    batch: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.size < 1:
            raise StoreError(f"a descriptor store of {self.rows} rows of {self.size} numbers; both must be at least 1")
        if self.dtype not in DTYPES:
            raise StoreError(f"descriptor dtype {self.dtype!r} is not supported; allowed: {', '.join(DTYPES)}")

    @property
    def row_bytes(self) -> int:
        """Bytes of one descriptor."""
        return self.size * np.dtype(self.dtype).itemsize

    def to_bytes(self) -> bytes:
        """Content of the header's file."""
        return _written({"format": FORMAT, **asdict(self)})


def read_header(folder: Path) -> StoreHeader:
    """Read the header of a store.

    Raises:
        StoreError: There is none, it is damaged, or of another format.
    """
    path = folder / HEADER
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"no descriptor store in {folder}: {HEADER} is missing") from error
    try:
        fields = json.loads(content)
        version = fields.pop("format")
        checksum = fields.pop("checksum", None)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error}; {_remedy(folder)}") from error
    if version == 1 and checksum is None:
        raise StoreError(
            f"{path} has format 1, of an earlier version, which had no checksums; this one reads format {FORMAT}: "
            f"remove {folder} and extract the descriptors again"
        )
    if version != FORMAT:
        raise StoreError(f"{path} has format {version!r}; this version reads format {FORMAT}; {_remedy(folder)}")
    if content != _written({"format": version, **fields}):
        raise StoreError(f"{path} is damaged: its content does not fit its checksum; {_remedy(folder)}")
    try:
        return StoreHeader(**fields)
    except TypeError as error:
        raise StoreError(f"{path} cannot be read: {error}; {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    return f"remove {folder} and extract the descriptors again"


def _written(fields: dict[str, Any]) -> bytes:
    """The one way to write these fields: a file that differs from it in any bit is damaged."""
    checksum = zlib.crc32(json.dumps(fields).encode())
    return (json.dumps({**fields, "checksum": f"{checksum:08x}"}, indent=1) + "\n").encode()
