"""The manifest of a rendered data set: written last, so that its presence says the data set is complete."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosslocate.errors import TerrainError

MANIFEST = "manifest.json"
FORMAT = 2
RENDERER = 3
"""Revision of the images: raised whenever the same plan gives other pictures."""


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a complete data set.

    Raises:
        TerrainError: It is not there, damaged, or of another format.
    """
    path = Path(root) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        found = manifest["format"], sorted(manifest["rendering"]), sorted(manifest["counts"])
        manifest.setdefault("files", {})
    except FileNotFoundError:
        raise TerrainError(f"{path} does not exist: {root} is not a complete rendered data set") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TerrainError(
            f"{path} is damaged ({error}); remove it and render again, finished images are kept"
        ) from None
    if found[0] != FORMAT:
        raise TerrainError(
            f"{path} has format {found[0]!r}; this version reads format {FORMAT}. Choose another folder, or remove "
            "this one and render again"
        )
    return manifest


def require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise TerrainError naming the first entry in which the description of a rendering is not the one wanted."""
    difference = _first_difference(found, wanted, "")
    if difference:
        key, there, here = difference
        raise TerrainError(
            f"{path} belongs to another rendering: its {key} is {there!r}, now asked for is {here!r}; "
            "choose another output folder, or remove this one to start anew"
        )


def _first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str) -> tuple[str, Any, Any] | None:
    for key in sorted({*found, *wanted}):
        there, here = found.get(key), wanted.get(key)
        if there == here:
            continue
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            return _first_difference(there, here, f"{prefix}{key}.")
        return prefix + key, there, here
    return None
