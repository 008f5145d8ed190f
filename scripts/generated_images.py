"""A data set of generated images, for measurements: smooth mountains below a sky, in folders and in archives."""

import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from crosslocate.data.catalog import Catalog, read_catalog, write_catalog

SHARD = 100
"""Images of an archive where they are spread over several."""
SUFFIXES = {"depth": ".exr", "photo": ".jpg", "silhouettes": ".png", "segments": ".png"}
FILES = {"database": "database.parquet", "query": "queries.parquet"}


def generate(root: Path, role: str, modalities: Sequence[str], count: int, side: int) -> Catalog:
    """Write images [side, side] of a role, ``query`` or ``database``, and their catalog, all of the split ``train``."""
    for modality in modalities:
        (root / role / modality).mkdir(parents=True)
    for row in range(count):
        depth = _depth(row, side)
        for modality in modalities:
            _write(root / role / modality / f"i{row:06d}{SUFFIXES[modality]}", modality, depth)
    rows, zeros = np.arange(count), np.zeros(count)
    columns = {
        "name": [f"i{row:06d}" for row in rows],
        "place": rows // 12,
        "split": ["train"] * count,
        "longitude": 7 + rows // 12 * 1e-3,
        "latitude": zeros + 46,
        "elevation": zeros,
        "yaw": rows % 12 * np.pi / 6,
        "pitch": zeros,
        "roll": zeros,
        "horizontal_fov": zeros + 1,
        "shard": rows // SHARD,
    }
    templates = {modality: f"{role}/{modality}/{{name}}{SUFFIXES[modality]}" for modality in modalities}
    write_catalog(root / FILES[role], columns, {"query": "queries"}.get(role, role), templates)
    return read_catalog(root / FILES[role])


def packed(catalog: Catalog, layout: str) -> Catalog:
    """The catalog with its images in ``folder`` (as they are), ``zip``, ``tar``, or ``shards`` of `SHARD` images."""
    if layout == "folder":
        return catalog
    images = {}
    for modality, template in catalog.images.items():
        folder, file = template.rsplit("/", 1)
        paths = [catalog.image_path(modality, row) for row in range(len(catalog))]
        if layout == "shards":
            (catalog.root / f"{folder}_shards").mkdir()
            for start in range(0, len(paths), SHARD):
                _tar(catalog.root / f"{folder}_shards" / f"{start // SHARD}.tar", paths[start : start + SHARD])
            images[modality] = f"{folder}_shards/{{shard}}.tar/{file}"
        else:
            {"zip": _zip, "tar": _tar}[layout](catalog.root / f"{folder}.{layout}", paths)
            images[modality] = f"{folder}.{layout}/{file}"
    return replace(catalog, images=images)


def _depth(row: int, side: int) -> NDArray[np.float32]:
    """Metres along the ray, sky -1: a ridge, and what lies in front of it with some roughness."""
    rng = np.random.default_rng(row)
    coarse = rng.random((8, 8), np.float32)
    relief = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    height = np.linspace(1.5, 0.0, side, dtype=np.float32)[:, None] + 0.3 * relief
    rough = rng.normal(0, 2, (side, side)).astype(np.float32)
    return np.where(height > 1.2, np.float32(-1), 20_000 * np.maximum(height, 0.01) + rough)


def _write(path: Path, modality: str, depth: NDArray[np.float32]) -> None:
    if modality == "depth":
        header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
        OpenEXR.File(header, {"Y": depth.astype(np.float16)}).write(str(path))
        return
    gray = (np.log1p(np.maximum(depth, 0)) * 25).clip(0, 255).astype(np.uint8)
    image = gray if modality == "silhouettes" else cv2.applyColorMap(gray, cv2.COLORMAP_JET)
    cv2.imwrite(str(path), image)


def _zip(archive: Path, paths: Sequence[Path]) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, path.name)


def _tar(archive: Path, paths: Sequence[Path]) -> None:
    with tarfile.open(archive, "w") as file:
        for path in paths:
            file.add(path, path.name)
