"""Which files a terrain is made of, and what tells whether they have changed."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from crosslocate.errors import TerrainError

SUFFIXES = (
    ".tif", ".tiff", ".hgt", ".hgt.zip", ".vrt", ".dt0", ".dt1", ".dt2", ".asc", ".bil", ".flt", ".img", ".dem",
)  # fmt: skip
"""Endings of the files that are taken from a folder; a file that is named is read whatever its ending."""

Stamp = tuple[str, int, int]
"""Path, bytes and time of the last change in nanoseconds."""


def find_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that paths name, each once, in the order of the paths.

    Args:
        paths: Files, folders (the elevation files directly in them, by name) and patterns (``tiles/**/*_DEM.tif``, by
            name).

    Raises:
        TerrainError: A path does not exist or a folder or pattern has no file; all such paths are named.
    """
    found: dict[Path, None] = {}
    problems = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        files, problem = _files(Path(path).expanduser())
        found.update(dict.fromkeys(Path(os.path.abspath(file)) for file in files))  # noqa: PTH100 - links stay: SRTM tells its place by its name
        problems += [problem] if problem else []
    if problems:
        raise TerrainError("; ".join(problems))
    if not found:
        raise TerrainError("no elevation file is named; give files, folders or patterns as terrain.elevation.paths")
    return list(found)


def _files(path: Path) -> tuple[list[Path], str]:
    """The files of one path, and what is wrong with it."""
    if path.is_file():
        return [path], ""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
        deeper = f"; for those in folders below, give a pattern: {path}/**/*.tif"
        return files, "" if files else f"folder {path} holds no elevation file ({', '.join(SUFFIXES)}){deeper}"
    if glob.has_magic(str(path)):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - ** and absolute patterns
        files = [match for match in matches if match.is_file()]
        return files, "" if files else f"no file matches {path}"
    return [], f"elevation file {path} does not exist"


def stamps(files: Sequence[Path]) -> list[Stamp]:
    """Stamps of files and of all that lies beside them and begins like them (world files, .aux.xml, .prj, masks).

    A file that is made of others (VRT) brings theirs along.
    """
    beside: dict[Path, dict[str, list[Stamp]]] = {}
    for folder in {file.parent for file in files}:
        by_stem = beside.setdefault(folder, {})
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    status = entry.stat()
                    stamp = (entry.path, status.st_size, status.st_mtime_ns)
                    by_stem.setdefault(entry.name.split(".")[0], []).append(stamp)
    parts = [Path(part) for file in files if file.suffix.lower() == ".vrt" for part in _parts(file)]
    found = {stamp for file in files for stamp in beside[file.parent].get(file.name.split(".")[0], [])}
    return sorted(found | {(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in parts if p.is_file()})


def _parts(file: Path) -> list[str]:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(file) as raster:
            return list(raster.files)
    except RasterioError:  # it is named when tiles are described
        return []
